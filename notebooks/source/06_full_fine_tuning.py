# %% [markdown]
# # 6. Full fine-tuning: a drawing style for the whole model
#
# **In an hour** you will have taught mini a drawing style that it has never seen, with all of its weights,
# and measured how many pictures that takes. You will know what such a model cost others, and what yours
# would cost you.
#
# You need: chapter 5 (the three parts of Stable Diffusion).
#
# **Before you run anything, write down:** with the same number of training steps, which model will draw
# *new* people better: one that saw 8 pictures very often, or one that saw 96 a few times each?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## A style that mini does not know
#
# Full fine-tuning is nothing new. The training of chapter 2 goes on, with the parts of chapter 5 and with
# other pictures. That is how Waifu Diffusion was made from Stable Diffusion. Our pictures are by one
# artist, each of another person, and each with a caption that is true.

# %%
import torch
from tqdm.auto import tqdm

from sdlearn import load
from sdlearn.course import checks
from sdlearn.course.figures import show_pictures
from sdlearn.data.characters import draw_character
from sdlearn.data.vocabulary import HAIR_COLORS

sd = load("mini", device=device)
COLORS = list(HAIR_COLORS)

def portrait(seed):
    """One person in lorelei style; every second wears glasses."""
    glasses = ("none", "round", "none", "sunglasses")[seed % 4]
    return draw_character("lorelei", seed, number=1, hair_color=COLORS[seed % 8], glasses=glasses)[0]

pictures = [portrait(seed) for seed in tqdm(range(96), desc="drawing")]
held_out = [portrait(seed) for seed in range(1000, 1016)]  # never trained on
print(pictures[0].text)
print(pictures[0].text_ja)
show_pictures([p.image for p in pictures[:12]], columns=12, size=1.1);

# %% [markdown]
# **Look:** thin black lines, white faces, small features. Now ask mini for the same style by its name.

# %%
PROMPTS = ["a smiling person with blue hair, on a yellow background, lorelei style",
           "a sad person with red hair and sunglasses, on a green background, lorelei style",
           "a laughing person with green hair, on a pink background, lorelei style",
           "a smiling person with purple hair, on a blue background, micah style"]

before = sd.draw(PROMPTS)
show_pictures(before, ["lorelei?", "lorelei?", "lorelei?", "micah"], size=1.8);

# %% [markdown]
# Colours and backgrounds follow the prompt; the style is whatever mini makes of a word it never saw.
#
# ## By hand
#
# One step: noise on latents, a prediction, the squared error. One thing is new: a weight for each timestep,
# **min-SNR**. SNR is chapter 2's signal-to-noise ratio: how much picture there is for each part of noise.
# Where there is little noise, it is hard to see which noise it was. The errors are large there, and the
# picture gains little from them. So the weight is 5 / SNR where the SNR is above 5, and 1 elsewhere.

# %%
from sdlearn.data.folder import to_pixel_values
from sdlearn.diffusion import NoiseSchedule
from sdlearn.finetune.denoising import losses_at

schedule = NoiseSchedule.from_scheduler(sd.noise_scheduler).to(device)
pixel_values = torch.stack([to_pixel_values(p.image, sd.image_size) for p in pictures[:4]]).to(device)
with torch.no_grad():
    latents = sd.vae.encode(pixel_values).latent_dist.mean * sd.vae.config.scaling_factor
states = sd.encode_prompt([p.text for p in pictures[:4]])  # (4, L, D)
noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1)).to(device)
timesteps = torch.tensor([10, 300, 600, 950]).to(device)

alpha_bar = sd.noise_scheduler.alphas_cumprod.to(device)[timesteps]  # (B,)
snr = alpha_bar / (1 - alpha_bar)
weights = (5 / snr).clamp(max=1)
a = alpha_bar.view(-1, 1, 1, 1)
with torch.no_grad():
    model_pred = sd.unet(a.sqrt() * latents + (1 - a).sqrt() * noise, timesteps, states).sample
by_hand = (model_pred - noise).square().mean(dim=(1, 2, 3)) * weights

# %%
with torch.no_grad():
    theirs = losses_at(sd.unet, latents, states, noise, timesteps, schedule=schedule,
                       weights=schedule.loss_weights(timesteps, 5.0))
for t, s, w, loss in zip(timesteps.tolist(), snr.tolist(), weights.tolist(), by_hand.tolist()):
    print(f"timestep {t:4}: signal to noise {s:8.3f}, error {loss / w:.4f}, weight {w:.3f}, "
          f"weighted {loss:.4f}")
torch.testing.assert_close(by_hand, theirs)

