# %% [markdown]
# # 1. CLIP: text and pictures in one space
#
# **In an hour** you will have written the loss that teaches CLIP, trained a small one, found pictures by
# describing them, and seen what CLIP does not see. You will also know which half of it Stable Diffusion
# uses.
#
# You need: a little PyTorch.
#
# **Before you run anything, write down:** CLIP learns from pairs of a picture and its caption. Nobody
# ever tells it what "hair" is. Will it know whether the red is on the hair or on the clothes?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## One space for both
#
# CLIP is two networks. One turns a text into a vector, the other a picture. Both vectors hold as many
# numbers, so they can be compared: the **cosine** of the angle between them says how well the two fit.
#
# Here is the small CLIP that judges mini's pictures in this course, and characters drawn anew.

# %%
import math

import torch
from torch.nn import functional as F
from tqdm.auto import tqdm

from sdlearn.course import checks
from sdlearn.course.figures import show_losses, show_pictures
from sdlearn.data.captions import caption
from sdlearn.data.render import characters, draw
from sdlearn.evaluate import Judges

judges = Judges.load("mini", device=str(device))
gallery = characters(120, seed=86)
pictures = [draw(a, 64, seed=i) for i, a in tqdm(gallery, desc="drawing")]
attributes = [a for _, a in gallery]
show_pictures(pictures[:6]);

# %%
import matplotlib.pyplot as plt

COLORS = ("hair_color", "body_color", "clothes_color", "background")

def about_colors(a):
    return {name: value for name, value in a.items() if name in COLORS}

def show_matrix(similarity, captions, title):
    axis = plt.figure(figsize=(9, 4)).gca()
    axis.imshow(similarity.T, vmin=-1, vmax=1, cmap="PuOr")
    for i, row in enumerate(similarity.tolist()):
        for k, value in enumerate(row):
            axis.text(i, k, f"{value:.2f}", ha="center", va="center", fontsize=9,
                      color="white" if abs(value) > 0.6 else "black")
    axis.set(title=title, xlabel="picture", xticks=range(len(captions)))
    axis.set_yticks(range(len(captions)), captions, fontsize=9)
    axis.grid(False)

# %%
captions = [caption(about_colors(a)) for a in attributes[:6]]
similarity = judges.clip_image_embeds(pictures[:6]) @ judges.clip_text_embeds(captions).T
own = similarity.diag().mean()
others = (similarity.sum() - similarity.trace()) / (similarity.numel() - len(similarity))
print(f"mean cosine with its own caption {own:.2f}, with another's {others:.2f}")
show_matrix(similarity, captions, "cosine of each picture with each caption")

# %% [markdown]
# Each column is a picture, in the order of the sheet above (in the tensor it is a row). Dark violet is a
# good fit. **Look for a large number that is off the diagonal:** what do that picture and that caption have
# in common?

# %% [markdown]
# ### Exercise 1: the similarity matrix
#
# As arrows, the vectors of the networks have any length at first. Only their direction counts.
#
# <details><summary>Hint</summary>
#
# Divide each vector by its length, `norm(dim=1, keepdim=True)`. Then one matrix product gives all cosines.
#
# </details>

# %%
def similarities(image_embeds, text_embeds):
    """Embeddings (B, D) and (N, D) of any length -> cosines (B, N)."""
    ### BEGIN SOLUTION
    return F.normalize(image_embeds, dim=1) @ F.normalize(text_embeds, dim=1).T
    ### END SOLUTION

# %%
checks.similarities(similarities)

# %% [markdown]
# ## The loss: find your own caption
#
# A batch of pictures with their captions is a quiz. For each picture, which of these captions is its own?
# A softmax over a row of cosines makes probabilities of them. Cosines lie between -1 and 1, so they are
# multiplied first, by a **scale** that CLIP learns too. **Guess:** which scale makes the surest answers?

# %%
learnt_scale = judges.clip.logit_scale.exp().item()
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), sharey=True)
for axis, scale in zip(axes, (1.0, learnt_scale, 100.0)):
    logits = scale * similarity[0]  # of the first picture
    probabilities = logits.softmax(0)
    loss = logits.logsumexp(0) - logits[0]  # -log of the first probability
    axis.bar(range(len(captions)), probabilities)
    axis.set(title=f"scale {scale:.1f}, loss {loss:.2f}", xlabel="caption", ylim=(0, 1))
    print(f"scale {scale:5.1f}: caption 0, its own, gets {probabilities[0]:.3f}; loss {loss:.3f}")
