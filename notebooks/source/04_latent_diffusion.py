# %% [markdown]
# # 4. Latent diffusion: drawing in a smaller place
#
# **In an hour** you will know what an autoencoder keeps of a picture and what it loses, and you will have
# trained the same kind of network in pixels and in latents, for the same time, and seen which draws.
#
# You need: chapter 2 (a network that answers "which noise?").
#
# **Before you run anything, write down:** a picture of 64 x 64 pixels holds 12 288 numbers. How many of
# them could you throw away, so that a friend could still draw the character again?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## There and back
#
# An autoencoder is two networks. The **encoder** makes a small code of a picture, the **decoder** a
# picture of a code. The code of Stable Diffusion's autoencoder (its VAE) is called **latents**. Sixty
# characters that mini has never seen go there and back.

# %%
import torch

from sdlearn import load
from sdlearn.course import checks
from sdlearn.course.figures import show_pictures
from sdlearn.data.folder import to_pixel_values
from sdlearn.data.render import characters, draw

sd = load("mini", device=device)
vae = sd.vae

def drawn(chosen):
    """Characters -> pixel_values (B, 3, 64, 64), from -1 to 1."""
    pictures = [to_pixel_values(draw(who, 64, seed=index), 64) for index, who in chosen]
    return torch.stack(pictures).to(device)

chosen = characters(60, seed=1, held_out=True)
pixel_values = drawn(chosen)

# %% [markdown]
# **Guess** before you look: what is lost first, the colours or the outlines?

# %%
@torch.no_grad()
def encode(pixel_values):
    """Pictures (B, 3, H, W) -> latents (B, 4, h, w), not scaled yet."""
    return torch.cat([vae.encode(some).latent_dist.mean for some in pixel_values.split(20)])

@torch.no_grad()
def decode(latents):
    return torch.cat([vae.decode(some).sample for some in latents.split(20)]).clamp(-1, 1)

latents = encode(pixel_values)
back = decode(latents)
difference = (back - pixel_values).abs() * 4 - 1  # four times as strong, so that one sees it
print(f"{pixel_values[0].numel()} numbers became {latents[0].numel()}: "
      f"{pixel_values[0].numel() / latents[0].numel():.0f} times fewer")
show_pictures([*pixel_values[:7], *back[:7], *difference[:7]], columns=7);

# %% [markdown]
# Upper row: the pictures. Middle: there and back. Lower: what differs (black is no difference). Large
# areas come back almost as they were. What differs most are thin lines: outlines, eyes, mouths.

# %% [markdown]
# ## How much is lost: PSNR
#
# The usual measure is the **peak signal-to-noise ratio**, in decibels (dB). It compares the largest
# possible difference of two pixels, squared, with the mean squared error:
#
# $$\text{PSNR} = 10\,\log_{10}\frac{\text{range}^2}{\text{mean squared error}}$$
#
# ### Exercise 1: decibels
#
# Write PSNR as a function. Cut what came back to -1 and 1 first: a decoder's answer may lie a little beyond.
#
# <details><summary>Hint</summary>
#
# How wide is the range from -1 to 1? `clamp` cuts.
#
# </details>

# %%
def psnr(back, pixel_values):
    """Decibels, one number, of one picture (3, H, W) in [-1, 1] that came back."""
    ### BEGIN SOLUTION
    mse = (back.clamp(-1, 1) - pixel_values).square().mean()
    return 10 * torch.log10(4 / mse)
    ### END SOLUTION

# %%
checks.psnr(psnr)

# %% [markdown]
# By hand in one line, beside the package's. Which drawing style is the hardest?

# %%
from sdlearn.evaluate import metrics

by_hand = 10 * torch.log10(4 / (back - pixel_values).square().flatten(1).mean(1))  # (B,)
torch.testing.assert_close(by_hand, metrics.psnr(back, pixel_values))
print(f"all {len(by_hand)} pictures: {by_hand.mean():.1f} dB, from {by_hand.min():.1f} "
      f"to {by_hand.max():.1f}")
for style in sorted({who["style"] for _, who in chosen}):
    ours = torch.tensor([who["style"] == style for _, who in chosen], device=device)
    print(f"{style:12} {by_hand[ours].mean():5.1f} dB ({int(ours.sum())} pictures)")

