# %% [markdown]
# # 3. Sampling: how many questions does a picture take?
#
# **In an hour** you will have drawn the same picture with five samplers, measured what each step of
# theirs buys, and steered a picture by guidance, seed and negative prompt.
#
# You need: chapter 2 (the step from one noise level to the next).
#
# **Before you run anything, write down:** a sampler asks the network once a step. Twice as many steps
# take twice as long. Do you expect twice as good a picture? Always?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## The same network, other questions
#
# All samplers start at the same noise, and ask the same network. They differ in what they assume between
# two questions. **DDIM** is the step that you wrote in chapter 2. **DDPM** also puts fresh noise in at
# every step. **Quasi-Taylor** computes how the answer would change during the step. **DPM-Solver++**
# ("dpm++") and **UniPC** also use their earlier answers.

# %%
import torch

from sdlearn import load
from sdlearn.course import checks
from sdlearn.course.figures import show_pictures, show_rows
from sdlearn.models.samplers import make_sampler

sd = load("mini", device=device)
prompt = "a laughing person with green hair and sunglasses, wearing orange clothes, on a white background"


def draw(sampler="dpm++", steps=20, guidance_scale=5.0, seed=4, prompt=prompt, negative_prompt="",
         latents=None):
    return sd.draw(prompt, seeds=seed, scheduler=make_sampler(sampler, sd.noise_scheduler), desc=None,
                   negative_prompt=negative_prompt, num_inference_steps=steps,
                   guidance_scale=guidance_scale, latents=latents)[0]

# %% tags=["cover"]
from tqdm.auto import tqdm

samplers, counts = ["ddpm", "ddim", "quasi-taylor-2", "dpm++", "unipc"], [3, 6, 12, 25]
grid = {name: [draw(name, steps) for steps in counts] for name in tqdm(samplers, desc="drawing")}
show_rows(grid, [f"{steps} steps" for steps in counts]);

# %% [markdown]
# **Look along a row, then down the last column.** Which samplers agree at 25 steps, and which one draws
# somebody else? DDPM adds fresh noise at every step, so its path is its own; the others follow one curve,
# and with enough steps they all end in the same place.

# %% [markdown]
# ## Measured, where the answer is known
#
# Mini's answers have errors of their own. For points like those of chapter 2 the best answer has a formula,
# so only the sampler errs. As the truth we take UniPC with 500 steps: its error is far smaller than what we
# measure. We compare at timestep 199, because samplers treat the last stretch in different ways.

# %%
from sdlearn.diffusion import NoiseSchedule
from sdlearn.diffusion.gaussian_mixture import ExactDenoiser, GaussianMixture
from sdlearn.diffusion.samplers import trajectory

world = GaussianMixture(means=torch.tensor([[1.5, 0.5], [-1.0, 1.0], [0.0, -1.5]]),
                        covariances=torch.tensor([0.2, 0.1, 0.3]))
