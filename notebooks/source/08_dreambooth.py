# %% [markdown]
# # 8. DreamBooth: teach the model somebody new
#
# **In an hour** you will have taught mini a character that it has never seen, from five pictures, with a
# training loop of your own. You will have watched it forget what other people look like, and helped it
# to remember.
#
# You need: chapter 5 (the three parts of Stable Diffusion).
#
# **Before you run anything, write down:** a model sees the same five pictures about eighty times, always
# under the words "sks person". What will it draw afterwards when you ask for "a person"?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## Somebody new
#
# A few pictures of one character: yours, if chapter 0 left a folder `my-character` beside this notebook, or else
# somebody in a style that mini was never shown.

# %%
import copy

import torch

from sdlearn import load
from sdlearn.course import checks
from sdlearn.course.character_maker import own_character
from sdlearn.course.figures import show_pictures
from sdlearn.evaluate.situations import class_word_of

sd = load("mini", device=device)
pictures = own_character()
faces = [picture.image for picture in pictures]
show_pictures(faces, [picture.attributes["expression"] for picture in pictures], size=1.8);

# %% [markdown]
# ## A word that means nothing yet
#
# DreamBooth calls the subject "[a rare word] [its class]". The class word brings what the model knows:
# people have two eyes. The rare word is there to carry what is new. **Guess:** why not a common word, or
# the character's name?

# %%
KIND = class_word_of(pictures[0].attributes["style"])  # person, or creature
for text in (f"sks {KIND}", f"smiling {KIND}"):
    ids = sd.tokenizer(text).input_ids[1:-1]
    print(text, "->", " | ".join(sd.tokenizer.decode([i]).strip() for i in ids))

SITUATIONS = ["a picture of a smiling {}, on a green background",
              "a picture of a {} with sunglasses, on a blue background",
              "a picture of a surprised {}, on a purple background"]
CLASS_PROMPT = f"a picture of a {KIND}"

# %% [markdown]
# Mini has no token `sks`: it falls apart into single letters. They mean little to mini, so they can carry
# somebody new. Stable Diffusion 1.5 has `sks` as one rare token, and the paper looks for such tokens. A
# word that is common means something already, and the model would have to unlearn that. Here are three
# situations, and six times just "a person" (or a creature, if yours is one), before any training.

# %%
SUBJECT_PROMPTS = [situation.format(f"sks {KIND}") for situation in SITUATIONS]
before = sd.draw(SUBJECT_PROMPTS)
class_before = sd.draw(CLASS_PROMPT, seeds=range(500, 506))
TITLES = [*[f"sks {KIND}"] * 3, *[f"a {KIND}"] * 6]
show_pictures([*before, *class_before], TITLES, columns=9, size=1.4);

# %% [markdown]
# The backgrounds are right; the character is anybody. `sks` says nothing yet.
#
# ## What could go wrong
#
# To train on five pictures only is easy: the loss of chapter 2, with "sks person" as the prompt. But
# nothing then says what is to *stay*. The paper adds a second loss for that. Before training, the model
# draws pictures of the class by itself; while it trains, it must still be able to draw those:
#
# $$\text{loss} = \underbrace{\text{mean} \lVert \hat\epsilon - \epsilon \rVert^2}_{\text{the subject's
# pictures}} + \lambda \underbrace{\text{mean} \lVert \hat\epsilon' - \epsilon' \rVert^2}_{\text{the class's
# pictures}}$$
#
# The paper calls it **prior preservation**, and takes $\lambda = 1$.

# %%
from sdlearn.data.folder import Picture

drawn = sd.draw(CLASS_PROMPT, seeds=range(100, 112))
class_pictures = [Picture(image=image, text=CLASS_PROMPT) for image in drawn]
show_pictures(drawn, columns=12, size=1.1);

# %% [markdown]
# ### Exercise 1: two losses in one
#
# Both kinds of pictures go through the U-Net together, the subject's first. Write the loss of such a
# batch, of which the second half are class pictures.
#
# <details><summary>Hint</summary>
#
# `tensor.chunk(2)` cuts a batch in two. Each half has a mean of its own, and the weight stands in front of
# the second.
#
# </details>

# %%
def prior_preservation_loss(model_pred, target, prior_loss_weight):
    """Predicted and true noise (2B, 4, h, w), the subject's B first -> a loss, a tensor of one number."""
    ### BEGIN SOLUTION
    subject, prior = (model_pred - target).square().chunk(2)
    return subject.mean() + prior_loss_weight * prior.mean()
    ### END SOLUTION

