"""Pictures drawn while training, to see what is being learnt, and at its end, for the card."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from sdlearn.data.png import save_generated
from sdlearn.finetune.provenance import learnt_under, record, show_on_card

if TYPE_CHECKING:
    from sdlearn.finetune.denoising import DenoisingStage
    from sdlearn.models import StableDiffusion
    from sdlearn.training.config import FitConfig

LOOKED_AT = 100  # pictures, for prompts that differ


def draw_previews(sd: StableDiffusion, config: FitConfig, step: int) -> list[Path]:
    """Draw each of `preview_prompts`, always from the same noise, and return the PNGs' paths.

    Prompt i is drawn from seed + i on a CPU generator of its own, so that pictures of different
    steps can be compared, and no random number is taken from anything else.
    """
    stem = Path(config.output_dir or ".") / "previews" / f"step-{step:06d}"
    return _draw(sd, config, config.preview_prompts, stem, f"{sd.name}, step {step}")


def draw_samples(
    stage: DenoisingStage, pictures: Any, config: FitConfig, folder: Path, number: int
) -> list[Path]:
    """Draw a saved artefact's samples into its folder, and show them on its card.

    The prompts are those that the first pictures were learnt under. Sampler steps and guidance
    scale are those of previews. Returns the PNGs' paths.
    """
    known = list(dict.fromkeys(islice(learnt_under(stage, pictures), LOOKED_AT)))
    prompts = list(islice(cycle(known), number))
    device = stage.sd.device
    precision = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(config.mixed_precision)
    stem = folder / "samples" / "sample"
    model = f"{record(stage)['base_model']} + {folder.name}"
    with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
        paths = _draw(stage.sd, config, prompts, stem, model)
    show_on_card(folder, list(zip(paths, prompts, strict=True)))
    return paths


def _draw(
    sd: StableDiffusion, config: FitConfig, prompts: Sequence[str], stem: Path, model: str
) -> list[Path]:
    """Draw prompt i from seed + i to `stem` and its number."""
    size = config.resolution or sd.image_size
    paths = []
    for number, prompt in enumerate(tqdm(prompts, desc="draw", leave=False, delay=2)):
        seed = config.seed + number
        [image] = sd.draw(
            prompt,
            seeds=seed,
            height=size,
            width=size,
            num_inference_steps=config.preview_inference_steps,
            guidance_scale=config.preview_guidance_scale,
            desc=None,
        )
        path = save_generated(
            image,
            stem.with_name(f"{stem.name}-{number}.png"),
            prompt=prompt,
            negative_prompt="",
            seed=seed,
            model=model,
            steps=config.preview_inference_steps,
            guidance_scale=config.preview_guidance_scale,
        )
        paths.append(path)
    return paths
