# %% [markdown] slideshow={"slide_type": "slide"}
# # Make the model yours
#
# How Stable Diffusion learns **your** character<br>on a laptop, without a network

# %% slideshow={"slide_type": "skip"}
from sdlearn.course import start

device = start()

# %% [markdown] slideshow={"slide_type": "notes"}
# **20 seconds; 10 in the short talk.**
#
# Before the talk: run all cells once, and leave the kernel running. Nothing after that needs a network.
#
# "Hello. In ten minutes we will teach an image model somebody it has never seen. It runs here, on this
# laptop."

# %% slideshow={"slide_type": "skip"}
from contextlib import closing
from importlib.metadata import metadata

import numpy as np
import torch
from IPython.display import Markdown
from tqdm.auto import tqdm

from sdlearn import load
from sdlearn.course.html_figures import before_after_slider, picture_row, static_slider
from sdlearn.course.results import shipped_artefact, shipped_picture
from sdlearn.course.training import steps
from sdlearn.data.characters import draw_character
from sdlearn.finetune import DreamBooth, FitConfig, LoRA, fit

sd = load("mini", device=device)

def draw(model, prompt, seed=0, **settings):
    return model.draw(prompt, seeds=seed, desc=None, **settings)[0]

def row(pictures):
    return np.hstack([np.asarray(picture) for picture in pictures])

def train(method, pictures, seconds):
    """Train for so many seconds at most; how many steps it did, and how long they took."""
    # twice the rate that suits mini: there is no time for small steps
    config, taken = FitConfig(max_train_steps=steps(60), learning_rate=6e-4), 0.0
    with closing(fit(method, pictures, config)) as training:
        for step in tqdm(training, total=config.max_train_steps):
            taken += step.seconds
            if taken > seconds:
                break
    return step.step, taken

def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A general model draws anybody

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
somebody = [p.image for p in draw_character("lorelei", seed=0, number=3)]
asked = "a smiling person with black hair, on a {} background"
anybody = [draw(sd, asked.format(color), seed=i) for i, color in enumerate(("green", "blue", "yellow"))]
picture_row([row(anybody), row(somebody)], ["the model's", "mine"], height=190)

# %% [markdown] slideshow={"slide_type": "fragment"}
# A creator needs **one** character, in **one** style. So: fine-tune.

# %% [markdown] slideshow={"slide_type": "notes"}
# **35 seconds; 20 in the short talk.**
#
# "On the left: nearly the same prompt three times. Good pictures, of anybody. On the right: a character
# that somebody made. No prompt will give me her. A model of my own style serves me better than a general
# one."
#
# Mini is a small, real Stable Diffusion that was trained for this course, on pictures by artists with clear
# licences.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Stable Diffusion is three networks

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
parts = [("text encoder", sd.text_encoder, "the prompt, as numbers"),
         ("U-Net", sd.unet, "noise becomes a code"), ("VAE", sd.vae, "the code becomes pixels")]
rows = [f"| **{name}** | {what} | {count(part) / 1e6:.1f} M |" for name, part, what in parts]
Markdown("\n".join(["| | makes | numbers |", "|---|---|---|", *rows]))

# %% [markdown] slideshow={"slide_type": "notes"}
# **45 seconds; 30 in the short talk.**
#
# "The text encoder turns the prompt into numbers. The U-Net takes noise away, and listens to them. What it
# makes is a small code, a latent. The VAE turns it into pixels. Each of them can be trained alone: remember
# that, all methods today differ in *which numbers they move*."
#
# The last column counts mini's parameters, in millions.

# %% [markdown] slideshow={"slide_type": "slide"} tags=["ten-minutes"]
# ## Training: noise in

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
from sdlearn.data.folder import to_pixel_values

clean = to_pixel_values(somebody[0], sd.image_size)  # (3, H, W), from -1 to 1
noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))

def noisy(timestep):
    return sd.noise_scheduler.add_noise(clean[None], noise[None], torch.tensor([timestep]))[0]

static_slider(noisy, "timestep", [0, 25, 50, 100, 200, 300, 450, 600, 800, 999], start=2)

# %% [markdown] slideshow={"slide_type": "fragment"}
# The network learns one thing: **which noise was added?**