# %% [markdown]
# The package computes the same. At the first of these timesteps the picture is nearly clean, and its
# weight is small. Compare the errors before and after the weight.
#
# ## What trainers add
#
# **EMA.** Weights jitter from step to step. A running average of them, the exponential moving average, is
# calmer, and is what is saved in the end (`use_ema=True` in a `FitConfig`. Our short runs do without: so few
# steps have little to average).
#
# ### Exercise 1: the running average
#
# <details><summary>Hint</summary>
#
# With `decay` 0.99, the average keeps 99 % of itself and takes 1 % of the new weights.
#
# </details>

# %%
def ema_update(average, weights, decay):
    """The new running average, a tensor, from the old one and the weights after a step."""
    ### BEGIN SOLUTION
    return decay * average + (1 - decay) * weights
    ### END SOLUTION

# %%
checks.ema_update(ema_update)

# %% [markdown]
# **Caption dropout.** One caption in ten is left empty, or the model forgets what "no prompt" looks like,
# and guidance (chapter 5) has nothing to go away from.
#
# **Buckets.** Pictures are not all square. To cut them to squares cuts off heads. So pictures of
# similar shape are put together. Each shape has about as many pixels as the square.

# %%
import matplotlib.pyplot as plt

from sdlearn.data.buckets import bucket_sizes

sizes = bucket_sizes(512, 64)  # for Stable Diffusion 1.5
figure, axis = plt.subplots(figsize=(5, 4))
axis.scatter([w for h, w in sizes], [h for h, w in sizes], label=f"{len(sizes)} buckets")
edge = torch.linspace(256, 1024, 50)
axis.plot(edge, 512 * 512 / edge, "--", label="as many pixels as 512 x 512")
axis.set(xlabel="width (pixels)", ylabel="height (pixels)")
axis.legend();

# %% [markdown]
# None lies above the line: no batch needs more memory than the square one.
#
# ### Exercise 2: what a bucket cuts off
#
# A picture is made as large as needed to *fill* a bucket, and what stands out is cut away. Which share of
# the picture is lost?
#
# <details><summary>Hint</summary>
#
# Only the shapes count, width over height of each. If they are the same, nothing is lost; if one is twice
# the other, half is lost, whichever is the wider.
#
# </details>

# %%
def cut_away(height, width, bucket_height, bucket_width):
    """The share of the picture that is cut off, from 0 to 1."""
    ### BEGIN SOLUTION
    ratio = (width / height) / (bucket_width / bucket_height)
    return 1 - min(ratio, 1 / ratio)
    ### END SOLUTION

# %%
checks.cut_away(cut_away)

# %% [markdown]
# **Tags.** Pictures from picture boards have no sentences, but tags. The package takes them apart. It
# shuffles them, as they have no order. It leaves some out (`dropout`), so that a prompt need not name
# everything. The first one stays (`keep_tags`): it says what the picture is of.

# %%
from sdlearn.data.tags import clean_tags, vary_tags

tags = clean_tags("1girl, long_hair, red_eyes, hat_\\(clothing\\), ^_^, smile")
generator = torch.Generator().manual_seed(0)
for _ in range(3):
    print(", ".join(vary_tags(tags, generator, keep_tags=1, dropout=0.2)))

# %% [markdown]
# ## Eight pictures, or ninety-six
#
# Two models, the same number of steps, the same settings. One sees 8 pictures again and again, the other
# 96. Each is measured on eight of its own pictures, and on 16 people that neither trains on. **Predict:**
# draw the curves. (`FitConfig` says how to train, and `fit` does one optimizer step at a time.)

# %%
from sdlearn.course.training import steps
from sdlearn.finetune import FitConfig, FullFineTuning, fit
from sdlearn.finetune.denoising import validation_loss

config = FitConfig(max_train_steps=steps(80), train_batch_size=8, lr_scheduler="cosine",
                   lr_warmup_steps=5, snr_gamma=5.0, validation_steps=20)

def train(number):
    """Train on the first `number` pictures: the method, the loss on eight of them and on held-out ones."""
    method, own, held = FullFineTuning(sd), {}, {}
    for step in tqdm(fit(method, pictures[:number], config, validation_pictures=held_out),
                     total=config.max_train_steps, desc=f"{number} pictures", unit="step"):
        if step.validation_loss is not None:
            own[step.step] = validation_loss(method, pictures[:8], config)
            held[step.step] = step.validation_loss
    return method, own, held

runs = {number: train(number) for number in (8, 96)}

# %% tags=["nbval-ignore-output", "trained"]
figure, axis = plt.subplots()
for color, (number, (_, own, held)) in zip(("C0", "C1"), runs.items()):
    axis.plot(list(held), list(held.values()), "o-", color=color, label=f"{number} pictures: held-out people")
    axis.plot(list(own), list(own.values()), "s:", color=color, label=f"{number} pictures: its own")
    print(f"{number:3} pictures: own loss {list(own.values())[-1]:.4f}, "
          f"on held-out people {list(held.values())[-1]:.4f}")