axes[0].set_ylabel("probability");

# %% [markdown]
# The loss is minus the logarithm of what the right caption got. With a small scale all captions get nearly
# the same; with a large one the best takes nearly everything. CLIP bounds its scale at 100.
#
# ### Exercise 2: the contrastive loss
#
# The quiz is asked both ways: each picture looks for its caption, and each caption for its picture. The
# loss is the mean of the two.
#
# <details><summary>Hint</summary>
#
# `F.cross_entropy(logits, labels)` is softmax, logarithm and mean in one. The right answer of row `i` is
# `i`. For the other direction, transpose. CLIP keeps the *logarithm* of the scale.
#
# </details>

# %%
def contrastive_loss(image_embeds, text_embeds, logit_scale):
    """Embeddings (B, D) of length 1, and the logarithm of the scale -> a scalar."""
    ### BEGIN SOLUTION
    logits = logit_scale.exp() * image_embeds @ text_embeds.T  # (B, B)
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    ### END SOLUTION

# %%
checks.contrastive_loss(contrastive_loss)

# %% [markdown]
# Now the same three times: by hand, by this course's package (mini's CLIP was trained with it), and by
# the library that everybody uses.

# %%
from sdlearn.data.folder import to_pixel_values
from sdlearn.pretrain.clip import contrastive_loss as package_loss
from sdlearn.pretrain.clip import tokenize

pixel_values = torch.stack([to_pixel_values(p, 64) for p in pictures[:6]]).to(device)
input_ids = tokenize(judges.tokenizer, captions).to(device)
with torch.no_grad():
    out = judges.clip(input_ids=input_ids, pixel_values=pixel_values, return_loss=True)
    logits = judges.clip.logit_scale.exp() * out.image_embeds @ out.text_embeds.T
    by_picture = -logits.log_softmax(1).diag().mean()
    by_caption = -logits.log_softmax(0).diag().mean()
    package = package_loss(out.image_embeds, out.text_embeds, judges.clip.logit_scale)
by_hand = (by_picture + by_caption) / 2
print(f"by hand {by_hand:.6f}, package {package:.6f}, transformers {out.loss:.6f}")
torch.testing.assert_close(by_hand, package, rtol=1e-4, atol=1e-6)
torch.testing.assert_close(by_hand, out.loss, rtol=1e-4, atol=1e-6)

# %% [markdown]
# ## Train a small one
#
# OpenAI's CLIP saw 400 million pairs. Ours sees 256 pictures in batches of 32, and captions that speak of
# colours only. It starts with random weights. **Guess:** what is the loss of a CLIP that knows nothing?

# %%
import numpy as np

from sdlearn.data.world.attributes import Shot
from sdlearn.pretrain.clip import build_clip
from sdlearn.pretrain.config import PretrainConfig
from sdlearn.pretrain.dataset import WorldDataset

drawn = characters(256, seed=1)
pixels = np.stack([np.asarray(draw(a, 64, seed=i)) for i, a in tqdm(drawn, desc="drawing")])
data = WorldDataset(pixels, [Shot(i, about_colors(a), i) for i, a in drawn])
show_pictures(list(pixels[:6]), ["a", "b", "c", "d", "e", "f"])
for letter, text in zip("abcdef", data.captions(torch.arange(6), 0.0, torch.Generator().manual_seed(0))):
    print(f"{letter}: {text}")

# %% [markdown]
# The captions differ each time: another wording, and not always all colours. Now the loop. It is all there
# is to CLIP's training.

# %%
from sdlearn.course.training import steps

B, losses, generator = 32, [], torch.Generator().manual_seed(0)
torch.manual_seed(0)
small = build_clip(PretrainConfig(image_size=64, text_width=64, text_layers=2), judges.tokenizer).to(device)
print(f"{sum(p.numel() for p in small.parameters()) / 1e6:.2f} million parameters")
optimizer = torch.optim.AdamW(small.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1)
for _ in tqdm(range(steps(80)), desc="training"):
    indices = data.batch(B, generator)
    texts = data.captions(indices, 0.0, generator)  # 0.0: the share of Japanese
    out = small(input_ids=tokenize(judges.tokenizer, texts).to(device),
                pixel_values=data.pixel_values(indices).to(device))
    loss = package_loss(out.image_embeds, out.text_embeds, small.logit_scale)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

