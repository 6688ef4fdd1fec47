# %% [markdown]
# # 10. LoRA: a small update beside large weights
#
# **In an hour** you will have built LoRA by hand, shown that it is the same as the library that
# everybody uses, taught mini a character it has never seen, turned the lesson up and down like a
# volume knob, and looked inside to see what was learnt.
#
# You need: chapter 5 (the three parts). Chapter 8 (DreamBooth) helps.
#
# **Before you run anything, write down:** full fine-tuning leaves a file as large as the model. How
# small could a file be from which the same model draws *one* new character? A half of it, a tenth, a
# hundredth?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## The idea
#
# A layer is a matrix. Fine-tuning adds another matrix of the same size to it: the **update**. LoRA's
# guess is that the update is simple. It can be written as a tall, thin matrix times a flat, wide one.
# How thin is called the **rank**.
#
# Hu and others tried this on a language model, GPT-3. They trained 10 000 times fewer numbers, and it
# learnt as well. Ryu brought the same idea to Stable Diffusion in 2022.

# %%
import torch

from sdlearn import load
from sdlearn.course import checks
from sdlearn.course.figures import show_pictures

sd = load("mini", device=device)
layer = sd.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
out_features, in_features = layer.weight.shape
rank = 4
print(f"the layer: {out_features} x {in_features} = {layer.weight.numel()} numbers")
print(f"its update at rank {rank}: {out_features} x {rank} + {rank} x {in_features} "
      f"= {rank * (out_features + in_features)} numbers")

# %%
import matplotlib.pyplot as plt

up, down = torch.randn(24, 2), torch.randn(2, 24)
figure, axes = plt.subplots(1, 3, figsize=(9, 3), width_ratios=[1, 4, 4])
for axis, matrix, title in zip(axes, [up, down, up @ down], ["up", "down", "up @ down"]):
    axis.imshow(matrix, cmap="PuOr", vmin=-3, vmax=3)
    axis.set_title(f"{title}: {matrix.shape[0]} x {matrix.shape[1]}")
    axis.axis("off")
print(f"{up.numel() + down.numel()} numbers make {(up @ down).numel()}; "
      f"the rank of the product is {torch.linalg.matrix_rank(up @ down)}")

# %% [markdown]
# Look at the product. Each row is a mixture of the same two rows: that is what rank 2 means. **Guess:**
# what would it look like at rank 1? Change both 2s and look again.

# %% [markdown]
# ### Exercise 1: the update
#
# The two matrices are called `down` (rank, in) and `up` (out, rank). A factor `alpha / rank` says how
# much the update counts. Write the whole update, (out, in).
#
# <details><summary>Hint</summary>
#
# A vector goes through `down` first. As matrices are written, what comes first stands on the right. The
# rank is the number of rows of `down`.
#
# </details>

# %%
def low_rank_update(down, up, alpha):
    """What is added to a layer's weight (out, in)."""
    ### BEGIN SOLUTION
    return alpha / len(down) * up @ down
    ### END SOLUTION

# %%
checks.low_rank_update(low_rank_update)

# %% [markdown]
# ## By hand
#
# This is LoRA. The layer is frozen. Beside it runs a second way, through only `rank` numbers. `up` starts
# at zero.

# %%
class LoRAByHand(torch.nn.Module):
    """A frozen layer, and a low-rank way beside it."""

    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.down = torch.nn.Parameter(torch.randn(rank, base.in_features, **like) / rank)
        self.up = torch.nn.Parameter(torch.zeros(base.out_features, rank, **like))

    def forward(self, x):  # (B, L, in)
        beside = x @ self.down.T @ self.up.T  # (B, L, out), through (B, L, rank)
        return self.base(x) + self.scale * beside

# %% [markdown]
# **Predict:** nothing has been trained. How far apart are the outputs of the layer with and without the
# second way?

# %%
by_hand = LoRAByHand(layer, rank=4, alpha=8)
x = torch.randn(2, 16, in_features, device=device, dtype=layer.weight.dtype)
difference = (by_hand(x) - layer(x)).abs().max().item()
print("largest difference:", difference)
assert difference == 0

# %% [markdown]
# Exactly zero. Training starts at the model as it was, not near it.
#
# ### Exercise 2: which side moves first?
#
# Both matrices train. But at the very first step only one of them has a gradient. Which: `"up"`,
# `"down"`, `"both"` or `"neither"`? Think first. Then call `backward()` on any loss of `by_hand(x)` and
# print the largest gradient of `by_hand.down` and of `by_hand.up`.
#
# <details><summary>Hint</summary>
#
# `by_hand(x).square().mean().backward()`, and then `by_hand.up.grad.abs().max()`. The chain rule: what
# reaches `down` has been multiplied by `up`.
#
# </details>

