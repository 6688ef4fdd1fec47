"""Drawing held-out prompts with one sampler, and what is measured of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from experiments.bench import Bench, Unit, sheet
from experiments.held_out import (
    held_out_attributes,
    kid_to,
    plain_prompts,
    real_embeds,
)
from sdlearn.evaluate.metrics import seen_shares
from sdlearn.models.samplers import make_sampler

if TYPE_CHECKING:
    from PIL import Image

CONVERGED = 200  # steps
AT_A_TIME = 8  # pictures; and of a KID, so that there are several, and an interval
DIGITS = 4  # of latents that are kept


def converged(bench: Bench, name: str, number: int) -> torch.Tensor:
    """Latents (N, C, h, w) of a sampler with many steps; they are kept."""
    unit = bench.work.unit(
        f"sampler-steps/{name}-{CONVERGED}",
        lambda: {"latents": _rounded(draw_latents(bench, name, CONVERGED, number))},
    )
    return torch.tensor(unit["latents"])


def run_sampler(bench: Bench, name: str, steps: int, exact: torch.Tensor) -> Unit:
    """Draw the prompts that `exact` (N, C, h, w) was drawn from; each figure is a list of lists.

    `distance` is left out for a sampler that draws noise on its way.
    """
    latents = draw_latents(bench, name, steps, len(exact))
    images = decoded(bench, latents)
    sheet([images[:AT_A_TIME]], bench.work.picture(f"sampler-steps/{name}-{steps}"))
    asked = held_out_attributes(bench, len(images))
    embeds, real = bench.judges.image_embeds(images), real_embeds(bench)
    unit: Unit = {
        "asked_and_seen": [seen_shares(bench.judges, images, asked)],
        "kid": [[kid_to(part, real) for part in embeds.split(AT_A_TIME)]],
    }
    if name != "ddpm":
        unit["distance"] = [(latents - exact).square().flatten(1).mean(1).sqrt().tolist()]
    return unit


def draw_latents(bench: Bench, name: str, steps: int, number: int) -> torch.Tensor:
    """Scaled latents (N, C, h, w) of held-out prompts; picture i has seed i."""
    latents = bench.sd.draw(
        plain_prompts(held_out_attributes(bench, number)),
        num_inference_steps=steps,
        guidance_scale=bench.size.guidance_scale,
        batch_size=AT_A_TIME,
        scheduler=make_sampler(name, bench.sd.noise_scheduler),
        output_type="latent",
        desc=f"{name}, {steps} steps",
    )
    return torch.stack(latents).float().cpu()


@torch.no_grad()
def decoded(bench: Bench, latents: torch.Tensor) -> list[Image.Image]:
    """Scaled latents (N, C, h, w) -> pictures."""
    sd = bench.sd
    pipeline: Any = sd.pipeline()
    images: list[Image.Image] = []
    for part in latents.to(sd.device).split(AT_A_TIME):
        pixel_values = sd.vae.decode(part / sd.vae.config.scaling_factor).sample
        images += pipeline.image_processor.postprocess(pixel_values, output_type="pil")
    return images


def _rounded(latents: torch.Tensor) -> list[Any]:
    return [
        [[[round(x, DIGITS) for x in row] for row in c] for c in one] for one in latents.tolist()
    ]