exact = ExactDenoiser(mixture=world, schedule=NoiseSchedule.from_scheduler(sd.noise_scheduler))
noise = torch.randn(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def at_199(sampler, steps):
    scheduler = make_sampler(sampler, sd.noise_scheduler)
    scheduler = type(scheduler).from_config(scheduler.config, timestep_spacing="trailing")
    return dict(trajectory(exact, scheduler, noise, steps))[199]


truth = at_199("unipc", 500)
steps_tried = [5, 10, 20, 40]
errors = {name: [(at_199(name, n) - truth).norm(dim=1).mean().item() for n in steps_tried]
          for name in tqdm(["ddim", "quasi-taylor-1", "quasi-taylor-2", "dpm++", "unipc"])}

# %%
import matplotlib.pyplot as plt

figure, axis = plt.subplots(figsize=(7, 4))
for name, values in errors.items():
    axis.loglog(steps_tried, values, "o-", label=name)
axis.set(xlabel="steps", ylabel="mean distance from the truth", xticks=steps_tried,
         xticklabels=steps_tried)
axis.minorticks_off()
axis.legend();

# %% [markdown]
# Both axes are logarithmic. A straight line here is a law: how steeply it falls is the **order** of the
# sampler. At order 1 twice as many steps halve the error, at order 2 they quarter it.
#
# ### Exercise 1: the order
#
# Write the function that gives the order from two errors: with some number of steps, and with twice as many.
#
# <details><summary>Hint</summary>
#
# If the error is $c / n^p$ for $n$ steps, the ratio of the two errors is $2^p$.
#
# </details>

# %%
import math

def order(error, error_at_twice_the_steps):
    """The order p, from the errors at n and at 2 n steps."""
    ### BEGIN SOLUTION
    return math.log2(error / error_at_twice_the_steps)
    ### END SOLUTION

# %%
checks.order(order)

# %%
for name, values in errors.items():
    print(f"{name:15} order " + ", ".join(
        f"{math.log2(a / b):5.2f} from {n} to {2 * n}"
        for n, a, b in zip(steps_tried, values, values[1:])))

# %% [markdown]
# **Compare with your guess at the top.** Which samplers gain most from twice the steps? DPM-Solver++ and
# UniPC remember their earlier answers; the others forget them. The 2 of quasi-taylor-2 is a promise for data
# of one single point; on three heaps it is nearly DDIM. And an order says nothing about few steps: on mini
# with ten of them DDIM comes nearer to its finished picture than DPM-Solver++ does to its own (the book's
# page of claims, claim 12).

# %% [markdown]
# ## Guidance, in a word
#
# **Guidance** asks the network (the *U-Net*, chapter 4) twice in each step: once with the prompt, and once
# with an empty one. Then it goes on from the second answer in the direction of the first. `guidance_scale`
# says how far. At 1 it stops at the answer with the prompt, and the second question is not needed. Chapter
# 5 has the formula.
#
# ### Exercise 2: what it costs
#
# How many times is the U-Net run on one picture's latents for 20 steps of DPM-Solver++ with a
# `guidance_scale` of 5?

# %%
### BEGIN SOLUTION
unet_runs = 40
### END SOLUTION

# %%
checks.unet_runs(unet_runs)

# %% [markdown]
# ## Steering: guidance and seed
#
# Move the sliders; below them is what they show, for those who read this on paper.

# %%
from sdlearn.course.widgets import explore

def steered(seed, guidance_scale):
    return draw(seed=seed, guidance_scale=guidance_scale, steps=12)

explore(steered, {"seed": [0, 1], "guidance_scale": [1.0, 5.0, 15.0]});

# %% [markdown]
# Compare the pictures of one seed. At 1 there is no guidance. At 15 colours and lines break. **Guess:** at
# which scale is the most of the prompt seen? Mini's captions named nearly everything, so it may need little
# guidance. A judge that never drew anything can count it: mini's attribute reader.

# %%
from sdlearn.evaluate.judges import Judges
from sdlearn.models.registry import shipped_folder

judges = Judges.load(shipped_folder("mini"))
asked = {"expression": "laughing", "hair_color": "green", "glasses": "sunglasses",
         "clothes_color": "orange", "background": "white"}
scales, seeds, seen = [1.0, 2.0, 4.0, 7.0, 12.0], range(8), []
for scale in tqdm(scales, desc="drawing"):
    pictures = [draw(seed=seed, guidance_scale=scale, steps=10) for seed in seeds]
    read = judges.read(pictures)
    seen.append(sum(row[name] == value for row in read for name, value in asked.items())
                / (len(pictures) * len(asked)))
figure, axis = plt.subplots(figsize=(7, 3.2))
axis.plot(scales, [100 * share for share in seen], "o-")
axis.set(xlabel="guidance scale", ylabel="asked and seen, %", ylim=(0, 100))
best = scales[seen.index(max(seen))]
print(f"most is seen at guidance scale {best:g}: {max(seen):.0%}; without guidance {seen[0]:.0%}");

# %% [markdown]
# Eight pictures with five attributes are 40 answers a scale. A difference of one or two of them is luck.

# %% [markdown]
# ## Away from something
#
# A **negative prompt** takes the place of the empty prompt in guidance. So the picture is pushed away from
# what it names. That shows where the prompt leaves things open: this one says nothing of hair and background.

# %%
negatives = ["", "a green background", "purple hair", "toon-head style"]
away = [draw(prompt="a smiling person", seed=2, negative_prompt=negative, guidance_scale=6.0)
        for negative in tqdm(negatives, desc="drawing")]
show_pictures(away,
              [f"not: {negative or 'nothing'}" for negative in negatives], columns=4, size=2);

# %% [markdown]
# ## Between two seeds
#
# The noise decides everything that the prompt does not. What lies between two noises?
#
# ### Exercise 3: the way between
#
# The mean of two noises is no noise: it is too small. Walk along the sphere instead ("slerp").
#
# <details><summary>Hint</summary>
#
# With the angle $\theta$ between the two (as flat vectors), the point at share $s$ is
# $\frac{\sin((1-s)\theta)}{\sin\theta}a + \frac{\sin(s\theta)}{\sin\theta}b$.
#
# </details>

# %%
def slerp(one, other, share):
    """The point at a share (0 to 1) of the way from one tensor to another, along the sphere."""
    ### BEGIN SOLUTION
    cosine = (one * other).sum() / (one.norm() * other.norm())
    angle = torch.acos(cosine.clamp(-1, 1))
    return (torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * other) / angle.sin()
    ### END SOLUTION

# %%
checks.slerp(slerp)

# %%
def on_the_sphere(one, other, share):  # the exercise's answer, in case you have not solved it yet
    angle = torch.acos((one * other).sum() / (one.norm() * other.norm()))
    return (torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * other) / angle.sin()

side = sd.image_size // sd.vae_reduction
one, other = (torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(s)) for s in (4, 9))
shares = [0, 0.2, 0.4, 0.6, 0.8, 1]
ways = {"straight": lambda s: (1 - s) * one + s * other, "sphere": lambda s: on_the_sphere(one, other, s)}
plain = "a person on a blue background"
rows = {name: [draw(prompt=plain, latents=way(s).to(device), steps=12) for s in shares]
        for name, way in tqdm(ways.items(), desc="drawing")}