# %%
### BEGIN SOLUTION
first_to_move = "up"
### END SOLUTION

# %%
checks.first_to_move(first_to_move)

# %% [markdown]
# ## The same as the library
#
# `peft` is what diffusers uses. It is given the same two matrices, with numbers in `up` this time.

# %% tags=["nbval-ignore-output", "rounding"]
import copy

from peft import LoraConfig, inject_adapter_in_model

TARGETS = ("to_q", "to_k", "to_v", "to_out.0",  # of attention
           "ff.net.0.proj", "ff.net.2")  # and the two layers behind it, called feed-forward

def with_peft(model, rank, alpha, targets=TARGETS):
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets))
    return inject_adapter_in_model(config, copy.deepcopy(model))

attention = sd.unet.mid_block.attentions[0].transformer_blocks[0].attn1
theirs = with_peft(attention, 4, 8, ["to_q"]).to_q
with torch.no_grad():
    by_hand.up.copy_(torch.randn(by_hand.up.shape))
    theirs.lora_A["default"].weight.copy_(by_hand.down)
    theirs.lora_B["default"].weight.copy_(by_hand.up)
    torch.testing.assert_close(by_hand(x), theirs(x))
    print("one layer, the largest difference:", (by_hand(x) - theirs(x)).abs().max().item())

# %% [markdown]
# One layer agrees. Now all of them in the whole U-Net at once: those of attention, and the two layers behind
# each, which work on what attention has gathered.

# %% tags=["nbval-ignore-output", "rounding"]
def with_lora_by_hand(unet, rank, alpha):
    """A second U-Net with a low-rank way beside every layer of TARGETS."""
    unet = copy.deepcopy(unet)
    for path, module in list(unet.named_modules()):
        if path.endswith(TARGETS):
            unet.set_submodule(path, LoRAByHand(module, rank, alpha))
    return unet

ours, library = with_lora_by_hand(sd.unet, 4, 8), with_peft(sd.unet, 4, 8)
pairs = {path: module for path, module in ours.named_modules() if isinstance(module, LoRAByHand)}
side = sd.image_size // sd.vae_reduction
noisy = torch.randn(1, 4, side, side, device=device, dtype=sd.unet.dtype)
states = sd.encode_prompt(["a smiling person"])
with torch.no_grad():
    at_start, plain = ours(noisy, 500, states).sample, sd.unet(noisy, 500, states).sample
    for path, module in pairs.items():
        module.up.copy_(torch.randn(module.up.shape) * 0.02)
        library.get_submodule(path).lora_A["default"].weight.copy_(module.down)
        library.get_submodule(path).lora_B["default"].weight.copy_(module.up)
    moved, by_library = ours(noisy, 500, states).sample, library(noisy, 500, states).sample
assert torch.equal(at_start, plain)
torch.testing.assert_close(moved, by_library, rtol=1e-3, atol=1e-4)
print(f"{len(pairs)} layers. At the start: {(at_start - plain).abs().max().item()} from the model; "
      f"then {(moved - plain).abs().max():.3f}")
print(f"ours and the library's: at most {(moved - by_library).abs().max().item():.1e} apart")

# %% [markdown]
# Twenty lines, and they are what the library does. From here on the package trains with the library's.

# %% [markdown]
# ## What it costs
#
# **Predict:** at which rank does an update of a square layer, n x n, hold as many numbers as the layer?

# %%
ranks = [1, 2, 4, 8, 16, 32, 64, 128]
shapes = [module.base.weight.shape for module in pairs.values()]
trained = [sum(rank * (out + into) for out, into in shapes) for rank in ranks]
same_layers = sum(out * into for out, into in shapes)
unet_total = sum(p.numel() for p in sd.unet.parameters())

figure, axis = plt.subplots()
axis.loglog(ranks, trained, marker="o", label="LoRA")
axis.axhline(same_layers, color="C1", linestyle="--", label="the same layers, all of them")
axis.axhline(unet_total, color="C3", linestyle=":", label="the whole U-Net")
axis.set(xlabel="rank", ylabel="numbers that train", xticks=ranks, xticklabels=ranks)
axis.minorticks_off()
axis.legend()
for rank, number in zip(ranks, trained):
    print(f"rank {rank:3}: {number:8} numbers, {number / unet_total:6.1%} of the U-Net")