# %% [markdown]
# Do edges really lose the most? Count it: a place is an edge where its neighbours differ much.

# %%
right = pixel_values.diff(dim=3).abs().mean(1)[:, :-1]  # (B, H-1, W-1)
below = pixel_values.diff(dim=2).abs().mean(1)[:, :, :-1]
contrast = right + below
error = (back - pixel_values).square().mean(1)[:, :-1, :-1]
edges = contrast > contrast.quantile(0.9)
print(f"the tenth of the places with most contrast holds {error[edges].sum() / error.sum():.0%} "
      "of the squared error")

# %% [markdown]
# The error is not spread evenly: it sits where the picture changes from one pixel to the next.

# %% [markdown]
# ## Which details are lost
#
# Stripes tell how fine a detail may be. **Guess:** one place of the latents stands for 4 x 4 pixels. Which
# of these will come back: stripes 1, 2, 4 or 8 pixels wide?

# %%
widths = (1, 2, 4, 8)
across = torch.arange(64, device=device)
stripes = torch.stack([((across // w) % 2 * 2.0 - 1).expand(3, 64, 64) for w in widths])
stripes_back = decode(encode(stripes))
decibels = metrics.psnr(stripes_back, stripes)
show_pictures([*stripes, *stripes_back], [*[f"{w} pixels wide" for w in widths],
              *[f"back: {d:.1f} dB" for d in decibels]], columns=4);

# %% [markdown]
# The wide ones come back, a little stained. Of the finest nothing is left, not even their grey. Two things
# are seen at once. What is finer than a place is hard to keep. And the VAE learnt from characters: what
# was never in its training pictures it does not keep well either. That is why
# small faces and letters come out badly in Stable Diffusion: **what the decoder cannot draw, no U-Net and
# no prompt can.** **Change one thing and look again:** make the stripes red and blue.

# %% [markdown]
# ## What a latent looks like
#
# Latents have no colours. But each of the four channels is a small picture of its own.

# %%
def grey(channel, size=64):
    """One channel (h, w) as a picture: its smallest value black, its largest white."""
    shown = (channel - channel.min()) / (channel.max() - channel.min()) * 2 - 1
    return torch.nn.functional.interpolate(shown.expand(1, 3, *shown.shape), size=size)[0]

shown = [0, 1, 4]
show_pictures([picture for i in shown for picture in (pixel_values[i], *map(grey, latents[i]))],
              ["picture", *[f"channel {c}" for c in range(4)]], columns=5);

# %% [markdown]
# The character is still in its place, at a quarter of the size. **This is why a U-Net works here as well
# as in pixels:** latents are still a picture, neighbours still belong together. What does a channel mean?
# Add something to one of them, everywhere, and decode. Move the sliders.

# %%
from sdlearn.course.widgets import explore

def changed(channel, added):
    with_more = latents[1:2].clone()
    with_more[:, channel] += added
    return decode(with_more)[0]

explore(changed, {"channel": [0, 1, 2, 3], "added": [-4.0, 0.0, 4.0]}, sheet=12);

# %% [markdown]
# Each channel changes something else about light and colour, and none of them "the hair" or "the mouth".
# Nobody told the channels what to mean: the encoder and the decoder made it up between them.

# %% [markdown]
# ## The letters K and L in `AutoencoderKL`
#
# The encoder does not answer with one code, but with a mean and a standard deviation for every value.
# In training the code is drawn from there. Two losses pull: the picture must come back, and the codes must
# not be far from a standard normal distribution. How far they are is measured by the **Kullback-Leibler
# divergence**:
#
# $$\text{KL} = \tfrac12\left(\mu^2 + \sigma^2 - 1 - \ln\sigma^2\right)$$
#
# ### Exercise 2: how far from normal
#
# Write the formula as a function.
#
# <details><summary>Hint</summary>
#
# $\ln\sigma^2$ is twice the logarithm of the standard deviation. At mean 0 and standard deviation 1 the
# result must be 0.
#
# </details>

# %%
def kl(mean, std):
    """The divergence of each value, of the same shape as mean and std."""
    ### BEGIN SOLUTION
    return 0.5 * (mean**2 + std**2 - 1 - (std**2).log())
    ### END SOLUTION

# %%
checks.kl(kl)

# %% [markdown]
# Which of the two losses won? If it was the second, the standard deviations are near 1.

# %%
with torch.no_grad():
    dist = vae.encode(pixel_values[:20]).latent_dist
    from_a_draw = vae.decode(dist.sample(torch.Generator(device).manual_seed(0))).sample
each = 0.5 * (dist.mean**2 + dist.std**2 - 1 - (dist.std**2).log())
with_a_draw = metrics.psnr(from_a_draw, pixel_values[:20])
torch.testing.assert_close(each.sum((1, 2, 3)), dist.kl(), rtol=1e-4, atol=0.1)
print(f"standard deviation of one code: {dist.std.mean():.3f}; of all codes: {dist.mean.std():.2f}")
print(f"KL of one value: {each.mean():.2f}; there and back with the mean: "
      f"{by_hand[:20].mean():.2f} dB, with a draw: {with_a_draw.mean():.2f} dB")
with torch.no_grad():
    noise = torch.randn(7, *dist.mean.shape[1:], generator=torch.Generator().manual_seed(0)).to(device)
    show_pictures(list(vae.decode(noise).sample.cpu()), columns=7);

# %% [markdown]
# The first won, by far. The KL loss has a tiny weight, in mini as in Stable Diffusion: it keeps the codes
# from running away and makes the decoder stand a little noise, no more. **So this VAE cannot draw from
# pure noise:** the row of pictures is what its decoder makes of it. For that there is the diffusion model.

# %% [markdown]
# ## Half-way between two pictures
#
# **Guess:** half of one picture and half of another give a double exposure. And half of one code and half
# of another?

# %%
one, other = 1, 4
shares = [0.0, 0.25, 0.5, 0.75, 1.0]
in_pixels = [(1 - s) * pixel_values[one] + s * pixel_values[other] for s in shares]
in_latents = decode(torch.stack([(1 - s) * latents[one] + s * latents[other] for s in shares]))
apart = (in_latents[2] - in_pixels[2]).abs().mean()
whole = (pixel_values[one] - pixel_values[other]).abs().mean()
print(f"the two in the middle differ by {apart / whole:.0%} of what the two characters differ by")
show_pictures([*in_pixels, *in_latents], [f"pixels, {s:.0%}" for s in shares]
              + [f"latents, {s:.0%}" for s in shares], columns=5);

# %% [markdown]
# A double exposure as well, in other colours. These latents are a **smaller picture**,
# not a list of meanings: half-way between two codes is no third character. (In chapter 3 the half-way
# *noise* gave one: there the U-Net made something of it.)

# %% [markdown]
# ## The scaling factor
#
# The noise of chapter 2 has a standard deviation of 1. What it is added to should have the same, or the
# schedule means something else.
#
# ### Exercise 3: the factor
#
# <details><summary>Hint</summary>
#
# Divided by its standard deviation, anything has a standard deviation of one. All pictures, channels and
# places together.
#
# </details>

# %%
def scaling_factor(latents):
    """One number; latents (B, 4, h, w) times it have a standard deviation of 1."""
    ### BEGIN SOLUTION
    return 1 / latents.std()
    ### END SOLUTION

# %%
checks.scaling_factor(scaling_factor)

# %% [markdown]
# By hand, beside the number that was written into the model when it was made, from 512 other pictures:

# %%
from sdlearn.models.architectures import ARCHITECTURES

scale = vae.config.scaling_factor
print(f"these {len(latents)} pictures: {1 / latents.std():.4f}; vae.config.scaling_factor: {scale}")
for name, architecture in ARCHITECTURES.items():
    print(f"{name}: {architecture.vae['scaling_factor']}")
print("channel by channel, scaled:", [f"{s:.2f}" for s in (latents * scale).std((0, 2, 3)).tolist()])

# %% [markdown]
# Nearly the same, from other pictures. It is one number for four channels that differ, and it is no part
# of the theory: just a measurement, which every program must use in the same way.
#
# **Guess:** what happens to a picture under noise if the factor is forgotten?

# %%
alpha_bar = sd.noise_scheduler.alphas_cumprod.to(device)
noise = torch.randn(latents[1:2].shape, generator=torch.Generator().manual_seed(0)).to(device)
rows, times = [], (250, 500, 750, 999)
for name, factor in {"scaled": scale, "forgotten": 1.0}.items():
    for t in times:
        noisy = alpha_bar[t].sqrt() * latents[1:2] * factor + (1 - alpha_bar[t]).sqrt() * noise
        rows.append(decode(noisy / factor)[0])
    snr = alpha_bar[500] / (1 - alpha_bar[500]) * (latents * factor).var()
    print(f"{name}: {snr:.2f} times as much picture as noise at timestep 500")
show_pictures(rows, [f"{name}, {t}" for name in ("scaled", "forgotten") for t in times], columns=4);

# %% [markdown]
# Forgotten, the same timestep holds more picture. The U-Net is told "500" and sees what it knows from a
# smaller one. Let the real U-Net draw, and forget the factor at one end: before the decoder.

# %%
from diffusers import DDIMScheduler

pipeline = sd.pipeline(DDIMScheduler.from_config(sd.noise_scheduler.config))
pipeline.set_progress_bar_config(disable=True)
code = pipeline("a smiling person with red hair, on a yellow background", num_inference_steps=15,
                guidance_scale=5.0, output_type="latent",
                generator=torch.Generator().manual_seed(3)).images
show_pictures([decode(code / scale)[0], decode(code)[0], decode(code * scale)[0]],
              ["divided", "forgotten", "multiplied"], size=2);

# %% [markdown]
# The mistake raises no error. Forgotten, it makes stained, washed-out pictures; the wrong way round, hardly
# anything is left.

# %% [markdown]
# ## Pixels against latents
#
# Now the question of the chapter. Two networks of one kind learn the same pictures for the same time, one
# in 64 x 64 pixels, one in 16 x 16 latents. Each learns from 128 pictures in one style.

# %%
critters = [(i, who) for i, who in characters(1200) if who["style"] == "critters"][:128]
learnt_from = drawn(critters)
data = {"pixels": learnt_from, "latents": encode(learnt_from) * scale}
for name, values in data.items():
    print(f"{name}: {tuple(values.shape)}, standard deviation {values.std():.2f}")
show_pictures(learnt_from[:8]);

# %% [markdown]
# The network is chapter 2's denoiser, with convolutions in place of its layers. A block looks at a small
# neighbourhood, and is told the timestep.

# %%
from torch import nn


class Block(nn.Module):
    """Features (B, C, h, w) and timesteps (B,) -> features of the same shape."""

    def __init__(self, width, waves=16):
        super().__init__()
        self.frequencies = nn.Buffer(torch.logspace(0, 3, waves) / 1000)
        self.time = nn.Linear(2 * waves, width)
        self.first, self.second = (nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(2))

    def forward(self, x, timesteps):
        phase = timesteps[:, None] * self.frequencies  # (B, waves)
        told = self.time(torch.cat([phase.sin(), phase.cos()], dim=1))[:, :, None, None]
        return x + self.second(self.first(x) + told)

# %% [markdown]
# Blocks at several sizes make a **U-Net**: down to the smallest, up again, and beside it what was seen on
# the way down.

# %%
class SmallUNet(nn.Module):
    """Noisy pictures or latents (B, C, h, w) and timesteps (B,) -> the noise in them."""

    def __init__(self, channels, widths):
        super().__init__()
        pairs = list(zip(widths[:-1], widths[1:]))
        self.enter = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Block(w) for w in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(Block(w) for w in widths[:-1])
        self.leave = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, x, timesteps):
        x, seen = self.enter(x), []
        for block, shrink in zip(self.down, self.shrink):
            seen.append(block(x, timesteps))
            x = shrink(seen[-1])
        x = self.down[-1](x, timesteps)
        for block, grow, beside in zip(self.up[::-1], self.grow[::-1], seen[::-1]):
            x = block(grow(x) + beside, timesteps)
        return self.leave(x)

# %% [markdown]
# The network for pixels is the one for latents with two sizes more at its outside, 64 and 32. What is
# inside, from 16 x 16 down, is the same. The two outer sizes have to learn what the VAE knows already.

# %%
torch.manual_seed(0)
networks = {"pixels": SmallUNet(3, (16, 32, 48, 96, 128)), "latents": SmallUNet(4, (48, 96, 128))}
for name, network in networks.items():
    network.to(device)
    nn.init.zeros_(network.leave.weight)
    print(f"{name}: {sum(p.numel() for p in network.parameters()) / 1e6:.2f} million parameters")

# %% [markdown]
# The loop is chapter 2's. It stops when the time is over, and the learning rate falls until then.

# %%
import time

from tqdm.auto import tqdm

from sdlearn.course.training import steps

# on a processor only this thread's own time counts, whatever else the machine does
clock = time.thread_time if device.type == "cpu" else time.perf_counter

def train(network, originals, seconds, batch=8, learning_rate=2e-3):
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    begun, losses, bar = clock(), [], tqdm(total=100, desc="training", unit="%")
    for _ in range(steps(100_000)):
        past = (clock() - begun) / seconds
        bar.update(min(int(100 * past), 100) - bar.n)
        if past >= 1:
            break
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - 0.95 * past)
        original = originals[torch.randint(len(originals), (batch,))]
        timesteps = torch.randint(1000, (batch,), device=device)
        noise, share = torch.randn_like(original), alpha_bar[timesteps].view(-1, 1, 1, 1)
        pred = network(share.sqrt() * original + (1 - share).sqrt() * noise, timesteps)
        loss = (pred - noise).square().mean()
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        losses.append(loss.item())
    bar.close()
    return losses, clock() - begun

# %% [markdown]
# **Guess:** a picture in pixels has 12 times as many numbers as in latents. How many times as many steps
# will be made in latents?

# %% tags=["nbval-ignore-output", "timed"]
seconds = 16
losses_in_pixels, time_in_pixels = train(networks["pixels"], data["pixels"], seconds)
pixels_a_second = len(losses_in_pixels) / time_in_pixels
print(f"in pixels: {len(losses_in_pixels)} steps, {pixels_a_second:.1f} a second")

# %% tags=["nbval-ignore-output", "timed"]
losses_in_latents, time_in_latents = train(networks["latents"], data["latents"], seconds)
latents_a_second = len(losses_in_latents) / time_in_latents
print(f"in latents: {len(losses_in_latents)} steps, {latents_a_second:.1f} a second, "
      f"{latents_a_second / pixels_a_second:.1f} times as many")

# %% [markdown]
# Not twelve times: we made the two outer sizes of the network for pixels narrow, so that it gets a fair
# chance. (On a GPU, networks as small as these mostly wait, so there the ratio says little.) And what have
# they learnt? Both draw, from noise, in 30 steps.

# %% tags=["cover", "nbval-ignore-output", "timed"]
@torch.no_grad()
def draw_with(network, shape, number=30):
    scheduler = DDIMScheduler.from_config(sd.noise_scheduler.config)
    scheduler.set_timesteps(number)
    sample = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    for t in scheduler.timesteps:
        pred = network(sample, t.expand(len(sample)).to(device))
        sample = scheduler.step(pred, t, sample).prev_sample
    return sample

made = {}
for name, network in networks.items():
    begun = clock()
    made[name] = draw_with(network, (7, *data[name].shape[1:]))
    if name == "latents":
        made[name] = decode(made[name] / scale)
    print(f"{name}: 7 pictures in {clock() - begun:.1f} s{', with the decoder' * (name == 'latents')}")
show_pictures([*learnt_from[:7], *made["pixels"], *made["latents"]], columns=7);

# %% [markdown]
# Upper row: learnt from. Middle: drawn in pixels. Lower: drawn in latents. Look for three things in each
# row: one background, the outline of a body, a face in its place.
# **Write down** which row has which, before you read on.

# %% [markdown]
# ## What one can say after so short a time, and what not
#
# - One can say: at equal time the network in latents makes more steps, and each picture is cheaper.
# - One can say: what it draws has clean lines and no grain from the start. That is the decoder's work, which
#   it had learnt **before**. That time is not on our clock. The next cell puts it there.
# - One cannot say that pixels are worse. Both networks are at their beginning. The first good diffusion
#   models drew in pixels, with far more time, and had no VAE to lose details in.
# - One must not compare the losses. They are errors in different spaces, with different floors. And seven
#   pictures are too few for a score.

# %%
import json

from sdlearn.models.registry import shipped_folder

stages = json.loads((shipped_folder("mini") / "recipe.json").read_text(encoding="utf-8"))["stages"]
minutes = stages["vae"]["minutes"] + stages["decoder"]["minutes"]
print(f"mini's VAE was trained for {minutes:.0f} minutes, {minutes * 60 / seconds:.0f} times "
      f"as long as each of the two networks")

# %% [markdown]
# It is paid once, and everybody who trains in its latents has it for nothing. Stable Diffusion's VAE has
# served thousands of models.

# %% [markdown]
# ## What it costs
#
# The cost of a convolution grows with the number of places. **Attention** is worse: every place looks at
# every other, so it costs the places *squared*.
#
# ### Exercise 4: pairs
#
# <details><summary>Hint</summary>
#
# Latents are smaller by `factor` on each side. First count the places, then square.
#
# </details>

# %%
def attention_pairs(height, width, factor):
    """How many pairs of places attention compares, in the latents of a picture of this size."""
    ### BEGIN SOLUTION
    places = (height // factor) * (width // factor)
    return places**2
    ### END SOLUTION

# %%
checks.attention_pairs(attention_pairs)

# %% [markdown]
# The table, for mini and for the two large ones. The last two columns say how many GiB one table of all pairs
# (a *map*) would take, for one head of attention, with 2 bytes a number.

# %%
large = {name: (a.vae["sample_size"], len(a.vae["block_out_channels"]), a.vae["latent_channels"])
         for name, a in ARCHITECTURES.items()}
shapes = {"mini": (sd.image_size, len(vae.config.block_out_channels), vae.config.latent_channels)}
print(f"{'':6}{'pixel values':>14}{'latent values':>15}{'fewer':>7}"
      f"{'pairs in pixels':>17}{'in latents':>12}{'fewer':>7}{'a map: GiB in pixels':>22}{'in latents':>12}")
for name, (side, levels, channels) in {**shapes, **large}.items():
    factor = 2 ** (levels - 1)
    values, small = 3 * side**2, channels * (side // factor) ** 2
    pairs, few = side**4, (side // factor) ** 4
    print(f"{name:6}{values:14,}{small:15,}{values / small:6.0f}x{pairs:17.1e}{few:12.1e}"
          f"{pairs / few:6.0f}x{pairs * 2 / 2**30:22,.3f}{few * 2 / 2**30:12.3f}")

# %% [markdown]
# **This is why Stable Diffusion runs on an ordinary GPU.** In the pixels of Stable Diffusion 1.5, one map
# of one head would not fit on any single GPU that a person owns. In latents it is a small part of one.
#
# To be fair: nobody would attend to all pixels. Models that draw in pixels attend only at their small
# inner sizes, and first draw a small picture that other models enlarge. And modern attention never keeps the
# whole map. But the operations remain, and with latents one model is enough.
#
# The paper tried factors from 1 to 32. With 1 (pixels) learning was too slow, with 32 too much was lost.
# 4 and 8 were best. Mini has 4, Stable Diffusion 8.

# %% [markdown]
# ### Exercise 5: an open question
#
# Is the VAE needed, or just *any* smaller place? `torch.nn.functional.pixel_unshuffle(learnt_from, 4)` packs
# 4 x 4 pixels into one place: 48 channels of 16 x 16, and nothing is lost
# (`pixel_shuffle(..., 4)` is the way back). Train `SmallUNet(48, (48, 96, 128))` on it for the same seconds.
# How many steps a second does it make, and what does it draw? Write down what the VAE does besides making
# the picture smaller. Then try the cheapest VAE of all: pictures shrunk to 16 x 16, and enlarged again.

# %% [markdown]
# ## What you have learnt
#
# - A VAE makes a picture smaller and loses the finest lines; it sets the limit of what can be drawn at all.
# - Latents are small pictures whose spread was measured once: the scaling factor, which goes on after the
#   encoder and off before the decoder.
# - In latents a step costs less, attention far less, and the fine edges need not be learnt again.
#
# **What would break** if you fine-tuned the VAE's encoder a little, and left the U-Net as it is? (Whose
# latents would the U-Net then draw?)
#
# **Papers:** Rombach et al. 2021, arXiv:2112.10752 (latent diffusion); Kingma and Welling 2013,
# arXiv:1312.6114 (the VAE); Podell et al. 2023, arXiv:2307.01952 (SDXL, and its better VAE).
