# %% [markdown]
# # 12. Creation and rights: whose pictures, and what a model keeps of them
#
# **In an hour** you will have read licences by program, caught a model giving a training picture back, marked
# a picture so that it says how it was made, and computed what lies between "this could be used" and "this is
# used".
#
# You need: chapter 8 (DreamBooth). This chapter is no legal advice, and the courts are not done yet.
#
# **Before you run anything, write down:** a model is some numbers. How could you find out whether a certain
# picture is in them?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## Whose pictures
#
# Behind a model stand people who drew. For mini they can be named, as its pictures follow from its recipe.

# %%
from collections import Counter

import torch

from sdlearn import load
from sdlearn.course import checks
from sdlearn.course.figures import show_pictures
from sdlearn.data.licenses import license_of
from sdlearn.evaluate import Judges
from sdlearn.evaluate.world import World
from sdlearn.models.registry import shipped_folder

sd, judges = load("mini", device=device), Judges.load("mini")
world = World.of_model(shipped_folder("mini"))
training = world.training(400)
shares = Counter(shot.attributes["style"] for shot in training)
print(f"mini learnt from {world.pictures} pictures; of the first {len(training)} are")
for style, number in shares.most_common():
    rights = license_of(style)
    print(f"{number:4} after {rights['author']}, {rights['license']}")

# %% [markdown]
# **Try the same for a model that you use.** For most large ones nobody can make this list: the pictures came
# from the web, and many of their makers were never asked.

# %% [markdown]
# ## Licences in practice
#
# The Creative Commons licences are built from parts. **BY**: name the artist. **SA**: share what you make
# under the same licence. **NC**: not for money. **ND**: publish no changed versions. CC0 asks for nothing.
# `MIT` and `Apache-2.0` are licences for programs, and allow both.
#
# ### Exercise 1: may I use this?
#
# <details><summary>Hint</summary>
#
# `"CC-BY-NC-4.0".split("-")` gives the parts. Two of them forbid something. And what if the text is empty,
# or is no licence that you know? Whoever says nothing keeps all rights.
#
# </details>

# %%
def may_use(license, sell, change):
    """Whether it may be sold, or published in a changed version: True or False."""
    ### BEGIN SOLUTION
    parts = license.split("-")
    if parts[0] not in ("CC0", "CC", "MIT", "Apache"):
        return False
    return not (sell and "NC" in parts) and not (change and "ND" in parts)
    ### END SOLUTION

# %%
checks.may_use(may_use)

# %% [markdown]
# Licences are of use only where they stay with their pictures. The folders of this course keep them in
# `metadata.jsonl`, beside the captions. So a program can read them before any training starts.

# %%
from sdlearn.data.characters import draw_character
from sdlearn.data.folder import read_pictures, write_pictures

write_pictures("mixed", [draw_character(style, seed=0, number=1)[0]
                         for style in ("lorelei", "adventurer", "pixel-art", "dylan")])
mixed = read_pictures("mixed")
show_pictures([p.image for p in mixed], [f"{p.author}\n{p.license}" for p in mixed], size=2)
print("to be named:", "; ".join(p.author for p in mixed if p.license != "CC0-1.0"))

# %% [markdown]
# What the licence does not say: whether *learning* from a picture is a use that needs it. That depends on
# the country and the purpose, and courts are still deciding. In most countries a style belongs to nobody; a
# picture or a character has an owner, and a face has rights of its own.

# %% [markdown]
# ## Does the model remember a picture?
#
# Copies are hardly ever equal in every pixel. So we compare **features**: the judges have a network that
# gives similar pictures similar vectors. The distance of two pictures is 1 minus the cosine of their
# vectors.
#
# ### Exercise 2: the nearest neighbour
#
# <details><summary>Hint</summary>
#
# Bring every row to length one (`torch.nn.functional.normalize`). One matrix product then has all cosines:
# a row for each picture, a column for each training picture. Which is nearest, a large cosine or a small
# one?
#
# </details>

# %%
def nearest(embeds, training_embeds):
    """(N, D) and (M, D) -> distances (N,) and indices (N,) of the nearest of the M."""
    ### BEGIN SOLUTION
    rows = torch.nn.functional.normalize(embeds, dim=1)
    columns = torch.nn.functional.normalize(training_embeds, dim=1)
    distances = 1 - rows @ columns.T  # (N, M)
    return distances.min(dim=1).values, distances.min(dim=1).indices
    ### END SOLUTION

# %%
checks.nearest(nearest)