# %% tags=["nbval-ignore-output", "trained"]
chance = math.log(B)  # of B captions, each gets 1/B
print(f"first step {losses[0]:.2f}, last ten {np.mean(losses[-10:]):.2f}, by chance {chance:.2f}")
show_losses(losses, average=10, what="contrastive loss")
plt.axhline(chance, color="black", linestyle=":");

# %% [markdown]
# The dotted line is the logarithm of the batch size: what pure guessing costs. A bigger batch is a harder
# quiz, and teaches more. OpenAI's had 32 768 pairs.
#
# Has it learnt anything about characters that it never saw? The same six pictures as above:

# %% tags=["nbval-ignore-output", "trained"]
from dataclasses import replace

small.eval().requires_grad_(False)
ours = replace(judges, clip=small)  # the same methods, with our CLIP
similarity_ours = ours.clip_image_embeds(pictures[:6]) @ ours.clip_text_embeds(captions).T
for name, matrix in {"mini's": similarity, "our": similarity_ours}.items():
    hits = (matrix.argmax(1) == torch.arange(6)).sum()
    print(f"{name} CLIP: {hits} of 6 pictures find their own caption")
show_matrix(similarity_ours, captions, "our CLIP")

# %% [markdown]
# Columns that look alike are pictures that it cannot tell apart yet. Which colours has it learnt first?
#
# **Change one thing and look again:** set `B = 4`, and run the cells from the training on. The loss falls far
# below the dotted line of before, but the new line is lower too. Which CLIP finds more of the six captions?

# %% [markdown]
# ## Zero-shot: a classifier from words
#
# To sort pictures by their background, nothing has to be trained any more. Write a caption for each
# answer, and take the one that fits best. That is **zero-shot** classification. It may be asked with the
# word alone ("red") or with a sentence ("a person, on a red background"). **Guess** which works better.

# %%
def zero_shot(clip, name, sentence=True):
    """The share of pictures whose attribute CLIP names rightly, and the share by chance."""
    values = clip.values[name]
    texts = [caption({name: value}) if sentence else value for value in values]
    chosen = [i for i, a in enumerate(attributes) if name in a]
    cosines = clip.clip_image_embeds([pictures[i] for i in chosen]) @ clip.clip_text_embeds(texts).T
    found = [values[best] for best in cosines.argmax(1).tolist()]
    right = sum(value == attributes[i][name] for value, i in zip(found, chosen))
    return right / len(chosen), 1 / len(values)

# %% tags=["nbval-ignore-output", "trained"]
names = ["background", "hair_color", "clothes_color", "expression"]
results = {
    "our CLIP": [zero_shot(ours, name)[0] for name in names],
    "mini's, word alone": [zero_shot(judges, name, sentence=False)[0] for name in names],
    "mini's, sentence": [zero_shot(judges, name)[0] for name in names],
    "by chance": [zero_shot(judges, name)[1] for name in names],
}
figure, axis = plt.subplots(figsize=(9, 3.5))
for k, (label, shares) in enumerate(results.items()):
    axis.bar(np.arange(len(names)) + 0.2 * k, shares, width=0.2, label=label)
    print(f"{label:20}", "  ".join(f"{name} {share:.2f}" for name, share in zip(names, shares)))
axis.set_xticks(np.arange(len(names)) + 0.3, [name.replace("_", " ") for name in names])
axis.set(ylabel="share named rightly", ylim=(0, 1))
axis.legend(fontsize=10);

# %% [markdown]
# Compare each group of bars with its last one, chance. The large patches of colour are learnt first: they
# tell most pairs of a batch apart. Our CLIP never read a word for an expression, so its bar there is luck.
# Mini's did read such words. But an expression is a few pixels of mouth, and rarely needed to win the quiz.
# **CLIP learns what tells the captions of a batch apart, and nothing else.** Then compare word and
# sentence. CLIP has read sentences; a single word does not say what is red. Does the sentence win everywhere?

# %% [markdown]
# ## Retrieval: find a picture by describing it
#
# The other way round: one text, many pictures, the best ones first.

# %% tags=["cover"]
image_embeds = judges.clip_image_embeds(pictures)

