"""Drawing many prompts with fixed seeds, and rebuilding pictures with the VAE alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from sdlearn.data.folder import to_pixel_values
from sdlearn.evaluate.metrics import psnr

if TYPE_CHECKING:
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
    desc: str = "drawing",
) -> list[Image.Image]:
    """Draw each prompt once; picture i has seed i, whatever the batch size."""
    pipeline: Any = sd.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    images: list[Image.Image] = []
    with tqdm(total=len(prompts), desc=desc, unit="picture") as progress:
        for start in range(0, len(prompts), batch_size):
            part = list(prompts[start : start + batch_size])
            seeds = range(start, start + len(part))
            images += pipeline(
                part,
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            ).images
            progress.update(len(part))
    return images


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