# %% [markdown]
# But how near is *too* near? Pictures of one style are always alike. So we ask real pictures: they cannot be
# copies, as mini never saw them. **A picture is a near-copy if it is closer to a training picture than
# 99 of 100 real pictures are.** Training pictures of just the attributes that were asked for do not
# count: they are meant to be alike.

# %%
from sdlearn.evaluate.near_copies import near_copies, nearest_others

held_out = world.held_out(150)
training_pictures = list(world.draw(training, workers=1))
held_out_pictures = list(world.draw(held_out, workers=1))
training_embeds = judges.image_embeds(training_pictures)
training_attributes = [shot.attributes for shot in training]
real = nearest_others(judges.image_embeds(held_out_pictures), [shot.attributes for shot in held_out],
                      training_embeds, training_attributes)
print(f"real pictures: nearest at {real.min():.3f}, half of them beyond {real.median():.3f}")

# %%
from sdlearn.data.captions import caption

asked = [shot.attributes for shot in held_out[:8]]
drawn = sd.draw([caption(a) for a in asked], num_inference_steps=12)
drawn_embeds = judges.image_embeds(drawn)
by_mini = nearest_others(drawn_embeds, asked, training_embeds, training_attributes)
share, threshold = near_copies(by_mini, real)
print(f"threshold {threshold:.3f}; of {len(drawn)} drawn pictures {share * len(drawn):.0f} are nearer")

# %%
import matplotlib.pyplot as plt

figure, axis = plt.subplots(figsize=(8, 3))
axis.hist(real, bins=30, alpha=0.5, label="real, never seen")
axis.plot(by_mini, [1] * len(drawn), "v", markersize=10, label="drawn by mini")
axis.axvline(threshold, color="black", linestyle="--", label="threshold")
axis.set(xlabel="distance to the nearest training picture", ylabel="pictures")
axis.legend();

# %% [markdown]
# A number can be wrong, so look at the pairs. Each drawn picture stands left of its nearest training
# picture.

# %%
import numpy as np

from sdlearn.course.widgets import explore

distances = 1 - drawn_embeds @ training_embeds.T  # (N, M): both have rows of length one
closest = distances.argmin(dim=1)
assert torch.equal(distances.amin(dim=1), by_mini)  # none has just these attributes, so none is left out

def pair(picture):
    return np.hstack([np.asarray(drawn[picture]), np.asarray(training_pictures[closest[picture]])])

explore(pair, {"picture": range(len(drawn))});

# %% [markdown]
# **Siblings or copies?** In how many pairs do hair colour or clothes differ? Count. And mind what we did:
# we searched a small part of the training pictures. Not having found a copy is no proof that there is none.
# `sdlearn evaluate` searches more of them.

# %% [markdown]
# ## A model that does remember
#
# Now one on purpose: two pictures, one prompt that names no background, no class pictures. Each picture is
# seen at every step. **Guess:** after how many steps does the prompt give a training picture back? And what
# happens when you ask for a green background?

# %%
from tqdm.auto import tqdm

from sdlearn.course.training import steps
from sdlearn.finetune import DreamBooth, FitConfig, fit

somebody = draw_character("adventurer", seed=0, number=40, size=64)
known, others = somebody[:2], somebody[2:]
prompt = "a picture of sks person"
prompts = [prompt] * 4 + [f"{prompt}, on a {color} background" for color in ("green", "blue")]
method = DreamBooth(sd, instance_prompt=prompt, with_prior_preservation=False)
config = FitConfig(max_train_steps=steps(120), train_batch_size=2, learning_rate=3e-4)
looked = {0: sd.draw(prompts, num_inference_steps=12)}
for step in tqdm(fit(method, known, config), desc="training", total=config.max_train_steps):
    if step.step in (steps(40), steps(120)):
        looked[step.step] = method.sd.draw(prompts, num_inference_steps=12)

# %% [markdown]
# The threshold comes from real pairs again: true pictures of the same character on *other* backgrounds. The
# prompt leaves the background open, so a model that has understood the character is free to choose one.

# %% tags=["nbval-ignore-output", "trained"]
backgrounds = {p.attributes["background"] for p in known}
elsewhere = [p.image for p in others if p.attributes["background"] not in backgrounds]
known_embeds = judges.image_embeds([p.image for p in known])

def distance(pictures):
    return (1 - judges.image_embeds(pictures) @ known_embeds.T).amin(dim=1)

limit = torch.quantile(distance(elsewhere), 0.01).item()
print(f"{len(elsewhere)} real pictures on other backgrounds: threshold {limit:.2f}")
for number, pictures in looked.items():
    print(f"after {number:3} steps:", ", ".join(
        f"{d:.2f}{'*' if d < limit else ''}" for d in distance(pictures).tolist()))