# %% [markdown] slideshow={"slide_type": "notes"}
# **30 seconds.**
#
# Drag the slider slowly to the right.
#
# "We add noise to a picture, at a thousand strengths. That makes the training data. The network guesses the
# noise. At the right end hardly anything is left of the picture."

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Drawing: noise out

# %% slideshow={"slide_type": "-"}
prompt = "a laughing person with purple hair, on a yellow background"

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
side = sd.image_size // sd.vae_reduction
seen = [torch.randn((1, 4, side, side), generator=torch.Generator().manual_seed(3)).to(device)]

def keep(pipeline, step, timestep, tensors):
    seen.append(tensors["latents"])
    return tensors

draw(sd, prompt, seed=3, callback_on_step_end=keep)
with torch.no_grad():
    film = sd.vae.decode(torch.cat(seen) / sd.vae.config.scaling_factor).sample
static_slider(lambda step: film[step], "step", range(len(film)), start=8)

# %% [markdown] slideshow={"slide_type": "notes"}
# **40 seconds; 30 in the short talk.**
#
# Live: take a prompt from the audience, and run both cells (a second). Offline: use what is there.
#
# "Start with nothing but noise. Ask: which noise do you see? Take a little away, twenty times. First comes
# the background, then the person, then the face. A guess, repeated, becomes a picture."

# %% [markdown] slideshow={"slide_type": "slide"} tags=["ten-minutes"]
# ## Why it runs at home

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
from sdlearn.models.architectures import SD15

side, channels = SD15.unet["sample_size"], sd.unet.config.in_channels  # mini's codes have as many
pixels, latents = 3 * (8 * side) ** 2, channels * side ** 2  # its VAE makes a side 8 times smaller
Markdown(f"A picture: **{pixels:,}** numbers\n\nIts code: **{latents:,}** numbers\n\n"
         f"The U-Net works on **{pixels / latents:.0f} times less**.")

# %% [markdown] slideshow={"slide_type": "notes"}
# **25 seconds.**
#
# "These are Stable Diffusion 1.5's figures, at 512 pixels. Diffusion in the small code instead of in pixels
# is what brought this to ordinary graphics cards, and so to people who draw."

# %% [markdown] slideshow={"slide_type": "slide"}
# ## General fine-tuning: every weight

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
def shipped(name, number=3):
    return [shipped_picture(f"talk/{name}-{i}") for i in range(number)]

picture_row([row(shipped("style-before")), row(shipped("style-after"))],
            ["before", "after 96 pictures of a new style"], height=180)

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
GPUS, DAYS, DOLLARS = 8, 10, 3100
Markdown(f"Waifu Diffusion 1.3: **680 000** pictures, {GPUS} GPUs, {DAYS} days, about **{DOLLARS} dollars** "
         f"({DOLLARS / (GPUS * DAYS * 24):.2f} an hour and GPU)")

# %% [markdown] slideshow={"slide_type": "notes"}
# **45 seconds; 20 in the short talk.**
#
# "The first way: go on training, everything. Here mini learns a drawing style. Waifu Diffusion did it with
# Stable Diffusion 1.4 and 680 000 pictures from a picture board. With plenty of good data nothing is more
# accurate. Who of us has that?"
#
# Source: the release notes of Waifu Diffusion 1.3 for the pictures. That it took 8 A40 GPUs, about ten days and
# about 3 100 dollars is told of it; we could not check that. Mini's pictures are loaded: `notebooks/shipped_pictures.py` trains them.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Textual Inversion: one new word

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
def with_word(name, token):
    model = sd.with_artefact(shipped_artefact(name))
    return [draw(model, f"a picture of a smiling {token}, on a {color} background", seed=i)
            for i, color in enumerate(("green", "blue", "purple"))]

friend = [p.image for p in draw_character("open-peeps", seed=3, number=3)]
picture_row([row(friend), row(with_word("talk-word", "<friend>"))], ["shown to it", "the new word"], height=180)

# %% [markdown] slideshow={"slide_type": "fragment"} tags=["ten-minutes"]
# It finds what it **could draw already**. Others stay strangers:

# %% slideshow={"slide_type": "-"} tags=["hide-input", "ten-minutes"]
strange = with_word("talk-word-for-a-stranger", "<stranger>")
picture_row([row(somebody), row(strange)], height=150)

