# %% [markdown]
# # 2. Diffusion: drawing by taking noise away
#
# **In an hour** you will know how a network that can only say "this is the noise" draws a picture,
# and you will have trained one yourself.
#
# You need: what a neural network is, and what a mean and a variance are.
#
# **Before you run anything, write down:** a picture has ten thousand pixels. Why might it be easier
# to remove a little noise from a picture ten times than to draw the picture in one go?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## Noise in
#
# Take a picture. Make it a little smaller in contrast, and add a little noise. Do it again, a
# thousand times. What is left at the end?

# %%
import torch

from sdlearn.course import checks
from sdlearn.course.figures import show_losses, show_pictures, show_points
from sdlearn.data.folder import to_pixel_values
from sdlearn.data.render import draw

character = {
    "style": "micah", "hair": "bob", "hair_color": "purple", "expression": "smiling",
    "glasses": "round", "clothes_color": "red", "background": "yellow",
}
picture = to_pixel_values(draw(character, 64), 64)  # (3, H, W), from -1 to 1
show_pictures([picture], ["one character"]);

# %% [markdown]
# `betas` says how much noise each of the thousand steps adds: its variance. These are Stable
# Diffusion's own numbers.

# %%
T = 1000
betas = torch.linspace(0.00085**0.5, 0.012**0.5, T) ** 2
print(f"first step: variance {betas[0]:.5f}, last step: {betas[-1]:.5f}")

noisy, seen = picture, [picture]
for t in range(T):
    noisy = (1 - betas[t]).sqrt() * noisy + betas[t].sqrt() * torch.randn_like(noisy)
    if (t + 1) % 125 == 0:
        seen.append(noisy)
show_pictures(seen, ["the picture", *[f"step {t}" for t in range(125, T + 1, 125)]], columns=9);

# %% [markdown]
# At the end there is nothing but noise. **Look again at step 250:** what can you still tell, and what
# not? The outline goes before the colour of the background does. Remember that for later: whoever
# runs this film backwards decides on the large things first.

# %% [markdown]
# ## A thousand steps in one
#
# Adding Gaussian noise twice is adding Gaussian noise once, with more of it. So all the steps up to
# $t$ are one:
#
# $$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon,\qquad
# \bar\alpha_t = \prod_{s\le t}(1-\beta_s)$$
#
# $\bar\alpha_t$ (`alpha_bar`) is the share of the variance that is still picture.

# %%
alpha_bar = torch.cumprod(1 - betas, dim=0)  # (T,)

start_value, steps, walks = 0.8, 400, 20_000
walk = torch.full((walks,), start_value)
for t in range(steps):
    walk = (1 - betas[t]).sqrt() * walk + betas[t].sqrt() * torch.randn(walks)
share = alpha_bar[steps - 1]
print(f"step by step: mean {walk.mean():.3f}, standard deviation {walk.std():.3f}")
print(f"in one step:  mean {start_value * share.sqrt():.3f}, "
      f"standard deviation {(1 - share).sqrt():.3f}")

# %% [markdown]
# The same, up to the luck of the draw. One pixel's thousand steps need one line.

# %%
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2)
left.plot(alpha_bar, label="picture")
left.plot(1 - alpha_bar, label="noise")
left.set(xlabel="timestep", ylabel="share of the variance")
left.legend()
right.semilogy(alpha_bar / (1 - alpha_bar))
right.set(xlabel="timestep", ylabel="signal-to-noise ratio");

# %% [markdown]
# ### Exercise 1: the formula
#
# Write the formula as a function. Every picture of a batch has a noise level of its own.
#
# <details><summary>Hint</summary>
#
# `alpha_bar` has shape `(B,)` and the pictures `(B, C, H, W)`. `alpha_bar.view(-1, 1, 1, 1)` makes the
# shapes fit.
#
# </details>

# %%
def add_noise(latents, noise, alpha_bar):
    """Noisy pictures (B, C, H, W) from pictures, noise of the same shape and alpha_bar (B,)."""
    ### BEGIN SOLUTION
    share = alpha_bar.view(-1, 1, 1, 1)
    return share.sqrt() * latents + (1 - share).sqrt() * noise
    ### END SOLUTION

# %%
checks.add_noise(add_noise)

# %% [markdown]
# ### Exercise 2: half and half
#
# Which is the first timestep at which there is more noise than picture?

# %%
### BEGIN SOLUTION
half_gone = int((alpha_bar < 0.5).nonzero()[0])
### END SOLUTION

# %%
checks.half_gone(half_gone)

# %% [markdown]
# ## The network's one question
#
# From here on the picture is a point. A point in the plane is a "picture" of two numbers, and one can
# look at all of them at once. These points lie in eight heaps on a ring.

# %%
from sdlearn.diffusion.gaussian_mixture import GaussianMixture

angles = torch.arange(8) * torch.pi / 4
world = GaussianMixture(
    means=2 * torch.stack([angles.cos(), angles.sin()], dim=1),  # (8, 2)
    covariances=torch.full((8,), 0.03),
)
points = world.sample(4000, torch.Generator().manual_seed(0))[0].float()  # (N, 2)