print("(* nearer to a training picture than the threshold; the last two were asked for a background)")

# %% tags=["cover"]
rows = [[*[p.image for p in known], *elsewhere[:4]], *looked.values()]
titles = ["learnt from"] * 2 + ["real, elsewhere"] * 4
titles += [f"{number} steps\n{what}" for number in looked for what in ["by name"] * 4 + ["green", "blue"]]
show_pictures([p for row in rows for p in row], titles, columns=6, size=1.5);

# %% [markdown]
# **Two lessons.** Asked by its name alone, the over-trained model gives a training picture back, a little
# blurred. Four seeds, one picture: that is a sign you can see without any training set. Asked for another
# background it does not: the same model passes one test and fails the other. You find a copy only if you
# ask for it. Those who found training pictures in large models did exactly that: they
# asked with the captions of pictures that stood in the training set many times.
#
# **Change one thing and look again:** give it five pictures instead of two, or `learning_rate=1e-4`. From
# which on are the stars gone?

# %% [markdown]
# ## Marking what is made
#
# A picture can say of itself that a model drew it, and how. PNG files have room for text, and `sdlearn
# generate` fills it in.

# %%
from PIL import Image

from sdlearn.data.png import read_generated, save_generated

path = save_generated(drawn[0], "marked.png", prompt=caption(asked[0]), negative_prompt="", seed=0,
                      model="mini", steps=12, guidance_scale=5.0)
texts = dict(Image.open(path).text)
for name in ("parameters", "Description"):
    print(f"{name}: {texts[name]}\n")
print("source type:", texts["XML:com.adobe.xmp"].split('DigitalSourceType="')[1].split('"')[0])

# %% [markdown]
# The first text is what most programs for Stable Diffusion read and write. The last line is the word that
# news agencies and search engines look for.
#
# ### Exercise 3: read it
#
# <details><summary>Hint</summary>
#
# The first line is the prompt. The last line holds the settings, with commas between them. There may be a
# line in between, which begins with "Negative prompt: ". The word "Seed" may stand in a prompt as well.
#
# </details>

# %%
def read_settings(parameters):
    """A dictionary with "prompt", "negative_prompt" ("" if there is none) and "seed", a number."""
    ### BEGIN SOLUTION
    prompt, *middle, last = parameters.split("\n")
    negative_prompt = middle[0].removeprefix("Negative prompt: ") if middle else ""
    settings = dict(part.split(": ") for part in last.split(", "))
    return {"prompt": prompt, "negative_prompt": negative_prompt, "seed": int(settings["Seed"])}
    ### END SOLUTION

# %%
checks.read_settings(read_settings)

# %% [markdown]
# With what it says, the picture can be drawn again. **But how long does it say it?** Guess which of these
# keep the mark: saved again as PNG, as JPEG, or cut at the edge.

# %%
made = read_generated(path)
print("read back:", made)
image = Image.open(path)
image.save("again.png")
image.convert("RGB").save("again.jpg", quality=95)
image.crop((1, 1, 63, 63)).save("cut.png")
for name in ("marked.png", "again.png", "again.jpg", "cut.png"):
    words = " ".join(str(value) for value in Image.open(name).info.values())
    print(f"{name:11} says how it was made: {'seed' in words.lower()}, "
          f"that a model drew it: {'AI' in words or 'trainedAlgorithmicMedia' in words}")

# %% [markdown]
# Text beside a picture is a label: honest people keep it, and one click loses it. A mark *in* the pixels
# goes further. By hand, in the last bit of each number, where no eye sees it:

# %%
secret = np.random.default_rng(0).integers(0, 2, np.asarray(drawn[0]).shape, dtype=np.uint8)
pixels = np.asarray(drawn[0])
Image.fromarray((pixels & 254) | secret).save("hidden.png")
Image.open("hidden.png").save("hidden again.png")
Image.open("hidden.png").save("hidden.jpg", quality=95)
for name in ("hidden.png", "hidden again.png", "hidden.jpg"):
    found = ((np.asarray(Image.open(name)) & 1) == secret).mean()
    print(f"{name:17} {found:.0%} of the bits are found (chance is 50 %)")
change = np.abs(np.asarray(Image.open("hidden.png")).astype(int) - pixels).max()
print(f"and no number of the picture changed by more than {change} of 255")

# %% [markdown]
# It survives a new PNG, and not a JPEG. Marks that survive more are an open field, and none so far survives
# somebody who wants it gone. So mark what you make, and do not take a missing mark as a proof of anything.

