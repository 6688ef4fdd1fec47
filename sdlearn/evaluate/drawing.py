"""Drawing many prompts with fixed seeds, and rebuilding pictures with the VAE alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from sdlearn.data.folder import to_pixel_values
from sdlearn.evaluate.metrics import psnr
from sdlearn.models.samplers import check_steps

if TYPE_CHECKING:
    from diffusers import SchedulerMixin
    from PIL import Image

    from sdlearn.models import StableDiffusion

VAE_BATCH = 16  # pictures that the VAE rebuilds at a time


def draw_prompts(
    sd: StableDiffusion,
    prompts: Sequence[str],
    *,
    steps: int = 20,
    guidance_scale: float = 5.0,
    batch_size: int = 10,
    scheduler: SchedulerMixin | None = None,
    output_type: str = "pil",
    desc: str = "drawing",
) -> list[Any]:
    """Draw each prompt once; picture i has seed i, whatever the batch size.

    `scheduler` and `output_type` are diffusers': the sampler, None for the model's own, and "pil"
    for pictures or "latent" for scaled latents, (C, h, w) each. Raises ValueError for more steps
    than the model's own sampler can take.
    """
    if scheduler is None:
        check_steps(steps, sd.noise_scheduler)
    pipeline: Any = sd.pipeline(scheduler)
    pipeline.set_progress_bar_config(disable=True)
    drawn: list[Any] = []
    with tqdm(total=len(prompts), desc=desc, unit="picture") as progress:
        for start in range(0, len(prompts), batch_size):
            part = list(prompts[start : start + batch_size])
            seeds = range(start, start + len(part))
            drawn += pipeline(
                part,
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                output_type=output_type,
            ).images
            progress.update(len(part))
    return drawn


@torch.no_grad()
def reconstruction_psnr(sd: StableDiffusion, images: Sequence[Image.Image]) -> float:
    """Mean PSNR in dB of pictures that the VAE encodes (its mode) and decodes. Higher is better."""
    ratios = []
    for start in tqdm(range(0, len(images), VAE_BATCH), desc="rebuilding", unit="batch"):
        part = images[start : start + VAE_BATCH]
        pixel_values = torch.stack([to_pixel_values(image, sd.image_size) for image in part])
        pixel_values = pixel_values.to(sd.device, sd.vae.dtype)  # (B, 3, H, W)
        latents = sd.vae.encode(pixel_values).latent_dist.mode()
        ratios.append(psnr(sd.vae.decode(latents).sample.float(), pixel_values.float()).cpu())
    return torch.cat(ratios).mean().item()