show_rows(rows, [f"{s:.0%}" for s in shares])
middle = {name: way(0.5).std().item() for name, way in ways.items()}
print("standard deviation half-way: " + ", ".join(f"{k} {v:.2f}" for k, v in middle.items()));

# %% [markdown]
# Half-way along the straight line the noise is weaker than the network was promised: it was trained on
# noise of standard deviation 1. Compare the pictures in the middle: which row goes more evenly from one
# person to the other?

# %% [markdown]
# ### Exercise 4: an open question
#
# You present mini on a slow laptop and may spend eight runs of the U-Net on a picture. Four steps with
# guidance, or eight without? Which sampler? Draw at least six pictures for each of your candidates, count
# with the reader as above, and defend your choice in two sentences.

# %% [markdown]
# ## What you have learnt
#
# - Samplers differ in what they assume between two questions; the order says what a step buys.
# - Guidance pushes a picture towards its prompt. Too much breaks it, and where that begins can be measured.
# - The noise is the picture's other half: the same noise and prompt give the same picture.
#
# **What would break** if you asked for a guidance scale of 0? (By the formula of chapter 5 the prompt would
# not count. Try it: diffusers switches guidance off at 1 and below, raises no error, and draws the picture
# of 1.)
#
# **Papers:** Ho et al. 2020, arXiv:2006.11239 (DDPM); Song et al. 2020, arXiv:2010.02502 (DDIM); Lu et al.
# 2022, arXiv:2211.01095 (DPM-Solver++); Zhao et al. 2023, arXiv:2302.04867 (UniPC);
# Tachibana et al. 2021, arXiv:2112.13339 (quasi-Taylor); Ho and Salimans 2022, arXiv:2207.12598 (guidance).