# %% [markdown]
# A *model* can carry a label, too. Here is a part of the one that is saved beside what was learnt above:

# %%
from IPython.display import Markdown

card = (method.save("runs/12-remembers") / "README.md").read_text(encoding="utf-8")
Markdown(card[card.index("## What it learnt from"):])

# %% [markdown]
# The table comes from what `metadata.jsonl` says of each picture. **Whom would you have to ask** before you
# pass this model on? And what would the last section say of pictures that somebody found on the web?

# %% [markdown]
# ## From "could be used" to "is used"
#
# A picture is used when it saves more time than it takes. That can be computed. **Write down first:** of
# eight pictures from mini, how many are just what was asked for? (The prompts above ask for combinations
# that mini never saw, which is what one wants a model for.)

# %% tags=["nbval-ignore-output", "timed"]
import time

def wrong(picture, wanted):
    return [name for name, value in wanted.items() if picture[name] != value]

start = time.perf_counter()
tried = sd.draw([caption(a) for a in asked[:4]], num_inference_steps=12)
seconds_a_picture = (time.perf_counter() - start) / len(tried)
mistakes = [wrong(seen, wanted) for seen, wanted in zip(judges.read(drawn), asked)]
usable = sum(not names for names in mistakes)
print(f"{usable} of {len(drawn)} pictures are right in all that was asked")
print("what was wrong:", dict(Counter(name for names in mistakes for name in names)))
print(f"one picture took {seconds_a_picture:.1f} s")

# %% [markdown]
# Now a story of 12 pictures. You look at each try for some seconds, until it is right. If a share $p$ of the
# pictures is right, one takes $1 / p$ tries on average.

# %% tags=["nbval-ignore-output", "timed"]
seconds_looking, minutes_by_hand, panels = 5, 20, 12  # yours: change them
chance = max(usable, 0.5) / len(drawn)  # none right in 8 tries does not mean never
for p in sorted({chance, 0.5, 0.9}):
    minutes = panels / p * (seconds_a_picture + seconds_looking) / 60
    print(f"right {p:4.0%}: {panels / p:5.0f} tries, {minutes:5.1f} minutes; "
          f"all {panels} right at the first try: {p ** panels:.4%}")
print(f"by hand: {panels * minutes_by_hand} minutes")

# %% [markdown]
# **What does the last column say?** Tries are cheap for one picture. For many that belong together, and that
# somebody has to look at, the share that is right decides. This is why the methods of this course matter: a
# model that knows your character has less left to get wrong. And time is only one line of the list. The
# others are about people.

# %%
found = {name: license_of(name)["license"] for name in shares}
price, sold, share_for_artists = 10, 10_000, 0.3  # yen for a picture; pictures sold; share of the income
print(f"every picture's licence is known: {all(found.values())}")
print(f"near-copies among {len(drawn)} drawn: {share * len(drawn):.0f}")
print(f"pictures say that a model drew them: {read_generated(path).model == 'mini'}")
print(f"right at the first try: {usable} of {len(drawn)}")
print(f"if {sold} pictures were sold for {price} yen, and the artists had {share_for_artists:.0%}:")
income = Counter()
for style, number in shares.items():
    income[license_of(style)["author"]] += number / shares.total() * price * sold * share_for_artists
for artist, yen in income.most_common():
    print(f"    {artist:24} {yen:6.0f} yen")

# %% [markdown]
# No licence in this list asks for that money. Whether it should be paid, and for which share of what, is for
# people to agree on. But it can only be paid where somebody wrote down whose the pictures were.

# %% [markdown]
# ### Exercise 4: an open question
#
# Take something that you would really want to draw: a cover, a sticker, a page of a comic. Write your own
# list of what has to be true before you would *use* a model for it, at least five lines. Turn two of them
# into numbers that a cell computes, in the manner of the cells above. Which line is furthest from true, and
# who could change it: you, the model's makers, or the law?

# %% [markdown]
# ## What you have learnt
#
# - A licence that stays with its picture can be read by a program, before anything is trained.
# - A model can remember: nearest neighbours in features find it, with a threshold from real pictures, and
#   only if you ask for what it remembers.
# - A label in a file helps honest people, and it does not survive being saved again.
#
# **What would break** if the threshold were taken from the drawn pictures themselves? (One in a hundred would
# always be a copy, and a model that copies everything would look like any other.)
#
# **Papers:** Carlini et al. 2023, arXiv:2301.13188 (training pictures out of diffusion models); Somepalli et
# al. 2022, arXiv:2212.03860 (copies by features); Ruiz et al. 2022, arXiv:2208.12242.