def find(text, number=6):
    cosines = image_embeds @ judges.clip_text_embeds([text])[0]
    return cosines.topk(number).indices.tolist()

fits = [(a.get("hair_color"), a["background"]) == ("red", "blue") for a in attributes]
print(f"{sum(fits)} of {len(fits)} pictures have red hair and a blue background")
for text in ("a person with red hair, on a blue background", "赤い髪の人、青い背景"):
    best = find(text)
    print(text, [(attributes[i].get("hair_color"), attributes[i]["background"]) for i in best])
    print(f"{sum(fits[i] for i in best)} of them are among these six")
    show_pictures([pictures[i] for i in best], [f"{k + 1}." for k in range(6)])

# %% [markdown]
# The second text says the same in Japanese. Compare the two rows, and read the list of each: hair colour,
# then background. Is there a picture with the right two colours in the wrong two places? Keep it in mind.
#
# Play with it: each sheet holds the four best pictures for your sentence.

# %%
from sdlearn.course.widgets import explore

def best_four(hair_color, background):
    found = find(caption({"hair_color": hair_color, "background": background}), number=4)
    one, two, three, four = (np.asarray(pictures[i]) for i in found)
    return np.vstack([np.hstack([one, two]), np.hstack([three, four])])

explore(best_four, {"hair_color": ["black", "blond", "red", "green", "blue", "purple", "pink"],
                    "background": ["red", "yellow", "green", "blue", "pink", "white"]});

# %% [markdown]
# ### Exercise 3: recall at k
#
# How good is the search? **Recall at k** is the share of rows whose own column, the one on the diagonal,
# is among the row's `k` largest.
#
# <details><summary>Hint</summary>
#
# `similarity.topk(k, dim=1).indices` has shape (N, k). Compare it with `torch.arange(N)[:, None]`.
#
# </details>

# %%
def recall(similarity, k):
    """Cosines (N, N), own pairs on the diagonal -> a share from 0 to 1."""
    ### BEGIN SOLUTION
    best = similarity.topk(k, dim=1).indices  # (N, k)
    return (best == torch.arange(len(similarity))[:, None]).any(1).float().mean().item()
    ### END SOLUTION

# %%
checks.recall(recall)

# %%
all_captions = [caption(a) for a in attributes]
of_texts = judges.clip_text_embeds(all_captions) @ image_embeds.T  # (N, N): a row is a text
place = (of_texts > of_texts.diag()[:, None]).sum(1)  # how many pictures fit better than its own
for k in (1, 5, 10):
    print(f"recall at {k:2}: {(place < k).float().mean():.2f}, by chance {k / len(place):.2f}")

# %% [markdown]
# ## What CLIP does not see: whose colour it is
#
# Now the question from the start. Draw characters with two colours, one of the hair and one of the clothes.
# Ask with the right sentence, with the colours **swapped**, and with **another** colour of clothes.
# **Guess** the order of the three cosines, and the gaps between them.

# %%
from itertools import permutations

colors = ["red", "green", "blue", "purple", "black"]
pairs = list(permutations(colors, 2))
base = {"style": "open-peeps", "hair": "bob", "expression": "smiling", "background": "white"}
two_colored = [draw(base | {"hair_color": h, "clothes_color": c}, 64) for h, c in pairs]

def say(hair, clothes):
    return f"a person with {hair} hair, wearing {clothes} clothes"

asked = {"right": [say(h, c) for h, c in pairs], "swapped": [say(c, h) for h, c in pairs],
         "another": [say(h, next(o for o in colors if o not in (h, c))) for h, c in pairs]}
seen = judges.clip_image_embeds(two_colored)
cosines = {key: (seen * judges.clip_text_embeds(texts)).sum(1) for key, texts in asked.items()}

# %%
figure, axis = plt.subplots(figsize=(6, 3))
axis.bar(list(cosines), [value.mean() for value in cosines.values()])
axis.set(ylabel="mean cosine", ylim=(-0.1, 0.8))
print(f"right    mean cosine {cosines['right'].mean():6.3f}")
for key in ("swapped", "another"):
    won = (cosines["right"] > cosines[key]).float().mean()
    print(f"{key:8} mean cosine {cosines[key].mean():6.3f}; the right sentence wins in {won:.0%}")
show_pictures([two_colored[i] for i in (1, pairs.index(("blue", "red")))],
              ["red hair, blue clothes", "blue hair, red clothes"], size=2.4);