# %% [markdown] slideshow={"slide_type": "notes"}
# **45 seconds; 25 in the short talk.**
#
# "Three to five pictures. The model stays frozen. A few new rows in the table of words are trained: find the
# word whose meaning is this person. See the hair and the glasses. It hardly overfits, and the file is tiny."
#
# (Ten minutes only.) "But it only finds what the model can express. Below: a style that it never saw. It
# finds somebody that it knows, and not her."

# %% [markdown] slideshow={"slide_type": "slide"}
# ## DreamBooth: teach the U-Net

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
picture_row([row(somebody), row(shipped("dreambooth-subject"))],
            ["shown to it", "“sks person”"], height=190)

# %% [markdown] slideshow={"slide_type": "fragment"}
# A rare word, and its class. In the middle I asked for **sunglasses**.

# %% [markdown] slideshow={"slide_type": "notes"}
# **35 seconds; 25 in the short talk.**
#
# "Also three to five pictures, but now the U-Net itself is trained, and the text encoder. 'sks' means
# nothing: it is there to be filled. 'Person' brings what the model knows of people. This is her, on new
# backgrounds, and more accurate than a word alone. But I asked for sunglasses in the middle. They did not
# come: few pictures overfit."

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Your turn: who shall it be?

# %% slideshow={"slide_type": "-"}
STYLE, SEED = "adventurer", 7
WISHES = {"hair_color": "pink", "glasses": "round"}
hero = draw_character(STYLE, SEED, **WISHES)
picture_row([p.image for p in hero], height=150)

# %% slideshow={"slide_type": "-"} tags=["nbval-ignore-output", "timed"]
caption = "a {expression} sks person, on a {background} background"
method = DreamBooth(sd, instance_prompt=caption, with_prior_preservation=False,
                    train_text_encoder=True)
done, seconds = train(method, hero, seconds=17)

# %% [markdown] slideshow={"slide_type": "notes"}
# **35 seconds; 20 in the short talk.**
#
# Ask: "Which hair? Glasses?" Change `SEED` and `WISHES` (or `STYLE`: lorelei, adventurer, big-smile). Run
# both cells. **Go on to the next slide at once:** the model trains while you speak, for 17 seconds at most.
#
# If nobody answers: run them as they are. If the laptop fails: the deck in `outputs/slides` has this
# character, trained.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Meanwhile: what it forgets

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
def square(name):
    people = shipped(f"dreambooth-class-{name}", 4)
    return np.vstack([row(people[:2]), row(people[2:])])

picture_row([square("before"), square("without-class"), square("with-class")],
            ["before", "only her pictures", "class pictures too"], height=340)

# %% [markdown] slideshow={"slide_type": "-"}
# The prompt is “a picture of **a person**”. Nobody asked for her.

# %% [markdown] slideshow={"slide_type": "notes"}
# **40 seconds; 25 in the short talk.**
#
# "All of these are just 'a person'. Left: before. Middle: after training on her pictures only. People turn
# into her. The paper calls it language drift. Right: pictures of the class are trained along; the model
# drew them itself, before. They say: this must stay. That is prior preservation, and it helps against
# overfitting too."

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Here you are

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
situations = [f"a {face} sks person, on a {color} background"
              for face, color in (("smiling", "green"), ("sad", "yellow"), ("surprised", "blue"))]
before = [draw(sd, text, seed) for seed, text in enumerate(situations)]
after = [draw(method.sd, text, seed) for seed, text in enumerate(situations)]
before_after_slider(before, after, height=280)

# %% slideshow={"slide_type": "-"} tags=["hide-input", "nbval-ignore-output", "timed"]
Markdown(f"**{done}** steps in **{seconds:.0f}** seconds")

# %% [markdown] slideshow={"slide_type": "notes"}
# **35 seconds; 20 in the short talk.**
#
# Run the cell (some seconds). Drag the slider from 0 to 100.
#
# "Seventeen seconds of training, at most. It is rough, and you can tell who it is. Green, yellow, blue: the
# prompt still counts."

# %% [markdown] slideshow={"slide_type": "slide"} tags=["ten-minutes"]
# ## LoRA: the same lesson, smaller

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
lora = LoRA(sd, rank=16)
small = sum(p.numel() for m in lora.trained().values() for p in m.parameters() if p.requires_grad)
Markdown(f"Two thin matrices beside each big one: **{count(sd.unet) / small:.0f} times** fewer numbers")

