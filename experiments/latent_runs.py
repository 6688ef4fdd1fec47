"""A small U-Net in pixels and one in latents, each trained from nothing for a given time.

Both are told the same four things of a creature. The one for pixels is the one for latents with
two levels more at its outside, for 64 x 64 and 32 x 32 pixels, as in chapter 4. They are narrow, so
that it is no straw man; and what is inside, from 16 x 16 down, is the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from diffusers.models.embeddings import TimestepEmbedding, get_timestep_embedding
from PIL import Image
from torch import nn
from tqdm.auto import tqdm

from experiments.bench import Bench, Unit, sheet
from experiments.distributions import frechet_distance
from experiments.held_out import kid_to, plain_prompts
from sdlearn.data.faces import ATTRIBUTE_VALUES
from sdlearn.data.folder import to_pixel_values
from sdlearn.data.render import Character, characters, render
from sdlearn.diffusion import NoiseSchedule
from sdlearn.evaluate.metrics import seen_shares

if TYPE_CHECKING:
    from sdlearn.models import StableDiffusion

STYLE, TOLD = "critters", ("body_color", "expression", "top", "background")
PICTURES, DRAWN, GROUP = 1000, 96, 12  # to learn from; to draw; of a KID
BATCH, LEARNING_RATE = 8, 2e-3  # the rate falls to a twentieth along a line
STEPS, AT_A_TIME = 30, 24  # of DDIM, without guidance; pictures
EMBEDDING, WAVES = 128, 32  # widths: of what the network is told, and of its timestep in waves
IN_STYLE = 11  # of so many characters one is in the style, roughly

clock = time.thread_time  # only this program's own time counts, whatever else the machine does


@dataclass(frozen=True, kw_only=True)
class Space:
    """Where a network works."""

    name: str
    channels: int  # of a picture there
    size: int  # height and width there
    widths: tuple[int, ...]  # channels of the U-Net's levels, the finest first


PIXELS = Space(name="pixels", channels=3, size=64, widths=(16, 32, 48, 96, 128))
LATENTS = Space(name="latents", channels=4, size=16, widths=(48, 96, 128))


class Block(nn.Module):
    """Features (B, C, h, w) and an embedding (B, D) -> features of the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.told = nn.Linear(EMBEDDING, width)
        self.first, self.second = (
            nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(2)
        )

    def forward(self, features: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        told = self.told(embedding)[:, :, None, None]
        return features + self.second(self.first(features) + told)


class Network(nn.Module):
    """Noisy samples (B, C, h, w), timesteps (B,) and what is told (B, 4) -> the noise in them.

    The U-Net of chapter 4, one block at each level on the way down and one on the way up.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        widths, pairs = space.widths, list(pairwise(space.widths))
        self.told = nn.ModuleList(nn.Embedding(len(ATTRIBUTE_VALUES[n]), EMBEDDING) for n in TOLD)
        self.time = TimestepEmbedding(WAVES, EMBEDDING)
        self.enter = nn.Conv2d(space.channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Block(width) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(Block(width) for width in widths[:-1])
        self.leave = nn.Conv2d(widths[0], space.channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)

    def forward(
        self, sample: torch.Tensor, timesteps: torch.Tensor, told: torch.Tensor
    ) -> torch.Tensor:
        """Add up what time and attributes say, and tell it to every block."""
        embedding = self.time(get_timestep_embedding(timesteps, WAVES))
        for place, table in enumerate(self.told):
            embedding = embedding + table(told[:, place])  # (B, D)
        features, seen = self.enter(sample), []
        for down, shrink in zip(self.down, self.shrink, strict=False):  # all but the coarsest
            seen.append(down(features, embedding))
            features = shrink(seen[-1])
        features = self.down[-1](features, embedding)
        for place in reversed(range(len(seen))):
            features = self.up[place](self.grow[place](features) + seen[place], embedding)
        return self.leave(features)


def run_space(bench: Bench, space: Space, seconds: float) -> Unit:
    """Train for so many seconds of processor time, draw held-out creatures, and measure."""
    sd = bench.sd
    learnt_from = creatures(bench.size.part(PICTURES, least=64), held_out=False)
    samples = in_space(sd, space, list(painted(learnt_from, sd.image_size)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # every one starts from the same weights and sees the same order
        network = Network(space)
        steps, took = _train(network, samples, told(learnt_from), sd, seconds)
    chosen = creatures(bench.size.part(DRAWN, least=2 * GROUP), held_out=True)
    start = clock()
    images = draw(network.eval(), space, told(chosen), sd)
    each = (clock() - start) / len(images)
    real = list(painted(chosen, sd.image_size))
    sheet([real[:GROUP], images[:GROUP]], bench.work.picture(f"latent/{space.name}-{seconds:g}"))
    embeds, real_embeds = bench.judges.image_embeds(images), bench.judges.image_embeds(real)
    asked = [{name: attributes[name] for name in TOLD} for _, attributes in chosen]
    texts = bench.judges.clip_text_embeds(plain_prompts(asked))
    fits = (bench.judges.clip_image_embeds(images) * texts).sum(1)
    return {
        "steps": steps,
        "seconds": took,
        "picture_seconds": each,
        "parameters": sum(p.numel() for p in network.parameters()),
        "frechet": frechet_distance(embeds, real_embeds),
        "kid": [[kid_to(part, real_embeds) for part in embeds.split(GROUP)]],
        "asked_and_seen": [seen_shares(bench.judges, images, asked)],
        "prompt_fit": [fits.tolist()],
    }


def creatures(number: int, *, held_out: bool) -> list[Character]:
    """The first `number` characters in the style; `held_out`: of combinations never trained on."""
    found: list[Character] = []
    world = 2 * IN_STYLE * number
    while len(found) < number:
        everyone = characters(world, seed=int(held_out), held_out=held_out)
        found = [who for who in everyone if who[1]["style"] == STYLE]
        world *= 2
    return found[:number]


def painted(chosen: Sequence[Character], image_size: int) -> Iterator[Image.Image]:
    """Real pictures of characters, `image_size` pixels high and wide."""
    return (Image.fromarray(pixels) for pixels in render(chosen, image_size, workers=1))


def told(chosen: Sequence[Character]) -> torch.Tensor:
    """What a network is told of characters: the number of each value, (N, 4)."""
    return torch.tensor([[ATTRIBUTE_VALUES[n].index(a[n]) for n in TOLD] for _, a in chosen])


@torch.no_grad()
def in_space(sd: StableDiffusion, space: Space, images: Sequence[Image.Image]) -> torch.Tensor:
    """Pictures as pixel values in [-1, 1], or as scaled latents: (N, C, h, w)."""
    pixel_values = torch.stack([to_pixel_values(image, sd.image_size) for image in images])
    if space.name == PIXELS.name:
        return pixel_values
    parts = [sd.vae.encode(part).latent_dist.mode() for part in pixel_values.split(AT_A_TIME)]
    return torch.cat(parts) * sd.vae.config.scaling_factor


def _train(
    network: Network, samples: torch.Tensor, told: torch.Tensor, sd: Any, seconds: float
) -> tuple[int, float]:
    """Train until the time is over; return the steps made, and the seconds they took."""
    schedule = NoiseSchedule.from_scheduler(sd.noise_scheduler)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    start, steps, past = clock(), 0, 0.0
    with tqdm(desc=f"training, {seconds:g} s", unit="step") as progress:
        while past < 1:
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - 0.95 * past)
            chosen = torch.randint(len(samples), (BATCH,))
            timesteps = torch.randint(schedule.num_train_timesteps, (BATCH,))
            noise = torch.randn_like(samples[chosen])
            noisy = schedule.add_noise(samples[chosen], noise, timesteps)
            loss = (network(noisy, timesteps, told[chosen]) - noise).square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            steps, past = steps + 1, (clock() - start) / seconds
            progress.update()
    return steps, clock() - start


@torch.no_grad()
def draw(
    network: Network, space: Space, told: torch.Tensor, sd: StableDiffusion
) -> list[Image.Image]:
    """One picture for each row of `told`, from the same noise at every call."""
    generator = torch.Generator().manual_seed(0)
    images: list[Image.Image] = []
    scheduler: Any = DDIMScheduler.from_config(
        sd.noise_scheduler.config, timestep_spacing="trailing"
    )
    for part in told.split(AT_A_TIME):
        sample = torch.randn(len(part), space.channels, space.size, space.size, generator=generator)
        scheduler.set_timesteps(STEPS)
        for timestep in scheduler.timesteps:
            model_pred = network(sample, timestep.expand(len(part)), part)
            sample = scheduler.step(model_pred, timestep, sample).prev_sample
        if space.name == LATENTS.name:
            sample = sd.vae.decode(sample / sd.vae.config.scaling_factor).sample
        pixels = ((sample.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
        images += [Image.fromarray(picture) for picture in pixels.astype(np.uint8)]
    return images