# %% [markdown]
# A colour that is not there at all is noticed every time. A swap hardly changes the cosine, and the right
# sentence wins little more often than a coin. **CLIP knows which colours there are, and hardly whose they
# are.** To win its quiz, it rarely had to: few batches hold the same picture with its colours swapped.
#
# The same can be seen without any picture. Turn all words of a caption round:

# %%
def backwards(text):
    return " ".join(reversed(text.replace(",", "").split()))

forward = judges.clip_text_embeds(all_captions)
turned = judges.clip_text_embeds([backwards(text) for text in all_captions])
between = forward @ forward.T
elsewhere = (between.sum() - between.trace()) / (between.numel() - len(between))
print(backwards(all_captions[0]))
print(f"cosine with itself turned round {(forward * turned).sum(1).mean():.2f}, "
      f"with another caption {elsewhere:.2f}")

# %% [markdown]
# A text is nearly a **bag of words** to it: the words count, their order hardly.
#
# ## What CLIP does not see: how many
#
# One, two, three and four people, and a sentence for each number.

# %%
from PIL import Image

one = draw(base | {"hair_color": "red", "clothes_color": "blue"}, 32)

def crowd(number):
    page = Image.new("RGB", (64, 64), "#f8f8f6")
    for i in range(number):
        page.paste(one, (32 * (i % 2), 32 * (i // 2)))
    return page

crowds = [crowd(number) for number in (1, 2, 3, 4)]
counts = [f"{words}, on a white background" for words in
          ("one person", "two people", "three people", "four people")]
counted = judges.clip_image_embeds(crowds) @ judges.clip_text_embeds(counts).T
found = [int(best) + 1 for best in counted.argmax(1)]
show_pictures(crowds, [f"{n}: CLIP says {said}" for n, said in zip((1, 2, 3, 4), found)], size=2)
print(f"{sum(said == n for n, said in zip((1, 2, 3, 4), found))} of 4 are right")

# %% [markdown]
# Mini's CLIP never read a word for a number, so this is no surprise. But OpenAI's did, and its authors name
# counting as one of the things it is bad at. A caption says "two dogs" now and then. That is not enough to
# learn to count.

# %% [markdown]
# ## Which half Stable Diffusion uses
#
# Stable Diffusion has no use for the half that looks at pictures. It takes the text half. And of that, not
# the one vector that was compared so far, but the vectors of **all** tokens.
# (A token is a word, or a piece of one.)

# %%
from sdlearn import load

sd = load("mini", device=device)
states = sd.encode_prompt(captions[:1])  # (1, L, D)
print("CLIP compares", tuple(judges.clip_text_embeds(captions[:1]).shape), "numbers")
print("the U-Net is given", tuple(states.shape), "numbers, by", type(sd.text_encoder).__name__)
for name, part in {"CLIP's text half": judges.clip.text_model,
                   "CLIP's picture half": judges.clip.vision_model}.items():
    print(f"{name:20} {sum(p.numel() for p in part.parameters()) / 1e6:.2f} million parameters")

# %% [markdown]
# Where does the one vector come from? From the end token, which has read all that stands before it. By
# hand:

# %%
tokens = judges.tokenizer(captions, padding=True, return_tensors="pt").to(device)
with torch.no_grad():
    hidden = judges.clip.text_model(**tokens).last_hidden_state  # (B, L, D)
    end = (tokens.input_ids == judges.tokenizer.eos_token_id).int().argmax(1)  # the first one
    pooled = judges.clip.text_projection(hidden[torch.arange(len(hidden), device=device), end])  # (B, 128)
one_vector = F.normalize(pooled, dim=1).cpu()
torch.testing.assert_close(one_vector, judges.clip_text_embeds(captions), rtol=1e-4, atol=1e-5)
print("the end tokens stand at", end.tolist(), "and give CLIP's vectors")

# %% [markdown]
# So Stable Diffusion can know more of a sentence than CLIP's cosine does: "red" still has a vector of its
# own, beside "hair". But that vector was made by an encoder that was hardly ever asked for the order. **This
# is one reason why colours leak** from one thing to another in the pictures of Stable Diffusion. Its encoder
# stayed as CLIP left it; mini's went on learning together with the U-Net.

# %% [markdown]
# ## Tokens, and the limit
#
# A prompt is cut into tokens first, and there is room for a fixed number of them.

# %%
L = sd.text_encoder.config.max_position_embeddings
long = "a person with purple hair and round glasses, " * 10
at_end = sd.encode_prompt([long + "on a yellow background", long + "on a red background"])
at_start = sd.encode_prompt(["yellow background, " + long, "red background, " + long])
print(f"the long prompt has {len(sd.tokenizer(long).input_ids)} tokens, and {L} fit")
for where, states in {"at the end": at_end, "at the start": at_start}.items():
    difference = (states[0] - states[1]).abs().max().item()
    print(f"another background {where:12} changes the states by {difference:.3f} at most")

# %% [markdown]
# What is beyond the limit is not read. No error tells you. **Put what matters first.**
#
# ### Exercise 4: how much room is there?
#
# How many tokens *of your own* does a prompt have room for?
#
# <details><summary>Hint</summary>
#
# Look at `sd.tokenizer("hello").input_ids`, and at what stands around the word.
#
# </details>

# %%
### BEGIN SOLUTION
room = L - 2
### END SOLUTION

# %%
checks.room(room)

# %% [markdown]
# ## What happens to Japanese
#
# CLIP's tokens were learnt from English. Mini's were learnt from both languages of this course. The same
# captions, in both languages, by both tokenizers. **Guess:** for the same caption, how many times as many
# tokens does CLIP need in Japanese as in English?

# %%
from sdlearn.models.clip_tokenizer import clip_tokenizer

tokenizers = {"CLIP's": clip_tokenizer(), "mini's": sd.tokenizer}
lengths = {}
for name, tokenizer in tokenizers.items():
    for language in ("en", "ja"):
        ids = tokenizer([caption(a, language) for a in attributes]).input_ids
        lengths[f"{name}, {language}"] = np.mean([len(row) for row in ids])
    words = {word: len(tokenizer(word).input_ids) - 2 for word in ("髪", "眼鏡", "紫の")}
    print(f"{name} knows {len(tokenizer)} tokens, and needs for hair, glasses, purple: {words}")
print("bytes of each:", {sign: len(sign.encode()) for sign in "h髪"})
figure, axis = plt.subplots(figsize=(8, 2.8))
axis.barh(list(lengths), list(lengths.values()), color=["C0", "C1", "C0", "C1"])
axis.axvline(L, color="black", linestyle=":")
axis.set(xlabel="tokens of a caption, on average; dotted: the limit")
for name, length in lengths.items():
    print(f"{name:12} {length:5.1f} tokens a caption")

# %% [markdown]
# A word that a tokenizer does not know falls apart into pieces, in the worst case into single **bytes**: a
# Japanese letter such as 髪 has three. Nothing is lost: no text is unknown. But the limit comes sooner, and
# no token means "purple" or "hair" any more. The encoder would have to spell, and CLIP rarely saw Japanese
# to learn it from. This, and training on mostly English captions, is why Stable Diffusion 1 understands so
# little Japanese, and why models made for Japan bring a tokenizer and a text encoder of their own.

# %% [markdown]
# ### Exercise 5: an open question
#
# What about "no"? Ask for "a person, no glasses" and for "a person with round glasses", and let `find` show
# both. Then think of one more thing that CLIP might not see: left and right, large and small, which of two
# colours is brighter. Draw pictures that differ in this alone (`draw`, `paste`, PIL's `ImageOps.mirror`),
# write a sentence for each, and compare the cosines as above. How sure are you, with how many pictures?

# %% [markdown]
# ## What you have learnt
#
# - CLIP learns from pairs: in a batch, each picture has to find its caption, and each caption its picture.
# - A sentence becomes a classifier or a search, and it sees what had to be told apart: which colours, hardly
#   whose, and not how many.
# - Stable Diffusion takes the text half, with one vector a token, 77 of them, and tokens made for English.
#
# **What would break** if a batch held the same picture twice? (Two captions would be right, and the loss
# would call one of them wrong. It happens in our loop now and then, as it draws 32 of only 256. With 400
# million pairs it is rare.)
#
# **Papers:** Radford et al. 2021, arXiv:2103.00020 (CLIP); van den Oord et al. 2018, arXiv:1807.03748 (the
# loss); Yuksekgonul et al. 2022, arXiv:2210.01936 (bags of words).
