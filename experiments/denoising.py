"""How well a model denoises pictures, one by one, always at the same timesteps and noises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from sdlearn.data.cache import MomentCache, latents_from_moments
from sdlearn.diffusion import NoiseSchedule, diffusion_loss

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion

    Predict = Callable[[torch.Tensor, torch.Tensor, slice], torch.Tensor]

TIMESTEPS = (100, 300, 500, 700, 900)  # of the 1000 of training; the mean over them counts
PICTURES_AT_A_TIME = 16


def picture_losses(
    sd: StableDiffusion, pictures: Sequence[Picture], prompts: Sequence[str]
) -> list[float]:
    """Each picture's unweighted denoising loss under its prompt, a mean over `TIMESTEPS`.

    The noise depends on a picture's place in the list and the timestep alone, so two models, or two
    prompts of one model, are compared at the same noises. Lower is better.
    """

    def predict(noisy_latents: torch.Tensor, timesteps: torch.Tensor, part: slice) -> torch.Tensor:
        inputs = sd.condition(list(prompts[part])).unet_inputs()
        return sd.unet(noisy_latents, timesteps, **inputs).sample

    return losses_of(sd, pictures, predict)


@torch.no_grad()
def losses_of(sd: StableDiffusion, pictures: Sequence[Picture], predict: Predict) -> list[float]:
    """The same for any prediction: `predict(noisy_latents, timesteps, part)` of a part of them.

    Pictures are brought to the size of the model's U-Net.
    """
    moments = MomentCache(sd, pictures, sd.image_size).moments[:, 0]  # (N, 2C, h, w)
    none = torch.zeros_like(moments.chunk(2, dim=1)[0])
    latents = latents_from_moments(moments, none, sd.vae.config.scaling_factor)
    schedule = NoiseSchedule.from_scheduler(sd.noise_scheduler).to(sd.device)
    losses = torch.zeros(len(pictures))
    for start in range(0, len(pictures), PICTURES_AT_A_TIME):
        part = slice(start, start + PICTURES_AT_A_TIME)
        for timestep in TIMESTEPS:
            noise = _noise(latents[part], start, timestep)
            timesteps = torch.full((len(noise),), timestep, device=sd.device)
            model_pred = predict(
                schedule.add_noise(latents[part], noise, timesteps), timesteps, part
            )
            target = schedule.target(latents[part], noise, timesteps)
            losses[part] += diffusion_loss(model_pred, target).float().cpu() / len(TIMESTEPS)
    return losses.tolist()


def _noise(latents: torch.Tensor, start: int, timestep: int) -> torch.Tensor:
    """Noise of the shape of latents (B, C, h, w) that are at `start` and beyond in their list."""
    generators = [
        torch.Generator().manual_seed((start + i) * 1000 + timestep) for i in range(len(latents))
    ]
    noise = [torch.randn(latents.shape[1:], generator=generator) for generator in generators]
    return torch.stack(noise).to(latents.device)
