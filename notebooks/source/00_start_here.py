# %% [markdown]
# # 0. Start here: a picture, a character, and what you may do with them
#
# **In an hour** you will have drawn pictures from English and Japanese prompts, made a character of your
# own, taught it to a model in half a minute, and computed what your machine can train.
#
# You need: to have run a cell of a notebook before. No GPU, no account, no network.
#
# **Before you run anything, write down:** you ask for the same prompt twice. Do you get the same person?
# And what would have to be the same, so that you do?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## A picture
#
# The course comes with a small Stable Diffusion, called mini. It draws illustrated characters, and nothing
# else. It is real: all its parts are of the same kind as in the large ones.

# %% tags=["nbval-ignore-output", "timed"]
import time

import torch

from sdlearn import load
from sdlearn.course import checks
from sdlearn.course.figures import show_pictures, show_rows

start = time.perf_counter()
sd = load("mini", device=device)
pipeline = sd.pipeline()
pipeline.set_progress_bar_config(disable=True)
picture = pipeline("a laughing person with blue hair, on a yellow background",
                   num_inference_steps=15, guidance_scale=5.0).images[0]
print(f"a picture of {picture.width} x {picture.height} pixels "
      f"in {time.perf_counter() - start:.1f} seconds, with opening the model")
show_pictures([picture], size=2.5);

# %% [markdown]
# **Run this cell again.** Another person: a picture starts at noise, and the noise was new. The next cell
# draws three people with three seeds, so that you see how much a prompt leaves open.

# %%
def draw(prompt, seed, model=pipeline):
    generator = torch.Generator().manual_seed(seed)
    return model(prompt, num_inference_steps=15, guidance_scale=5.0, generator=generator).images[0]

prompt = "a laughing person with blue hair, on a yellow background"
show_pictures([draw(prompt, seed) for seed in (1, 2, 3)], [f"seed {s}" for s in (1, 2, 3)], size=2);

# %% [markdown]
# ### Exercise 1: the same picture twice
#
# Write it once more yourself. Your function must give the same picture for the same prompt and seed,
# whatever was drawn before.
#
# <details><summary>Hint</summary>
#
# A `torch.Generator()` gives random numbers in a row, and goes on where it stopped. When does it have to be
# made, so that the row begins at the seed each time? A pipeline returns an object with `.images`, a list.
#
# </details>

# %%
def repeatable(pipeline, prompt, seed):
    """One picture, which prompt and seed decide."""
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)
    return pipeline(prompt, num_inference_steps=15, generator=generator).images[0]
    ### END SOLUTION

# %%
checks.repeatable(repeatable)

# %% [markdown]
# ## Two languages
#
# Mini was trained with captions in English and in Japanese. Its makers kept a judge beside it: a network
# that looks at a picture and says which attributes it sees.

# %%
from tqdm.auto import tqdm

from sdlearn.data.captions import caption
from sdlearn.evaluate import Judges

judges = Judges.load("mini")
wanted = {"hair_color": "green", "clothes_color": "red", "background": "white",
          "expression": "smiling", "style": "open-peeps"}
prompts = {"English": caption(wanted), "Japanese": caption(wanted, "ja")}
languages = {name: [draw(text, seed) for seed in range(3)]
             for name, text in tqdm(prompts.items(), desc="drawing")}
for name, pictures in languages.items():
    print(name, "prompt:", prompts[name])
    for attribute, value in wanted.items():
        seen = [answer[attribute] for answer in judges.read(pictures)]
        print(f"    {attribute:14} asked {value}, seen {', '.join(seen)}")

# %%
show_rows(languages, [f"seed {seed}" for seed in range(3)], size=1.9);

# %% [markdown]
# **Compare what was asked with what the judge saw.** Both rows share their seeds. Which attributes arrive in
# both languages? Large areas of colour are easy. A mouth is a few pixels: ask for another expression, and
# count again.
#
# **Change one thing and look again:** ask for something that mini never saw, such as "a castle by the sea".
# It draws all the same. Does it tell you that it does not know?