# %% [markdown]
# For a square layer it is rank n / 2: two matrices of n times n / 2 hold n x n numbers. The line is straight:
# twice the rank, twice the numbers. Beyond the dashed line LoRA saves nothing. A
# large model's layers are wider, so the same rank is a far smaller share of them.

# %% [markdown]
# ## A character that mini has never seen
#
# Yours, if chapter 0 left a folder `my-character` beside this notebook; or else somebody in a drawing style that
# mini has never seen. Its name, *lorelei*, is new to mini as well. The name of the style stands in each
# caption, so it is what the lesson gets tied to.

# %%
from sdlearn.course.character_maker import own_character

pictures = own_character()
references = [picture.image for picture in pictures]
for picture in pictures:
    print(picture.text)
show_pictures(references, size=1.8);

# %% [markdown]
# The captions say what changes: face and background. What they do not say is left to the name.
#
# Here are five prompts in the same wording, with backgrounds that none of the pictures has:

# %%
from sdlearn.data.captions import caption
from sdlearn.data.vocabulary import BACKGROUNDS

seen = {picture.attributes["background"] for picture in pictures}
liked = dict.fromkeys(("purple", "green", "pink", "blue", *BACKGROUNDS))
new = [color for color in liked if color not in seen]
asked = [{"expression": expression, "background": background}
         for expression, background in zip(("laughing", "sad", "surprised", "smiling", "smiling"), new)]
if "glasses" in pictures[0].attributes:
    asked[-1]["glasses"] = "round"
situations = [caption({**pictures[0].attributes, **attributes}) for attributes in asked]
print(*situations, sep="\n")

# %% [markdown]
# **Predict:** five pictures, a minute. What will be learnt first: the colours, the shape of the hair, or
# the face? One prompt is drawn after each quarter of the steps, always from the same noise. Pressing
# **stop** ends it early, and keeps what was learnt until then.

# %% tags=["nbval-ignore-output", "timed"]
from sdlearn.course.training import learn, steps
from sdlearn.finetune import FitConfig, LoRA

# train=False loads what ships, if you would rather not wait
learnt = learn(LoRA(sd, rank=16), pictures, FitConfig(max_train_steps=steps(200)), name="10-lora",
               train=True, preview=situations[0])
early, late = learnt.losses[:20], learnt.losses[-20:]
print(f"{learnt.seconds:.0f} seconds; the loss went from {sum(early) / len(early):.3f} "
      f"to {sum(late) / len(late):.3f}")

# %% [markdown]
# ## New situations
#
# Above is mini as it was, below with what it has learnt, from the same noise.

# %% tags=["cover"]
tuned = sd.with_artefact(learnt.path)
before, after = sd.draw(situations), tuned.draw(situations)
words = ["\n".join(attributes.values()) for attributes in asked]
show_pictures([*before, *after], words, columns=5, size=2);

# %% tags=["nbval-ignore-output", "trained"]
from sdlearn.evaluate import Judges, prompt_fit, subject_fidelity

judges = Judges.load("mini")
for name, drawn in {"before": before, "after": after}.items():
    print(f"{name:7} like the character: {subject_fidelity(judges, drawn, references):.2f}   "
          f"fits the prompt: {prompt_fit(judges, drawn, situations):.2f}")
among = judges.image_embeds(references)
others = (among @ among.T)[~torch.eye(len(among), dtype=bool)]  # none with itself
print(f"the five pictures among themselves: {others.mean():.2f}")

# %% [markdown]
# The first number says how much a judge finds the pictures alike; the last line is the most that can be
# expected. The second asks another judge whether the prompt is still obeyed. **A lesson is good when the
# first rises and the second does not fall.**
#
# **Change one thing and look again:** train for 40 steps, and for 400. Which of the two numbers suffers?

# %% [markdown]
# ## A volume knob
#
# The lesson stands beside the weights, so it can be turned up and down when drawing. Nothing is trained
# again. **Predict:** what does half of a character look like? And twice one?

# %%
from sdlearn.course.widgets import explore

def at_scale(scale):
    return sd.with_artefact(learnt.path, scale).draw(situations[0])[0]

alone = sd.draw(situations[0])[0]  # as a batch of several rounds otherwise than a batch of one
assert at_scale(0.0).tobytes() == alone.tobytes()
explore(at_scale, {"scale": [0.0, 0.4, 0.7, 1.0, 1.3, 2.0]});

# %% [markdown]
# At 0 it is mini, to the last bit: the line above the slider makes sure of that. In between is no
# cross-fade of two pictures but other pictures. Far beyond 1 the drawing falls apart, as no such weights
# were ever trained.