# %% [markdown] slideshow={"slide_type": "notes"}
# **15 seconds.**
#
# "One line on LoRA: leave the weights alone, learn a small correction beside them. This is how most people
# share characters today."

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Imagic: edit one picture

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
etas = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
static_slider(lambda eta: shipped_picture(f"talk/imagic-eta-{eta:g}"), "eta", etas, start=2, height=330)

# %% [markdown] slideshow={"slide_type": "-"}
# from the picture (0) to “short **pink hair**” (1)

# %% [markdown] slideshow={"slide_type": "notes"}
# **45 seconds; 25 in the short talk.**
#
# Drag the slider from 0 to 1, then back to where it is still him and the hair is pink.
#
# "One picture, one prompt. Stage A: train the text's embedding until the frozen model draws something like
# the picture. Stage B: train the U-Net there, until it is the picture. Stage C: mix the two embeddings. Eta
# says how far to go, and can be chosen by a rule to some degree."

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Which one, when?

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
width = sd.text_encoder.get_input_embeddings().embedding_dim
taught = sd.with_artefact(shipped_artefact("talk-word"))
word = (len(taught.tokenizer) - len(sd.tokenizer)) * width
whole, both = count(sd.unet) / 1e6, count(sd.unet, sd.text_encoder) / 1e6
Markdown(f"""
| | pictures | trains | good for |
|---|---|---|---|
| **General** | thousands | {whole:.1f} M | a style; accurate, costly |
| **Textual Inversion** | 3 to 5 | {word} | what it nearly knows |
| **DreamBooth** | 3 to 5 | {both:.1f} M | somebody new |
| **LoRA** | 3 to 5 | {small / 1e6:.1f} M | the same, to share |
| **Imagic** | 1 | {whole:.1f} M | one edit |
""")

# %% [markdown] slideshow={"slide_type": "notes"}
# **40 seconds; 20 in the short talk.**
#
# "Top to bottom: accurate and costly; a word, hard to overfit; the model itself, more accurate; the same in a
# small file; one picture, for editing. The third column counts what trains in mini."

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Whose pictures?

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
from sdlearn.data.licenses import license_of
from sdlearn.data.styles import BASE_STYLES

artists = sorted({license_of(style)["author"] for style in [*BASE_STYLES, "lorelei", STYLE]})
Markdown("Behind this talk: " + ", ".join(f"**{name}**" for name in artists))

# %% [markdown] slideshow={"slide_type": "fragment"}
# Train on what you made, or what you may use. The technique is ahead of the rules.

# %% [markdown] slideshow={"slide_type": "notes"}
# **30 seconds; 15 in the short talk.**
#
# "Everybody whose drawings are in this model has a name, and a licence that allows it. For most models nobody
# can make this list. In the wrong hands, what you just saw harms the people who draw. We want tools that
# protect their rights, and bring value back to them."
#
# Short talk, add: "And between 'could be used' and 'is used' lies a large gap. Crossing it is up to us."

# %% [markdown] slideshow={"slide_type": "slide"} tags=["ten-minutes"]
# ## “Could be used” is not “is used”

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
panels = 12
chances = [f"right {p:.0%} of the time: all {panels} right **{100 * p ** panels:.2g} %**"
           for p in (0.5, 0.9, 0.99)]
Markdown(f"A comic page has {panels} panels.\n\n" + "\n\n".join(chances))

# %% [markdown] slideshow={"slide_type": "notes"}
# **25 seconds.**
#
# "One good picture is a demo. A page needs twelve, of the same person. Nine of ten right is not nearly
# enough. Quality, control, rights: how to cross this gap is the question I leave you with."

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Try it

# %% slideshow={"slide_type": "-"} tags=["hide-input"]
(address,) = [url.split(", ")[1] for url in metadata("sdlearn").get_all("Project-URL")]
Markdown(f"**{address.removeprefix('https://')}**\n\n`make demo` teaches it a character, in minutes\n\n"
         "A course of notebooks: on a laptop, in Colab, or offline")

# %% [markdown] slideshow={"slide_type": "notes"}
# **15 seconds; 15 in the short talk.**
#
# "All of it is open. You have to run it to get the feel. Thank you."