# %% [markdown]
# ## Your own character
#
# The course teaches models *somebody*. Let it be somebody of yours. Choose a style, a seed and what you
# like, then press **keep this one**. The styles from lorelei to clay were never shown to mini.

# %%
from sdlearn.course.character_maker import make_character

make_character("my-character");

# %% [markdown]
# The button writes a folder that every trainer can read: pictures, and one file with their captions. If you
# pressed nothing, the next cell keeps somebody for you. Chapters 7, 8 and 10 teach mini whoever is in this
# folder. (In Colab each notebook has a disk of its own. There, first run `save_character` of the next cell in
# such a chapter, with the style, seed and attributes you chose here: `hair_color="pink"`, and so on.)

# %%
from pathlib import Path

from sdlearn.course.character_maker import save_character
from sdlearn.data.folder import read_pictures

folder = Path("my-character")
if not folder.exists():
    save_character(folder, style="lorelei", seed=0)
mine = read_pictures(folder)
print((folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()[0])
show_pictures([p.image for p in mine], [p.attributes["expression"] for p in mine]);

# %% [markdown]
# **Read the line of `metadata.jsonl`.** It says what is on the picture, in two languages, and whose the
# drawing is. Why should a picture carry the second?

# %% [markdown]
# ## The whole course in one sheet
#
# Words alone cannot describe *somebody*: mini would have to guess. So the course shows it pictures. Five of
# this character:

# %%
from sdlearn.course.results import shipped_picture
from sdlearn.data.characters import draw_character

show_pictures([p.image for p in draw_character("personas", seed=2)], size=1.4);

# %% [markdown]
# And what each method of this course made of them. The first row is mini before any training. The others
# trained for 200 steps, and Imagic, the last, anew for each picture: it learns no name, it edits the first
# picture by a prompt. That takes a while, so the pictures are loaded. In brackets stands the chapter that
# takes the method apart. A column is a situation and a seed.

# %%
asked = ["smiling,\non red", "sad,\non purple", "sunglasses,\non pink", "surprised,\non orange"]
rows = {}
for title, name in {"before": "before", "Textual Inversion (7)": "textual-inversion-4-vectors",
                    "DreamBooth (8)": "dreambooth", "with class pictures (8)": "dreambooth-prior",
                    "LoRA (10)": "lora", "every weight (6)": "full", "Imagic (9)": "imagic"}.items():
    rows[title] = [shipped_picture(f"methods/{name}-{column}") for column in range(len(asked))]
show_rows(rows, asked, size=1.5);

# %% [markdown]
# **Look for yourself:** in which row does somebody forget her blue shirt? Which row keeps its background,
# whatever was asked? The pictures in between are much alike, and yet the methods differ: in what they do
# to *other* people, and in what they cost. Chapter 11 puts that in one table. Mini knows her drawing
# style. A character in another one is harder, as you will see now.
#
# ## Teach it yours
#
# Now your own, by one of the five (DreamBooth), in the shortest time that shows anything. **Watch the
# pictures:** one prompt, drawn after each quarter of the steps. Pressing **stop** ends it early, and keeps
# what was learnt until then.

# %% tags=["nbval-ignore-output", "timed"]
from dataclasses import replace

from sdlearn.course.training import learn, steps
from sdlearn.finetune import DreamBooth, FitConfig

kind = "creature" if "creature" in mine[0].text else "person"
named = [replace(p, text=f"a {p.attributes['expression']} sks {kind}, "
                         f"on a {p.attributes['background']} background") for p in mine]
method = DreamBooth(sd, instance_prompt="{text}", with_prior_preservation=False)
learnt = learn(method, named, FitConfig(max_train_steps=steps(100)), name="00-my-character",
               preview=f"a smiling sks {kind}, on a green background")
print(f"{len(learnt.losses)} steps in {learnt.seconds:.0f} seconds")

# %% tags=["cover"]
taught = sd.with_artefact(learnt.path).pipeline()
taught.set_progress_bar_config(disable=True)
asked = [f"a smiling sks {kind}, on a green background", f"a sad sks {kind}, on a yellow background",
         f"a surprised sks {kind}, on a blue background"]
rows = {"your pictures": [p.image.resize((64, 64)) for p in mine[:3]],
        "before": [draw(p, 1) for p in asked], "after": [draw(p, 1, taught) for p in asked]}
show_rows(rows, ["smiling, green", "sad, yellow", "surprised, blue"], size=1.8);

# %% tags=["nbval-ignore-output", "trained"]
from sdlearn.evaluate import subject_fidelity

for name in ("before", "after"):
    print(f"{name}: likeness {subject_fidelity(judges, rows[name], rows['your pictures']):.2f} "
          f"(1 would be the same picture)")
print("backgrounds after:", [seen["background"] for seen in judges.read(rows["after"])])

# %% [markdown]
# **Compare the rows.** "sks" means nothing: it is a name, and the training gave it a meaning. The
# likeness says how much nearer the pictures came. The backgrounds say whether the model still listens. All
# methods of this course are compromises between these two, and chapter 11 puts them in one table.

# %% [markdown]
# ## A laptop, Colab, a GPU
#
# Everything in this course runs on a laptop. The same lines run on large models: `load("sd15")` instead of
# `load("mini")`. What stands between is arithmetic, so let us do it. A model can be built of shapes alone,
# without a number in it. That is enough to count.

# %%
from copy import deepcopy

from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from sdlearn.models.architectures import SD15

def operations(unet):
    c = unet.config
    latents = torch.empty(1, 4, c.sample_size, c.sample_size, device="meta")
    states = torch.empty(1, 77, c.cross_attention_dim, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(latents, torch.tensor(0, device="meta"), states)
    return counter.get_total_flops()

with torch.device("meta"):
    unets = {"mini": deepcopy(sd.unet).to("meta"), "SD 1.5": UNet2DConditionModel(**SD15.unet)}
sizes = {name: sum(p.numel() for p in unet.parameters()) for name, unet in unets.items()}
work = {name: operations(unet) for name, unet in unets.items()}
for name in unets:
    print(f"{name:7} {sizes[name] / 1e6:6.1f} million parameters, "
          f"{work[name] / 1e9:6.1f} billion operations a question")

# %% [markdown]
# **Guess first:** how long would your machine take for one picture by SD 1.5?

# %% tags=["nbval-ignore-output", "timed"]
start = time.perf_counter()
draw(prompt, seed=0)
seconds = time.perf_counter() - start
ratio = work["SD 1.5"] / work["mini"]
print(f"this machine: {torch.get_num_threads()} threads, device {device.type}")
print(f"a picture by mini: {seconds:.2f} s; SD 1.5 has {ratio:.0f} times the work, "
      f"so at most about {seconds * ratio / 60:.0f} minutes")

# %% [markdown]
# "At most", because small networks keep a machine less busy than large ones. Now the memory: a model that
# does not fit does not run at all, however long you wait.
#
# ### Exercise 2: what training keeps in memory
#
# Count the bytes. Every parameter is kept, as 4 bytes. A parameter that is *trained* also needs a gradient,
# and the optimizer AdamW remembers two more numbers for it.
#
# <details><summary>Hint</summary>
#
# Three numbers of 4 bytes each come with every trained parameter, beside the parameter itself. The
# parameters that are not trained are kept too.
#
# </details>

# %%
def training_bytes(parameters, trained):
    """Bytes, for a model of `parameters` numbers, `trained` of them trained by AdamW."""
    ### BEGIN SOLUTION
    return 4 * parameters + 3 * 4 * trained
    ### END SOLUTION

# %%
checks.training_bytes(training_bytes)

# %% tags=["nbval-ignore-output", "machine"]
import psutil

def needed(parameters, trained):
    return 4 * parameters + 12 * trained

ways = {"only draw": 0, "LoRA (1 % trained)": sizes["SD 1.5"] // 100, "every weight": sizes["SD 1.5"]}
machines = {"this machine": psutil.virtual_memory().total, "a GPU of 8 GB": 8e9,
            "Colab's free GPU, 15 GB": 15e9, "a GPU of 24 GB": 24e9}
for way, trained in ways.items():
    size = needed(sizes["SD 1.5"], trained)
    fits = [name for name, memory in machines.items() if size < memory]
    print(f"SD 1.5's U-Net, {way:18} {size / 1e9:5.1f} GB at least, not too small: {', '.join(fits)}")

# %% [markdown]
# "At least", because the text encoder, the VAE and pictures on their way through the network need room as
# well. So a machine that is named here may still be too small. `sdlearn plan` counts all of it.
#
# **What else differs:**
#
# - A laptop keeps your files. Colab and Kaggle throw the folder away when they stop: download what you made.
# - A GPU has its own memory. Move the model there once (`load` did it), not at every step.
# - On a processor, numbers of 16 bits are mostly no faster. On a GPU they are, and they need half the room.
#
# **Change one thing and look again:** SDXL's U-Net has three times as many parameters. Put
# `3 * sizes["SD 1.5"]` in the place of SD 1.5's. What fits? Then halve the 4 bytes of what is not trained.

# %% [markdown]
# ## What you may use pictures for
#
# Someone drew the parts of these characters. Each style has a licence, and the course keeps all of them in
# one list. What is not in the list is not used.

# %%
from collections import Counter

from sdlearn.data.licenses import license_of, manifest

print(Counter(rights["license"] for rights in manifest().values()))
for name in ("lorelei", "adventurer", "mini"):
    rights = license_of(name)
    print(f"{name:10} {rights['license']:10} {rights['author']}: {rights['changes']}")
try:
    license_of("a style from the web")
except ValueError as error:
    print("refused:", error)

# %% [markdown]
# CC0 says: do what you like. CC BY says: do what you like, **and say whose it is**. For that you need four
# things, which each entry has.
#
# ### Exercise 3: whom to name
#
# Write what has to stand beside a picture. Leave the text empty where nothing has to.
#
# <details><summary>Hint</summary>
#
# `rights` is a dictionary with "license", "author", "source" and "changes". Only "CC0-1.0" asks for
# nothing: the answer is then the empty text. The wording is yours.
#
# </details>

# %%
def credit(rights):
    """What has to stand beside a picture; "" where nothing has to."""
    ### BEGIN SOLUTION
    if rights["license"] == "CC0-1.0":
        return ""
    return (f"After {rights['author']} ({rights['source']}), {rights['license']}; "
            f"changes: {rights['changes']}")
    ### END SOLUTION

# %%
checks.credit(credit)

# %% [markdown]
# And pictures of your own? **Use those you made, those whose maker agreed, and those whose licence says
# yes.** A face is its owner's, whoever took the photograph. Chapter 12 comes back to all of this.

# %% [markdown]
# ### Exercise 4: an open question
#
# Make a second character, as unlike the first as you can, and teach it to mini with the cells above. Then
# teach it with one picture only (`mine[:1]`), and with one background for all five:
# `save_character("on-blue", style="lorelei", seed=0, background="blue")`, then `read_pictures("on-blue")`.
# Give each training another `name`, or it replaces the one before. Which of the three models still draws a
# green background when you ask for it? Say what a set of pictures has to show so that a model can tell the
# character from what is around it.

# %% [markdown]
# ## What you have learnt
#
# - Prompt, seed, settings and model decide a picture: who knows all four can draw it again.
# - A few pictures and half a minute teach a model a name, and cost it some of its freedom.
# - Work and memory can be counted before anything is fetched, and a licence can be read before anything is
#   used.
#
# **What would break** if the seed were kept and the model trained a little further? (The noise is the same,
# but every answer about it is not: the picture changes, and a seed alone proves nothing.)
#
# **Papers:** Rombach et al. 2021, arXiv:2112.10752 (Stable Diffusion); Ruiz et al. 2022, arXiv:2208.12242
# (DreamBooth). **Next:** chapter 1, how a model reads.