# %% [markdown]
# ## Merged
#
# The second way costs time at each step. It need not: `weight + update` is again a matrix of the same
# size. Merged, the model is a model like any other.

# %% tags=["nbval-ignore-output", "rounding"]
from sdlearn.models.lora import merged

whole = merged(tuned)
with torch.no_grad():
    beside = tuned.unet(noisy, 500, states).sample
    inside = whole.unet(noisy, 500, states).sample
torch.testing.assert_close(inside, beside, rtol=1e-3, atol=1e-4)
print(f"beside and merged differ by {(inside - beside).abs().max().item():.1e} at most")
for name, model in {"as it was": sd, "beside": tuned, "merged": whole}.items():
    print(f"{name:10} {len(list(model.unet.parameters()))} tensors")

# %% [markdown]
# ## Looking inside: how much of the rank was needed?
#
# Every matrix is a sum of simple ones, sorted by how much each contributes: its singular values say how
# much. An update of rank 16 has 16 of them at most.

# %%
from sdlearn.models.lora_files import read_lora

updates = read_lora(learnt.path / "pytorch_lora_weights.safetensors", sd)["unet"]
deltas = {path: low.alpha / low.rank * low.up @ low.down for path, low in updates.items()}
values = {path: torch.linalg.svdvals(delta)[:16] for path, delta in deltas.items()}
loudest = sorted(values, key=lambda path: -values[path][0])[:3]

def short(path):
    """down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k -> down 0.1, attn2 to_k"""
    parts = path.split(".")
    place = "middle" if parts[0] == "mid_block" else f"{parts[0].split('_')[0]} {parts[1]}.{parts[3]}"
    return f"{place}, {path.split('.transformer_blocks.0.')[1]}".replace(".to", " to")

figure, axis = plt.subplots()
for path in loudest:
    axis.plot(range(1, 17), values[path], marker="o", label=short(path))
axis.set(xlabel="which singular value", ylabel="its size", ylim=(0, None), xticks=range(1, 17))
axis.legend();

# %% [markdown]
# The curve is steep: a few directions carry much of the update, and the rest carry little each.
#
# ### Exercise 3: how many ranks would have been enough?
#
# The squares of all numbers of a matrix add up to the same as the squares of its singular values. So that sum
# says how much there is. Write a function that counts how
# many of them, from the largest on, hold a given share of that sum.
#
# <details><summary>Hint</summary>
#
# `squares.cumsum(0) / squares.sum()` is the share that the first 1, 2, 3 ... hold. Count those that are
# still below `share` (allow for rounding: `share - 1e-6`), and add one.
#
# </details>

# %%
def rank_for(singular_values, share):
    """The fewest singular values, largest first, that hold `share` of the sum of squares."""
    ### BEGIN SOLUTION
    squares = singular_values.square()
    held = squares.cumsum(0) / squares.sum()
    return int((held < share - 1e-6).sum()) + 1
    ### END SOLUTION

# %%
checks.rank_for(rank_for)

# %% [markdown]
# Now cut the lesson down after training: keep the best 1, 4, 8 directions of every layer and drop the
# rest. **Predict:** at which number is the character lost?

# %%
from sdlearn.models.lora import LowRank, with_lora

def cut(rank):
    """The lesson with only the best `rank` directions of each layer."""
    kept = {}
    for path, delta in deltas.items():
        u, s, v = torch.linalg.svd(delta, full_matrices=False)
        kept[path] = LowRank(down=v[:rank], up=u[:, :rank] * s[:rank], alpha=rank)
    return with_lora(sd, {"unet": kept})

total = sum(delta.square().sum() for delta in deltas.values())
shown = {}
for rank in (1, 4, 8, 16):
    held = sum(v[:rank].square().sum() for v in values.values()) / total
    shown[f"rank {rank}: {held:.0%}"] = cut(rank).draw(situations[0])[0]
show_pictures(list(shown.values()), list(shown), size=2.2);

# %% [markdown]
# The titles say which share of the update is left. So training at a high rank and cutting down
# afterwards is possible; the tools of other programs that "resize" a LoRA do this.

# %% [markdown]
# ## Looking inside: where did it move?
#
# `attn1` is attention of the picture to itself. `attn2` is attention to the prompt: its `to_k` and `to_v`
# read the words. `ff` is feed-forward. **Predict:** which moved most?

# %% tags=["nbval-ignore-output", "trained"]
moved_by = {path: (delta.norm() / sd.unet.get_submodule(path).weight.norm()).item()
            for path, delta in deltas.items()}