times = [0, 200, 400, 600, 999]
clouds = [alpha_bar[t].sqrt() * points + (1 - alpha_bar[t]).sqrt() * torch.randn_like(points)
          for t in times]
show_points(clouds, [f"timestep {t}" for t in times]);

# %% [markdown]
# **Guess:** you are shown one point of the picture on the right, and asked which noise was added to it.
# What is your best answer? And for a point of the second picture?
#
# That is the question a diffusion model is trained on. It is given a noisy point and the timestep, and
# answers with the noise. The loss is the squared error.

# %%
from torch import nn


class Denoiser(nn.Module):
    """Noisy points (B, 2) and timesteps (B,) -> the noise in them (B, 2)."""

    def __init__(self, width=128, waves=16):
        super().__init__()
        self.frequencies = nn.Buffer(torch.logspace(0, 3, waves) / T)
        self.layers = nn.Sequential(
            nn.Linear(2 + 2 * waves, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))

    def forward(self, noisy, timesteps):
        phase = timesteps[:, None] * self.frequencies  # (B, waves)
        return self.layers(torch.cat([noisy, phase.sin(), phase.cos()], dim=1))

# %% [markdown]
# The whole training loop is eight lines. Read it before you run it: which line would you expect to be
# long in Stable Diffusion? None is: only the network and the data are larger there.

# %%
from tqdm.auto import tqdm

denoiser = Denoiser().to(device)
optimizer = torch.optim.AdamW(denoiser.parameters(), lr=2e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3000)
losses = []
for _ in tqdm(range(3000), desc="training"):
    original = points[torch.randint(len(points), (512,))].to(device)
    timesteps = torch.randint(T, (512,), device=device)
    noise = torch.randn_like(original)
    share = alpha_bar.to(device)[timesteps][:, None]  # (B, 1)
    noisy = share.sqrt() * original + (1 - share).sqrt() * noise
    loss = (denoiser(noisy, timesteps) - noise).square().mean()
    optimizer.zero_grad(), loss.backward(), optimizer.step(), schedule.step()
    losses.append(loss.item())

# %% [markdown]
# ## Is it any good?
#
# The loss alone does not say. It cannot reach zero: nobody can know *which* noise it was. But for these
# points the best possible answer has a formula, since we know how they were made.

# %% tags=["nbval-ignore-output", "trained"]
from sdlearn.diffusion import NoiseSchedule
from sdlearn.diffusion.gaussian_mixture import ExactDenoiser

exact = ExactDenoiser(mixture=world, schedule=NoiseSchedule(alphas_cumprod=alpha_bar))
timesteps, noise = torch.randint(T, (4000,)), torch.randn_like(points)
share = alpha_bar[timesteps][:, None]
noisy = share.sqrt() * points + (1 - share).sqrt() * noise
best = (exact(noisy, timesteps).sample - noise).square().mean().item()
with torch.no_grad():
    ours = (denoiser(noisy.to(device), timesteps.to(device)).cpu() - noise).square().mean().item()
print(f"loss of the best possible answer: {best:.3f}; of your network: {ours:.3f}; "
      f"of answering 0 always: {noise.square().mean():.3f}")
show_losses(losses).axes[0].axhline(best, color="black", linestyle="--");

# %% [markdown]
# The dashed line is the floor. Single steps fall below it by luck, but in the mean no network does. **This
# is why the loss of a diffusion model says so little:** most of it is noise that nobody could have guessed.

# %% [markdown]
# ## Noise out
#
# ### Exercise 3: look through the noise
#
# Someone tells you the noise. What was the picture? Solve the formula above for $x_0$.
#
# <details><summary>Hint</summary>
#
# First take the noise off, at the strength it was added with. Then undo the loss of contrast.
#
# </details>

# %%
def predict_original(noisy_latents, model_pred, alpha_bar):
    """The picture, if `model_pred` is the noise in `noisy_latents`; alpha_bar is one number."""
    ### BEGIN SOLUTION
    return (noisy_latents - (1 - alpha_bar).sqrt() * model_pred) / alpha_bar.sqrt()
    ### END SOLUTION

# %%
checks.predict_original(predict_original)

# %% [markdown]
# What does the network believe, when it is shown pure noise? **Guess first:** eight heaps, or something
# else?

# %%
def believed(noisy, t):
    """What the network takes the points for, at one timestep for all."""
    with torch.no_grad():
        pred = denoiser(noisy.to(device), torch.full((len(noisy),), t, device=device)).cpu()
    return (noisy - (1 - alpha_bar[t]).sqrt() * pred) / alpha_bar[t].sqrt(), pred

show_points([believed(cloud, t)[0] for cloud, t in zip(clouds[1:], times[1:])],
            [f"believed at {t}" for t in times[1:]]);

# %% [markdown]
# At timestep 999 it answers with places inside the ring, where no point ever was. That is no mistake:
# the mean of all that is possible is the answer with the smallest squared error. **A picture drawn in
# one go would be this mean, a grey blur.** That was the question at the top.
#
# So do not go all the way. Look through the noise, then put a little less noise back than there was, and
# ask again.
#
# ### Exercise 4: one step
#
# Write this step as a function.
#
# <details><summary>Hint</summary>
#
# Two formulas that you have written already: first `predict_original` at the old level, then
# `add_noise` at the new one, with the noise that the network saw instead of a fresh one.
#
# </details>