# %%
checks.prior_preservation_loss(prior_preservation_loss)

# %% [markdown]
# ### Exercise 2: what trains
#
# DreamBooth trains the whole U-Net, and the text encoder too if asked. How many numbers is that?
#
# <details><summary>Hint</summary>
#
# `part.parameters()` are tensors, and `numel()` says how many numbers a tensor holds. A model that was
# only loaded is frozen, so `requires_grad` does not tell you.
#
# </details>

# %%
def count_trained(sd, train_text_encoder):
    """How many numbers DreamBooth changes in `sd.unet`, and perhaps in `sd.text_encoder`."""
    ### BEGIN SOLUTION
    parts = [sd.unet, sd.text_encoder] if train_text_encoder else [sd.unet]
    return sum(p.numel() for part in parts for p in part.parameters())
    ### END SOLUTION

# %%
checks.count_trained(count_trained)

# %% [markdown]
# ## By hand
#
# First the package: three steps of its DreamBooth, with class pictures. `FitConfig` says how to train,
# `fit` does one optimizer step at a time, and `run` lets it go to the end with a progress bar.

# %%
from sdlearn.finetune import DreamBooth, FitConfig, fit, run
from sdlearn.training.batches import draw_batch

PROMPT = f"a picture of sks {KIND}"
LEARNING_RATE = sd.learning_rates.get("dreambooth", DreamBooth.default_learning_rate)
ready_made = DreamBooth(sd, instance_prompt=PROMPT, class_prompt=CLASS_PROMPT,
                        own_class_pictures=class_pictures)
config = FitConfig(max_train_steps=3, train_batch_size=2, learning_rate=LEARNING_RATE, seed=0)
losses = run(fit(ready_made, pictures, config))

# %% [markdown]
# To compare, both must draw the same random things: pictures, latents (around the VAE's mean, within its
# spread), timesteps and noise. The package gives each picture of a step a random generator of its own, so
# that can be done again.

# %%
def drawn_at(step):
    """The latents, noise and timesteps of a step: two of the subject, then two of the class."""
    subject = draw_batch(step, count=len(pictures), size=2, seed=0)
    others = subject.beside(len(class_pictures), 2)  # the row of class pictures
    generators = [*subject.generators, *others.generators]
    indices = [*subject.indices, *(len(pictures) + i for i in others.indices)]
    latents = ready_made.moments.latents(indices, generators)  # (4, 4, h, w)
    timesteps = torch.stack([torch.randint(1000, (), generator=g) for g in generators])
    noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators])
    return latents, noise.to(device), timesteps.to(device)

# %% [markdown]
# And this is all of DreamBooth:

