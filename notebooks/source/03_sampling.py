# %% [markdown]
# # 3. Sampling: how many questions does a picture take?
#
# **In an hour** you will have drawn the same picture with six samplers, measured what each step of
# theirs buys, and steered a picture by guidance, seed and negative prompt.
#
# You need: chapter 2 (the step from one noise level to the next).
#
# **Before you run anything, write down:** a sampler asks the network once a step. Twice as many steps
# take twice as long. Do you expect twice as good a picture? Always?

# %% [markdown]
# ## The same network, other questions
#
# All of these start at the same noise, and ask the same network. They differ in what they assume between
# two questions.

# %%
import torch

from sdlearn import load
from sdlearn.course import checks
from sdlearn.course.figures import show_pictures
from sdlearn.models.samplers import make_sampler

sd = load("mini", device=device)
prompt = "a laughing person with green hair and sunglasses, wearing orange clothes, on a white background"


def draw(sampler="dpm++", steps=20, guidance_scale=5.0, seed=4, prompt=prompt, negative_prompt="",
         latents=None):
    pipeline = sd.pipeline(make_sampler(sampler, sd.noise_scheduler))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(prompt, negative_prompt=negative_prompt, num_inference_steps=steps,
                    height=sd.image_size, width=sd.image_size, guidance_scale=guidance_scale,
                    latents=latents, generator=torch.Generator().manual_seed(seed)).images[0]

# %%
from tqdm.auto import tqdm

samplers, counts = ["ddpm", "ddim", "quasi-taylor-2", "dpm++", "unipc"], [3, 6, 12, 25]
grid = {(name, steps): draw(name, steps)
        for name in tqdm(samplers, desc="drawing") for steps in counts}
show_pictures(list(grid.values()), [f"{name}, {steps} steps" for name, steps in grid], columns=4);

# %% [markdown]
# **Look along a row, then down the last column.** Which samplers agree at 25 steps, and which one draws
# somebody else? DDPM adds fresh noise at every step, so its path is its own; the others follow one curve,
# and with enough steps they all end in the same place.

# %% [markdown]
# ## Measured, where the answer is known
#
# For a picture nobody knows the true curve. For points like those of chapter 2 it can be computed: their
# denoiser has a formula. So the error of a sampler is a number. It is taken at timestep 199, as the last
# stretch, where all noise has to go, is a matter of its own.

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
# A straight line in this figure is a law: its slope is the **order** of the sampler. At order 1 twice as
# many steps halve the error, at order 2 they quarter it.
#
# ### Exercise 1: the order
#
# <details><summary>Hint</summary>
#
# If the error is $c / n^p$ for $n$ steps, the ratio of the two errors is $2^p$.
#
# </details>

# %%
def order(error, error_at_twice_the_steps):
    """The order p, from the errors at n and at 2 n steps."""
    ### BEGIN SOLUTION
    import math
    return math.log2(error / error_at_twice_the_steps)
    ### END SOLUTION

# %% tags=["raises-exception"]
checks.order(order)

# %%
import math

for name, values in errors.items():
    print(f"{name:15} order " + ", ".join(
        f"{math.log2(a / b):5.2f} from {n} to {2 * n}"
        for n, a, b in zip(steps_tried, values, values[1:])))

# %% [markdown]
# **Compare with your guess at the top.** Which samplers gain most from twice the steps? DPM-Solver++ and
# UniPC remember their earlier answers; the others forget them. And what a step buys here is no promise
# for three steps, where no line is straight yet.

# %% [markdown]
# ### Exercise 2: what it costs
#
# How many times is the U-Net run on one picture's latents for 20 steps of DPM-Solver++ with a
# `guidance_scale` of 5?

# %%
### BEGIN SOLUTION
unet_runs = 40
### END SOLUTION

# %% tags=["raises-exception"]
checks.unet_runs(unet_runs)

# %% [markdown]
# ## Steering: guidance and seed
#
# Move the sliders; below them is what they show, for those who read this on paper.

# %%
from sdlearn.course.widgets import explore

def steered(seed, guidance_scale):
    return draw(seed=seed, guidance_scale=guidance_scale, steps=12)

explore(steered, {"seed": list(range(6)), "guidance_scale": [1.0, 2.0, 5.0, 9.0, 15.0]});

# %% [markdown]
# At 1 there is no guidance: the picture is varied, and half of the prompt is missing. At 15 every colour is
# burnt in. **Guess:** where between the two is the most of the prompt seen? A judge that never drew
# anything can count it: mini's attribute reader.

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
# ## Away from something
#
# A **negative prompt** takes the place of the empty one in guidance. So the picture is pushed away from
# what it names.

# %%
negatives = ["", "sunglasses", "green hair", "white background"]
show_pictures([draw(negative_prompt=negative, guidance_scale=6.0) for negative in negatives],
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

# %% tags=["raises-exception"]
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
rows = [draw(prompt=plain, latents=way(s).to(device), steps=12) for way in ways.values() for s in shares]
show_pictures(rows, [f"{name}, {s:.0%}" for name in ways for s in shares], columns=6)
middle = {name: way(0.5).std().item() for name, way in ways.items()}
print("standard deviation half-way: " + ", ".join(f"{k} {v:.2f}" for k, v in middle.items()));

# %% [markdown]
# Half-way along the straight line the noise is too weak, and the network, which was promised noise of
# standard deviation 1, draws something duller. On the sphere one person turns into the other.

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
# - Guidance trades variety for obedience, and has an optimum that can be measured.
# - The noise is the picture's other half: the same noise and prompt give the same picture.
#
# **What would break** if a sampler were given a guidance scale of 0? (Look at the formula in chapter 5,
# then try it.)
#
# **Papers:** Song et al. 2020, arXiv:2010.02502 (DDIM); Lu et al. 2022, arXiv:2211.01095 (DPM-Solver++);
# Tachibana et al. 2021, arXiv:2112.13339 (quasi-Taylor); Ho and Salimans 2022, arXiv:2207.12598 (guidance).
