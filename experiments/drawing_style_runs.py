"""One model that learns a drawing style: its pictures, its training, and what is measured of it."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from experiments.bench import Bench, Unit, sheet
from experiments.denoising import picture_losses
from experiments.held_out import LARGER, kid_to
from sdlearn.data.characters import draw_character, style_choices
from sdlearn.evaluate.compare import Cost, draw, train
from sdlearn.evaluate.memorisation import nearest_distance
from sdlearn.evaluate.metrics import seen_shares
from sdlearn.evaluate.near_copies import near_copies
from sdlearn.finetune import FitConfig, FullFineTuning
from sdlearn.finetune import LoRA as LoRAMethod

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion

STYLE = "lorelei"
BEFORE, FULL, LORA = "before", "full", "lora"
NUMBERS = (10, 50, 500)  # pictures; one more set holds as many as a run sees
BATCH = 8  # pictures a step, which mini's learning rate is for
HELD_OUT = 48  # people that no model trains on
GROUP = 8  # drawn pictures a KID, so that there are several, and an interval
FIRST_HELD_OUT = 1_000_000  # seed: no training picture has one as high
COLOURS = ("hair_color", "background")


def portraits(first_seed: int, number: int, image_size: int) -> list[Picture]:
    """People in the style, one picture each, in all colours and with all glasses.

    `image_size` is their height and width in pixels.
    """
    choices = style_choices(STYLE)
    colours, glasses = choices["hair_color"], choices["glasses"]
    return [
        draw_character(
            STYLE,
            seed,
            1,
            image_size,
            hair_color=colours[seed % len(colours)],
            glasses=glasses[seed // len(colours) % len(glasses)],
        )[0]
        for seed in range(first_seed, first_seed + number)
    ]


def held_out_portraits(bench: Bench, number: int) -> list[Picture]:
    """People that no model trains on."""
    return portraits(FIRST_HELD_OUT, number, bench.sd.image_size)


def run_model(bench: Bench, method: str, number: int, held_out: int) -> Unit:
    """Train on the first `number` pictures, draw the captions of held-out ones, and measure."""
    sd, judges, cost = bench.sd, bench.judges, Cost()
    pictures = portraits(0, number, sd.image_size)
    others = held_out_portraits(bench, held_out)
    if method != BEFORE:
        sd, cost = _train(bench, method, pictures)
    images = draw(sd, [other.text for other in others], bench.size)
    embeds = judges.image_embeds(images)
    real = judges.image_embeds([other.image for other in others])
    unit = {
        "method": method,
        "number": number,
        "cost": asdict(cost),
        "kid": kids(embeds, real),
        "held_out_loss": _losses(sd, others),
        "colours": colours_seen(bench, images, others),
    }
    if pictures:
        own = judges.image_embeds([picture.image for picture in pictures])
        unit |= {
            "own_loss": _losses(sd, pictures[: NUMBERS[0]]),
            "copied": copies(embeds, real, own),
        }
    name = f"drawing-style/{method}-{number}"
    columns = slice(2 * GROUP)
    sheet([[o.image for o in others[columns]], images[columns]], bench.work.picture(name))
    del sd
    gc.collect()
    return unit


def kids(embeds: torch.Tensor, real: torch.Tensor) -> list[float]:
    """KID of every `GROUP` drawn pictures (N, D) to all real ones (M, D), times `LARGER`.

    It is unbiased for any number of pictures, so the mean over groups is that of all of them.
    """
    return [kid_to(part, real) for part in embeds.split(GROUP)]


def copies(embeds: torch.Tensor, real: torch.Tensor, own: torch.Tensor) -> list[float]:
    """1 for each drawn picture that is a near-copy of a training picture, else 0.

    Near is nearer than 99 of 100 held-out pictures of the style are to the same training pictures.
    """
    nearest = nearest_distance(embeds, own)
    _, threshold = near_copies(nearest, nearest_distance(real, own))
    return (nearest < threshold).float().tolist()


def colours_seen(
    bench: Bench, images: Sequence[Image.Image], asked: Sequence[Picture]
) -> list[float]:
    """Of each picture's colours, the share that the reader sees as they were asked."""
    colours = [{name: picture.attributes[name] for name in COLOURS} for picture in asked]
    return seen_shares(bench.judges, images, colours)


def real_colours(bench: Bench, held_out: int) -> Unit:
    """What the reader sees in real pictures of the style: the best that a drawn one can have."""
    others = held_out_portraits(bench, held_out)
    return {"colours": colours_seen(bench, [other.image for other in others], others)}


def _train(bench: Bench, name: str, pictures: Sequence[Picture]) -> tuple[StableDiffusion, Cost]:
    method = FullFineTuning(bench.sd) if name == FULL else LoRAMethod(bench.sd)
    config = FitConfig(
        max_train_steps=bench.size.train_steps,
        train_batch_size=BATCH,
        lr_scheduler="cosine",
        lr_warmup_steps=bench.size.part(5),
        snr_gamma=5.0,
    )
    cost = train(method, pictures, config, desc=f"{name}, {len(pictures)} pictures")
    return method.sd, cost


def _losses(sd: StableDiffusion, pictures: Sequence[Picture]) -> list[float]:
    captions = [picture.text for picture in pictures]
    return [LARGER * loss for loss in picture_losses(sd, pictures, captions)]