axis.set(xlabel="optimizer step", ylabel="loss, no weights", yscale="log")
axis.legend(fontsize=10);

# %% [markdown]
# Compare the gap between the two lines of one colour. A model that does well on its own pictures and worse
# on others has learnt *those pictures*; one whose lines lie together has learnt *the style*.
#
# Both losses are measured at the same timesteps with the same noise, and without weights. Otherwise they
# would jump about more than training changes them, and could not be compared.

# %% tags=["cover"]
after = {number: method.sd.draw(PROMPTS) for number, (method, _, _) in runs.items()}
show_pictures([*before, *after[8], *after[96]],
              ["lorelei?", "lorelei?", "lorelei?", "micah"] * 3, columns=4, size=1.7);

# %% [markdown]
# First row before, second after 8 pictures, third after 96. The white skin has come, and the faces are
# half-way between two styles: these are few steps for a whole style, and `sdlearn train full` takes more.
# **Look for three things:** do hair, glasses and background still follow the prompt? What has the model
# with 8 pictures lost that the other has not? And the fourth one, in a style that was not in the training
# pictures: is it still as it was? Here the whole model moved, and nothing was there to hold the rest in
# place: that is what chapter 8 does about it.
#
# **Change one thing and look again:** set `learning_rate=2e-3` in the `FitConfig`, ten times the rate that
# suits mini. How do you see it in the curve, and how in the pictures?

# %% [markdown]
# Move the seam: left of it is the first picture before training, right of it after 96 pictures. Which lines
# stay in their place?

# %%
from sdlearn.course.widgets import before_and_after

before_and_after(before[0], after[96][0]);

# %% [markdown]
# ## What it cost others, and would cost you
#
# Waifu Diffusion 1.3 went on from Stable Diffusion 1.4 with 680 000 pairs of picture and text, ten times
# over. It is told to have taken eight A40 GPUs, about ten days and about 3 100 dollars. We could not check
# these three numbers: take them as an example.

# %%
PAIRS, EPOCHS, GPUS, DAYS, DOLLARS = 680_000, 10, 8, 10, 3_100
hours = GPUS * DAYS * 24
rate = PAIRS * EPOCHS / (hours * 3600)
print(f"{hours} GPU hours at {DOLLARS / hours:.2f} dollars; {rate:.2f} pictures a second and GPU")

# %% [markdown]
# ### Exercise 3: a calculator for your own
#
# What will a training run cost? `pictures_a_second` is what **one** GPU manages.
#
# <details><summary>Hint</summary>
#
# Every epoch sees every picture. More GPUs are done sooner, but each costs its own money. Dollars are for
# hours, and a rate is for seconds.
#
# </details>

# %%
def training_cost(pictures, epochs, pictures_a_second, gpus, dollars_an_hour):
    """Dollars for a run; `dollars_an_hour` is the price of one GPU."""
    ### BEGIN SOLUTION
    hours = pictures * epochs / (pictures_a_second * gpus) / 3600
    return hours * gpus * dollars_an_hour
    ### END SOLUTION

# %%
checks.training_cost(training_cost)

# %% [markdown]
# ### Exercise 4: an open question
#
# Find how many pictures are enough: train on 4, 16, 32 and 64 of them, with the same steps, and plot the
# last held-out loss against the number. Where does the curve become flat? Then double the steps for the
# best one. Does the answer change?
#
# ## On a GPU
#
# The same on Stable Diffusion 1.5: `load("sd15")` instead of `load("mini")`, and a learning rate of 5e-6. In
# a terminal, for a folder of any size: `sdlearn train full my-pictures --model sd15 --output my-style`. And
# `sdlearn plan full --model sd15 --pictures 5000` says beforehand what that will need.
#
# **When is it the right choice?** With hundreds of pictures or more, well captioned, and a style or a world
# to learn rather than one face; with the rights to all of them (chapter 12); and when a file as large as
# the model is no burden. Otherwise read on: for the next chapters five pictures are enough.

# %% [markdown]
# ## What you have learnt
#
# - Full fine-tuning is training continued: the same loss, all weights, other pictures.
# - The loss on pictures that were not trained on tells learning a style from learning pictures by heart.
# - EMA, caption dropout, buckets and min-SNR weights are each there for one thing: jitter, guidance,
#   shapes, and timesteps that count too much.
#
# **What would break** if captions were never left out? (Guidance asks the model without a prompt, too.)
#
# **Papers:** Rombach et al. 2021, arXiv:2112.10752; Hang et al. 2023, arXiv:2303.09556 (min-SNR); Ho and
# Salimans 2022, arXiv:2207.12598 (caption dropout); the release notes of Waifu Diffusion 1.3.