# %%
def ddim_step(noisy_latents, model_pred, alpha_bar, alpha_bar_prev):
    """From the noise level alpha_bar to the lower one, alpha_bar_prev."""
    ### BEGIN SOLUTION
    original = (noisy_latents - (1 - alpha_bar).sqrt() * model_pred) / alpha_bar.sqrt()
    return alpha_bar_prev.sqrt() * original + (1 - alpha_bar_prev).sqrt() * model_pred
    ### END SOLUTION

# %%
checks.ddim_step(ddim_step)

# %% [markdown]
# Fifty such steps, from pure noise. This cell has the step written out, so that it runs whether or not
# you have solved the exercise.

# %%
levels = torch.linspace(T - 1, 0, 51).long()
sample = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
film = [sample]
for t, t_prev in zip(levels[:-1], levels[1:]):
    original, pred = believed(sample, int(t))
    sample = alpha_bar[t_prev].sqrt() * original + (1 - alpha_bar[t_prev]).sqrt() * pred
    film.append(sample)
show_points([film[i] for i in (0, 20, 35, 45, 50)],
            [f"after {i} steps" for i in (0, 20, 35, 45, 50)]);

# %% [markdown]
# Noise went in, points on the ring came out, and none of them was in the training data. How right are
# they? A true point lies within three standard deviations of its heap 99 times in 100.

# %% tags=["nbval-ignore-output", "trained"]
def near_a_heap(sample):
    distance = (sample[:, None] - world.means).norm(dim=2)  # (N, 8)
    nearest, heap = distance.min(dim=1)
    counts = torch.bincount(heap[nearest < 3 * 0.03**0.5], minlength=8) / len(sample)
    return (nearest < 3 * 0.03**0.5).float().mean().item(), counts

for name, cloud in {"training data": points, "drawn": sample}.items():
    share_near, counts = near_a_heap(cloud)
    print(f"{name}: {share_near:.1%} near a heap; by heap "
          + " ".join(f"{count:.0%}" for count in counts))

# %% [markdown]
# **Change one thing and look again:** set the 51 levels above to 6, or to 3. Which goes wrong first,
# the place of the points or the number in each heap? Chapter 3 is about that.

# %% [markdown]
# ## The same with pictures
#
# Mini is a diffusion model like yours, with a larger network. It works on small codes of pictures
# ("latents", chapter 4), which changes nothing of the above. Show it one character under more and more
# noise, and look at what it believes.

# %% tags=["cover"]
from sdlearn import load

sd = load("mini", device=device)
prompt = sd.encode_prompt(["a person"])  # (1, L, D)
with torch.no_grad():
    scale = sd.vae.config.scaling_factor
    latents = sd.vae.encode(picture[None].to(device)).latent_dist.mean * scale
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(3)).to(device)
    rows = {"seen": [], "believed": []}
    for t in (50, 250, 450, 650, 850, 999):
        noisy = alpha_bar[t].sqrt() * latents + (1 - alpha_bar[t]).sqrt() * noise
        pred = sd.unet(noisy, t, prompt).sample
        original = (noisy - (1 - alpha_bar[t]).sqrt() * pred) / alpha_bar[t].sqrt()
        for name, shown in (("seen", noisy), ("believed", original)):
            rows[name].append(sd.vae.decode(shown / scale).sample[0])
show_pictures(rows["seen"] + rows["believed"],
              [f"{name} at {t}" for name in rows for t in (50, 250, 450, 650, 850, 999)], columns=6);

# %% [markdown]
# Upper row: what the network sees. Lower row: what it takes it for. From left to right it knows less. What it
# cannot see any more it makes up: first small things, then colours, at the end who it is. When mini draws, it
# goes from right to left. The prompt says only "a person", so nothing else holds it back.

# %% [markdown]
# ### Exercise 5: an open question
#
# Train the denoiser again with the points of **one** heap left out of `points`, and draw 2000 points.
# Does it ever draw in the gap? Then leave out all but 20 points, and look at where the drawn ones lie.
# Write down which of the two you would call *learning* and which *copying*, and how you would tell them
# apart for pictures, where one cannot look at all of them at once. (Chapter 12 comes back to it.)

# %% [markdown]
# ## What you have learnt
#
# - Noise is added by one formula, to any strength in a single step.
# - A network that answers "which noise?" with the smallest squared error answers with a mean, so a
#   picture is drawn by asking it many times, at falling noise.
# - The loss has a floor that is not zero: judge a diffusion model by what it draws.
#
# **What would break** if the noisiest timestep still held a little of the picture? (Look up `alpha_bar`
# at 999: it does. Mini's makers had to weigh the noisiest timesteps up for it.)
#
# **Papers:** Sohl-Dickstein et al. 2015, arXiv:1503.03585 (the idea); Ho et al. 2020, arXiv:2006.11239
# (the loss); Song et al. 2020, arXiv:2010.02502 (the step you wrote).
