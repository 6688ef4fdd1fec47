"""Pictures drawn while training, to see what is being learnt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.data.png import save_generated
from sdlearn.models.samplers import check_steps

if TYPE_CHECKING:
    from sdlearn.finetune.config import FitConfig
    from sdlearn.models import StableDiffusion


def check_previews(sd: StableDiffusion, config: FitConfig) -> None:
    """Raise ValueError for more sampler steps than previews can be drawn in."""
    if config.preview_prompts:
        check_steps(config.preview_inference_steps, sd.noise_scheduler)


def draw_previews(sd: StableDiffusion, config: FitConfig, step: int) -> list[Path]:
    """Draw each of `preview_prompts`, always from the same noise, and return the PNGs' paths.

    Prompt i is drawn from seed + i on a CPU generator of its own, so that pictures of different
    steps can be compared, and no random number is taken from anything else.
    """
    check_previews(sd, config)
    pipeline: Any = sd.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    size = config.resolution or sd.image_size
    paths = []
    for number, prompt in enumerate(config.preview_prompts):
        seed = config.seed + number
        image = pipeline(
            prompt,
            height=size,
            width=size,
            num_inference_steps=config.preview_inference_steps,
            guidance_scale=config.preview_guidance_scale,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
        path = save_generated(
            image,
            Path(config.output_dir or ".") / "previews" / f"step-{step:06d}-{number}.png",
            prompt=prompt,
            negative_prompt="",
            seed=seed,
            model=f"{sd.name}, step {step}",
            steps=config.preview_inference_steps,
            guidance_scale=config.preview_guidance_scale,
        )
        paths.append(path)
    return paths