kinds = {}
for path, share in moved_by.items():
    kinds.setdefault(path.split(".transformer_blocks.0.")[1], []).append(share)
means = {kind: sum(shares) / len(shares) for kind, shares in sorted(kinds.items())}

figure, axis = plt.subplots()
axis.bar(list(means), list(means.values()), color=["C0"] * 4 + ["C1"] * 4 + ["C2"] * 2)
axis.tick_params(axis="x", rotation=30)
axis.set(ylabel="size of update / size of weight")
most = max(moved_by, key=moved_by.get)
print(f"moved most: {short(most)}, by {moved_by[most]:.0%} of its size")

# %% [markdown]
# Blue looks at the picture, orange at the prompt, green works on what both have gathered. A new name has to
# be *read*; a new way of drawing has to be *drawn*. Compare the heights: how much of each was needed here?
#
# **Change one thing and look again:** many LoRAs leave feed-forward out, as the first ones did. Train again
# with `LoRA(sd, rank=16, target_modules=TARGETS[:4])`. What of the character is lost?

# %% [markdown]
# ## The files
#
# Two files were written with the same numbers in them: one for diffusers, and one for the other programs
# (kohya's trainers, A1111, ComfyUI).

# %%
from safetensors import safe_open

unet_bytes = sum(p.numel() * p.element_size() for p in sd.unet.parameters())
for path in sorted(learnt.path.glob("*.safetensors")):
    with safe_open(path, framework="pt") as file:
        keys = sorted(file.keys())
    size = path.stat().st_size
    print(f"{path.name}: {size / 1e6:.2f} MB, {size / unet_bytes:.0%} of the U-Net, {len(keys)} keys")
    print("   ", *keys[:3], sep="\n    ")

# %% [markdown]
# The names differ, and so does where `alpha` is kept: kohya's file has a tensor for it, diffusers' has it
# in the file's header. A program that overlooks it draws with another strength. Was your guess from the
# beginning right? Mini is narrow, so a rank of 16 is much. At Stable Diffusion 1.5's width, files of some
# megabytes go with a model of gigabytes.

# %% [markdown]
# ## How it fails, and how you see it
#
# LoRA has no pictures that say what must stay as it was. So look at prompts that have nothing to do with
# the lesson.

# %% tags=["nbval-ignore-output", "trained"]
others = ["a person", "a smiling person with red hair, open-peeps style",
          "a person with purple hair and round glasses", "a sad person, micah style"]
untouched, touched = sd.draw(others), tuned.draw(others)
show_pictures([*untouched, *touched], ["before"] * 4 + ["after"] * 4, columns=4, size=2)
print(f"like the character: before {subject_fidelity(judges, untouched, references):.2f}, "
      f"after {subject_fidelity(judges, touched, references):.2f}")

# %% [markdown]
# What has risen there has **leaked**: the lesson was meant for one name, and reached other people. The
# remedies: fewer steps, a scale below 1, or the class pictures of chapter 8
# (`DreamBooth(sd, lora_rank=16)`).

# %% [markdown]
# ## The same on Stable Diffusion 1.5
#
# On a GPU, one line changes: `sd = load("sd15", device=device)`. Everything else stays. The learning rate
# follows the model by itself (2e-3 on mini, 1e-4 there), pictures of 512 pixels are taken, and 500 to 1000
# steps are usual.

# %% [markdown]
# ### Exercise 4: an open question
#
# Make a second character and a LoRA of it
# (`draw_character("lorelei", seed=1, number=5)`, another `name=`). Then put both into one model:
# `sd.with_artefact(first, 0.6).with_artefact(second, 0.6)`. What is drawn? Find two scales at which you
# like it. Then explain with one sum why the order of the two does not matter, and why two LoRAs that each
# work well can spoil each other.

# %% [markdown]
# ## What you have learnt
#
# - LoRA trains two thin matrices beside each frozen one; their product is the update, and at the start it
#   is zero.
# - The update can be weakened, strengthened, added to others, cut down or merged, all without training.
# - A few directions carry most of what five pictures teach.
#
# **What would break** if both matrices started at zero? (Neither would have a gradient: nothing would ever
# move.) And if neither did? (The model would be spoilt before the first step.)
#
# **Papers:** Hu et al. 2021, arXiv:2106.09685 (LoRA); Ryu 2022, github.com/cloneofsimo/lora (for Stable
# Diffusion); Kumari et al. 2022, arXiv:2212.04488 (which layers move most); Kalajdzievski 2023,
# arXiv:2312.03732 (the factor alpha / rank, and another).