# %%
unet = copy.deepcopy(sd.unet).requires_grad_(True)
optimizer = torch.optim.AdamW(unet.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
states = torch.cat([sd.encode_prompt([text]) for text in (PROMPT, CLASS_PROMPT)])  # (2, L, D)
states = states.repeat_interleave(2, dim=0)  # (4, L, D)
by_hand = []
for step in range(3):
    latents, noise, timesteps = drawn_at(step)
    noisy_latents = sd.noise_scheduler.add_noise(latents, noise, timesteps)
    model_pred = unet(noisy_latents, timesteps, states).sample
    subject, prior = (model_pred - noise).square().chunk(2)
    loss = subject.mean() + 1.0 * prior.mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    by_hand.append(loss.item())

# %% tags=["nbval-ignore-output", "rounding"]
for step, (own, theirs) in enumerate(zip(by_hand, losses), start=1):
    print(f"step {step}: by hand {own:.6f}, the package {theirs:.6f}")
pairs = list(zip(unet.parameters(), ready_made.sd.unet.parameters()))
apart = max((own - theirs).abs().max().item() for own, theirs in pairs)
moved = max((own - old).abs().max().item() for own, old in zip(unet.parameters(), sd.unet.parameters()))
print(f"the weights moved by up to {moved:.1e}; the two differ by up to {apart:.1e}")
torch.testing.assert_close(torch.tensor(by_hand), torch.tensor(losses), rtol=1e-4, atol=0)

# %% [markdown]
# The same losses, step by step: the second and third depend on how the steps before changed the weights.
# (A single step's loss says little by itself. It depends most on the timesteps that were drawn.)
#
# ### Exercise 3: what the prompt must say
#
# A prompt may differ from picture to picture: `{expression}` in a template takes that picture's own.
# Somebody wants to teach mini a **creature**. In all its pictures `{style}` and `{color}` are the same;
# `{expression}` and `{background}` differ. Write the template. Use `sks`.
#
# <details><summary>Hint</summary>
#
# What the words explain, the new word need not. What no word explains, the new word takes upon itself.
#
# </details>

# %%
### BEGIN SOLUTION
instance_prompt = "a picture of a {expression} sks creature, on a {background} background"
### END SOLUTION

# %%
checks.instance_prompt(instance_prompt)

# %% [markdown]
# ## Train it, without a second loss
#
# **Predict:** which of the nine pictures from before will change, and which should not?
#
# To load what ships instead of waiting, set `train=False` here and below. It was trained through LoRA
# (chapter 10), as a whole U-Net is too large to ship; it draws like these.

# %% tags=["nbval-ignore-output", "timed"]
from sdlearn.course.training import learn, steps

TEMPLATE = f"a picture of a {{expression}} sks {KIND}, on a {{background}} background"
config = FitConfig(max_train_steps=steps(100), train_batch_size=4)
without = DreamBooth(sd, instance_prompt=TEMPLATE, with_prior_preservation=False)
learnt = learn(without, pictures, config, name="08-dreambooth", train=True)
print(f"{learnt.seconds:.0f} seconds, loss {sum(learnt.losses[-20:]) / len(learnt.losses[-20:]):.3f}")

# %%
taught = {"without": sd.with_artefact(learnt.path)}
after = {"without": taught["without"].draw(SUBJECT_PROMPTS)}
class_after = {"without": taught["without"].draw(CLASS_PROMPT, seeds=range(500, 506))}
show_pictures([*before, *class_before, *after["without"], *class_after["without"]],
              TITLES * 2, columns=9, size=1.4);

# %% [markdown]
# Above before, below after. The three on the left go where we wanted: to the character, in the situations that
# were asked for. The six on the right nobody asked for. The prompt there is "a picture of a
# person", without `sks`, and yet **people turn into the character.** Count those that have its skin
# or its hair. The paper calls it language drift.
#
# ## Train it again, and hold on to the class
#
# Now each step also pulls towards the class: two class pictures go with four of the subject. So a step
# moves less towards the subject. We take half as many steps more, so that both models have a fair chance to
# learn it.

# %% tags=["nbval-ignore-output", "timed"]
with_prior = DreamBooth(sd, instance_prompt=TEMPLATE, class_prompt=CLASS_PROMPT,
                        own_class_pictures=class_pictures, class_batch_size=2)
longer = FitConfig(max_train_steps=steps(150), train_batch_size=4)
learnt_with = learn(with_prior, pictures, longer, name="08-dreambooth-with-prior", train=True)
print(f"{learnt_with.seconds:.0f} seconds")

# %% tags=["cover"]
taught["with"] = sd.with_artefact(learnt_with.path)
after["with"] = taught["with"].draw(SUBJECT_PROMPTS)
class_after["with"] = taught["with"].draw(CLASS_PROMPT, seeds=range(500, 506))
show_pictures([*after["without"], *class_after["without"], *after["with"], *class_after["with"]],
              TITLES * 2, columns=9, size=1.4);

# %% [markdown]
# Above without, below with class pictures. Look at the six on the right: do they look like
# different people again?
#
# ## Measured
#
# Three numbers, from networks that had no part in the training. **Fidelity**: how alike are the pictures of
# `sks person` and the real ones? Higher is better. **Drift**: the same of "a person". It should stay
# where it was. **Prompt fit**: how well does a picture fit the words about the situation?

# %% tags=["nbval-ignore-output", "trained"]
from sdlearn.evaluate import Judges, class_drift, prompt_fit, subject_fidelity

judges = Judges.load("mini")
PLAIN = [situation.format(KIND) for situation in SITUATIONS]
rows = {"before": (before, class_before)}
rows |= {name + " class pictures": (after[name], class_after[name]) for name in after}
drift = {}
print(f"{'':24} fidelity  drift  prompt fit")
for name, (subject, others) in rows.items():
    drift[name] = class_drift(judges, others, faces)
    fidelity = subject_fidelity(judges, subject, faces)
    print(f"{name:24}   {fidelity:.2f}    {drift[name]:.2f}     {prompt_fit(judges, subject, PLAIN):.2f}")

# %% tags=["nbval-ignore-output", "trained"]
rise = {name: value - drift["before"] for name, value in drift.items()}
print(f"drift rose by {rise['without class pictures']:+.2f} without class pictures, "
      f"and by {rise['with class pictures']:+.2f} with them")

# %% [markdown]
# In the paper (Imagen, 15 subjects, another judge) the second loss brings the drift down from .664 to .493,
# and fidelity from .712 to .684. Is your drift lower with class pictures, too? Do not compare your
# fidelity: this run had more steps. Six pictures are few: only large differences count here. And a judge
# knows only the drawing styles that mini was shown. Where it and your eyes disagree, as they may on a creature
# of your own, believe your eyes.
#
# ## How far to go
#
# Trained weights are the old ones plus a change. So one can go half of the way, or beyond. Beyond is not
# the same as longer training, but it costs nothing. **Predict:** what becomes of the face, and what of the
# background?

# %%
from dataclasses import replace

from sdlearn.models.lora import merged

old, new = sd.unet.state_dict(), merged(taught["without"]).unet.state_dict()

def part_way(share):
    """The model with that share of the change: 0 is before training, 1 is after."""
    unet = copy.deepcopy(sd.unet)
    unet.load_state_dict({name: torch.lerp(old[name], new[name], share) for name in old})
    return unet

SHARES = [0.0, 0.3, 0.6, 1.0, 1.4]
on_the_way = {0.0: before, 1.0: after["without"]}
for share in (0.3, 0.6, 1.4):
    on_the_way[share] = replace(sd, unet=part_way(share)).draw(SUBJECT_PROMPTS)

# %%
import matplotlib.pyplot as plt

figure, axis = plt.subplots()
axis.plot(SHARES, [subject_fidelity(judges, on_the_way[s], faces) for s in SHARES], "o-", label="fidelity")
axis.plot(SHARES, [prompt_fit(judges, on_the_way[s], PLAIN) for s in SHARES], "s--", label="prompt fit")
axis.set(xlabel="share of the change (1: as trained)", ylabel="cosine")
axis.legend();

# %%
from sdlearn.course.widgets import explore

def picture_at(share, situation):
    return on_the_way[share][situation - 1]

explore(picture_at, {"situation": [1, 2, 3], "share": SHARES}, sheet=12);

# %% [markdown]
# Read the two curves. Where does fidelity stop rising, and where does prompt fit begin to fall? Then look
# at the sheet: does the background or the face go first?
#
# **How it fails, and how you see it:**
#
# | you see | it is | what helps |
# |---|---|---|
# | everybody looks like the subject | language drift | class pictures, a larger `prior_loss_weight` |
# | the background of a training picture comes back | overfitting, or a prompt that did not name it | fewer steps, templates that say what differs |
# | right face, wrong situation: fidelity rises, prompt fit falls | trained too long | fewer steps, a lower learning rate |
# | right situation, anybody's face | trained too little | more steps, or train the text encoder as well |
#
# **Change one thing and look again:** train `with_prior` again, with `prior_loss_weight=0.2`, and measure
# its drift. Does it lie between the drifts without and with class pictures?

# %% [markdown]
# ### Exercise 4: an open question
#
# What is the class word good for? Train again with "sks creature" or "sks" alone in the template (and the
# class prompt to match), for as many steps, and measure fidelity. The paper finds: the right class word
# .744, a wrong one .454, none .303. Is mini as strict? Write down what you expect, and why a model that
# has to learn "two eyes and a mouth" as well might need more steps.

# %% [markdown]
# ## The same on Stable Diffusion 1.5
#
# With a GPU of 24 GB, and five photographs of your own in a folder:
#
# ```python
# from sdlearn.data.folder import read_pictures
#
# sd, pictures = load("sd15", device="cuda"), read_pictures("my-photographs")
# TEMPLATE = "a photo of sks person"  # photographs have no {expression}
# ```
#
# The learning rate follows from the model: here the paper's, 5e-6. Take some 400 steps without class pictures
# or 800 with 200 of them, and `train_text_encoder=True` for faces. On a GPU of 16 GB, `lora_rank=16`
# trains small matrices beside the weights instead: chapter 10.

# %% [markdown]
# ## What you have learnt
#
# - DreamBooth trains the whole U-Net on a few pictures, under a rare word and the class word.
# - What a model is not asked to keep, it loses: pictures of the class, drawn before, are that request.
# - The words of a training prompt decide what the new word means: say what changes, leave out what stays.
#
# **What would break** if the class pictures were photographs of one other person? (The class would drift
# towards that person. They must show what you want "a person" to mean.)
#
# **Papers:** Ruiz et al. 2022, arXiv:2208.12242; Wortsman et al. 2021, arXiv:2109.01903 (part of the way
# between two models).
