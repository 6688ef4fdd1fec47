"""One small U-Net trained with a share of its labels left out, and what guidance makes of it."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from PIL import Image

from experiments.bench import Bench, Unit, sheet
from experiments.denoising import losses_of
from experiments.drawing_style_runs import kids
from experiments.held_out import LARGER
from experiments.labelled import (
    IMAGE_SIZE,
    NONE,
    Labelled,
    LabelledConfig,
    attributes_of,
    label_of,
)
from sdlearn.data.folder import Picture
from sdlearn.data.render import characters, render
from sdlearn.evaluate.compare import train
from sdlearn.evaluate.diversity import diversity
from sdlearn.evaluate.metrics import seen_shares
from sdlearn.finetune import FitConfig

DROPOUTS = (0.0, 0.1, 0.5)  # share of pictures of which nothing is told
GUIDANCE = (1.0, 3.0, 5.0, 8.0)  # 1 is none
STEPS, BATCH = 600, 32  # of training, and pictures a step
PICTURES = 1500  # trained on
HELD_OUT = 96  # real pictures that no model trains on
# every third label is drawn, all styles and backgrounds among them; neighbours have other styles
LABELS = tuple(27 * i % NONE for i in range(NONE // 3))
SEEDS = 4  # pictures of a label
TRAINED_WORLD, OTHER_WORLD = 5, 6  # seeds


def run_dropout(bench: Bench, dropout: float) -> Unit:
    """Train, draw at every guidance scale, and measure."""
    method = Labelled(bench.sd, LabelledConfig(caption_dropout=dropout))
    pictures = world_pictures(bench.size.part(PICTURES, BATCH), seed=TRAINED_WORLD)
    config = FitConfig(
        max_train_steps=bench.size.part(STEPS),
        train_batch_size=BATCH,
        lr_scheduler="cosine",
        lr_warmup_steps=bench.size.part(20),
        snr_gamma=5.0,
    )
    cost = train(method, pictures, config, desc=f"{dropout:.0%} left out")
    others = world_pictures(bench.size.part(HELD_OUT, 16), seed=OTHER_WORLD)
    real = bench.judges.image_embeds([other.image for other in others])
    labels = LABELS * SEEDS
    guided, rows = {}, []
    for scale in GUIDANCE:
        images = method.draw(labels, steps=bench.size.sampler_steps, guidance_scale=scale)
        guided[f"{scale:g}"] = _measure(bench, images, labels, real)
        rows.append(images[: len(LABELS)])
    sheet(rows, bench.work.picture(f"caption-dropout/{dropout:g}"))
    told = [label_of(other.attributes) for other in others]
    unit = {
        "dropout": dropout,
        "cost": asdict(cost),
        "guided": guided,
        "told_loss": _losses(method, others, told),
        "untold_loss": _losses(method, others, [NONE] * len(others)),
    }
    del method
    gc.collect()
    return unit


def world_pictures(number: int, *, seed: int) -> list[Picture]:
    """Characters of the picture world with their attributes, `IMAGE_SIZE` pixels high and wide."""
    found = characters(number, seed=seed)
    drawn = render(found, IMAGE_SIZE, seed=seed, workers=1)
    return [
        Picture(image=Image.fromarray(pixels), attributes=attributes)
        for pixels, (_, attributes) in zip(drawn, found, strict=True)
    ]


def _measure(
    bench: Bench, images: Sequence[Image.Image], labels: Sequence[int], real: torch.Tensor
) -> dict[str, Any]:
    """Of each picture what is seen as asked; KID of each group of pictures; DIV of each label.

    Pictures of one label are `len(LABELS)` apart, so those of a group for KID have different ones.
    """
    embeds = bench.judges.image_embeds(images)
    asked = [attributes_of(label) for label in labels]
    return {
        "seen": seen_shares(bench.judges, images, asked),
        "kid": kids(embeds, real),
        "diversity": [diversity(embeds[i :: len(LABELS)]) for i in range(len(LABELS))],
    }


def _losses(method: Labelled, pictures: Sequence[Picture], labels: Sequence[int]) -> list[float]:
    told = torch.tensor(labels, device=method.sd.device)

    def predict(noisy_latents: torch.Tensor, timesteps: torch.Tensor, part: slice) -> torch.Tensor:
        return method.sd.unet(noisy_latents, timesteps, class_labels=told[part]).sample

    return [LARGER * loss for loss in losses_of(method.sd, pictures, predict)]
