"""What goes wrong, made on purpose, beside a healthy run: figures and pictures of both."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from experiments.bench import THUMBNAIL, Bench, Subject, Unit, sheet
from experiments.caption_dropout_runs import GUIDANCE, run_dropout
from experiments.overflow import SAMPLER, measure_overflow
from experiments.sampler_runs import decoded, draw_latents
from experiments.size import SUBJECTS
from sdlearn.evaluate.compare import (
    DREAMBOOTH,
    DREAMBOOTH_PRIOR,
    TEXTUAL_INVERSION,
    Recipe,
    draw,
    teach,
)
from sdlearn.evaluate.situations import prompt

if TYPE_CHECKING:
    import torch

SHOWN = 5  # pictures of each run
SUBJECT_ROW, CLASS_ROW = 1, 2  # rows of the sheet that a learnt subject leaves
PERSON = SUBJECTS[1]  # DreamBooth binds it well, so that it has something to lose
FOR_WORD = SUBJECTS[3]  # whom Textual Inversion finds
WRONG_WORD = "creature"  # to start from for a person
STRONG = 5.0  # guidance scale that a missing caption dropout is seen at
DRIFT = "class_like_subject"
FEW_STEPS, MANY_STEPS = 2, 50  # of the sampler: unfinished, and as finished as it gets
DRAWN = 12
SIDE = 64  # pixels, of a picture in a row of a result
COLOURS = 32  # of a whole row: drawn characters have few


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run: one figure a picture or a prompt, and some of its pictures."""

    values: Sequence[float]
    images: Sequence[Image.Image]


Pair = tuple[Case, Case]  # what went wrong, and a healthy run of the same prompts and seeds
ONE_PICTURE = replace(DREAMBOOTH, pictures=1, captions=False)
LONG, SHORT = replace(DREAMBOOTH, times=5.0), replace(DREAMBOOTH, times=0.1)


def learnt(bench: Bench, wrong: Recipe, metric: str, healthy: Recipe = DREAMBOOTH) -> Pair:
    """Two ways to learn a person; `metric` is a list of a unit of `Bench.learnt`."""
    first, second = (_learnt(bench, PERSON, recipe, metric) for recipe in (wrong, healthy))
    return first, second


def over_trained(bench: Bench) -> Pair:
    """DreamBooth for five times the steps."""
    return learnt(bench, LONG, "diversity")


def under_trained(bench: Bench) -> Pair:
    """DreamBooth for a tenth of the steps."""
    return learnt(bench, SHORT, "fidelity")


def copied(bench: Bench) -> Pair:
    """DreamBooth from a single picture, of which training is told nothing but "sks person".

    Asked for a situation it may still draw that; asked by name alone it gives the picture back.
    """
    first, second = (_by_name(bench, recipe) for recipe in (ONE_PICTURE, DREAMBOOTH))
    return first, second


def _by_name(bench: Bench, recipe: Recipe) -> Case:
    """A person asked for by name alone: how far each picture is from the nearest learnt from."""
    key, number = f"failures/by-name-{recipe.name}", bench.size.part(DRAWN, least=SHOWN)

    def compute() -> Unit:
        sd, _ = teach(bench.sd, PERSON, recipe, bench.size)
        prompts = [prompt({}, PERSON.class_word, recipe.called(PERSON.class_word))] * number
        images = draw(sd, prompts, bench.size)
        sheet([images], bench.work.picture(key))
        known = [picture.image for picture in PERSON.pictures(recipe.pictures)]
        return {"distance": [min(pixel_distance(one, k) for k in known) for one in images]}

    unit = bench.work.unit(key, compute)
    return Case(values=unit["distance"], images=from_sheet(bench.work.picture(key), 0, SHOWN))


def too_fast(bench: Bench) -> Pair:
    """DreamBooth at ten times its learning rate."""
    rate = 10 * bench.sd.learning_rates["dreambooth"]
    return learnt(bench, replace(DREAMBOOTH, learning_rate=rate), "asked_and_seen")


def drift(bench: Bench) -> Pair:
    """The class after DreamBooth, without prior preservation and with it."""
    return learnt(bench, DREAMBOOTH, DRIFT, DREAMBOOTH_PRIOR)


def wrong_word(bench: Bench) -> Pair:
    """Textual Inversion that starts from a word of something else."""
    wrong = replace(TEXTUAL_INVERSION, initializer=WRONG_WORD)
    recipes = (wrong, TEXTUAL_INVERSION)
    first, second = (_learnt(bench, FOR_WORD, recipe, "fidelity") for recipe in recipes)
    return first, second


def _learnt(bench: Bench, subject: Subject, recipe: Recipe, metric: str) -> Case:
    unit = bench.learnt(subject, recipe)
    of_class = metric == DRIFT
    drawn = bench.size.class_pictures if of_class else bench.size.prompts
    path = bench.work.picture(f"learnt/{subject.name}/{recipe.name}")
    images = from_sheet(path, CLASS_ROW if of_class else SUBJECT_ROW, min(SHOWN, drawn))
    return Case(values=unit[metric], images=images)


def few_sampler_steps(bench: Bench) -> Pair:
    """Held-out prompts with too few steps and the usual number: how far from many steps?"""
    path, number = bench.work.picture("failures/steps"), bench.size.part(DRAWN, least=SHOWN)
    compared = {"few": FEW_STEPS, "usual": bench.size.sampler_steps}

    def compute() -> Unit:
        def drawn(steps: int) -> list[Image.Image]:
            return decoded(bench, draw_latents(bench, SAMPLER, steps, number))

        rows, finished = [drawn(steps) for steps in compared.values()], drawn(MANY_STEPS)
        sheet(rows, path)
        distances = [list(map(pixel_distance, row, finished)) for row in rows]
        return dict(zip(compared, distances, strict=True))

    unit = bench.work.unit("failures/steps", compute)
    first, second = (
        Case(values=unit[name], images=from_sheet(path, row, SHOWN))
        for row, name in enumerate(compared)
    )
    return first, second


def no_dropout(bench: Bench) -> Pair:
    """Small models of claim 14 with guidance: told always, and told nothing one time in ten."""
    first, second = (_guided(bench, dropout) for dropout in (0.0, 0.1))
    return first, second


def _guided(bench: Bench, dropout: float) -> Case:
    key = f"caption-dropout/{dropout:g}"
    unit = bench.work.unit(key, lambda: run_dropout(bench, dropout))
    images = from_sheet(bench.work.picture(key), GUIDANCE.index(STRONG), SHOWN)
    return Case(values=unit["guided"][f"{STRONG:g}"]["kid"], images=images)


def overflow(bench: Bench) -> Pair:
    """The same latents by a decoder of large features, in half precision and in float32."""
    unit = overflow_unit(bench)
    path = bench.work.picture("failures/overflow")
    first, second = (
        Case(values=unit["finite"][name], images=from_sheet(path, row, SHOWN))
        for row, name in enumerate(("float16", "float32"))
    )
    return first, second


def overflow_unit(bench: Bench) -> Unit:
    """What `measure_overflow` found; its sheet has float16 in the first row, float32 below."""

    def compute() -> Unit:
        unit, pictures = measure_overflow(bench, SHOWN)
        rows = [_opened(bench, pictures[name]) for name in ("float16", "float32")]
        sheet(rows, bench.work.picture("failures/overflow"))
        return unit

    return bench.work.unit("failures/overflow", compute)


def _opened(bench: Bench, pixel_values: torch.Tensor) -> list[Image.Image]:
    pipeline = bench.sd.pipeline()
    return pipeline.image_processor.postprocess(pixel_values, output_type="pil")


def row_of(images: Sequence[Image.Image]) -> str:
    """Pictures side by side as a PNG in base64."""
    row = Image.new("RGB", (SIDE * len(images), SIDE), "white")
    for x, image in enumerate(images):
        row.paste(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (SIDE * x, 0))
    kept = io.BytesIO()
    row.quantize(COLOURS).save(kept, format="PNG", optimize=True)
    return base64.b64encode(kept.getvalue()).decode("ascii")


def opened(row: str) -> Image.Image:
    """The pictures that `row_of` put away, RGB."""
    return Image.open(io.BytesIO(base64.b64decode(row)), formats=["PNG"]).convert("RGB")


def pixel_distance(one: Image.Image, other: Image.Image) -> float:
    """Root of the mean squared difference of two pictures, 0 to 1, at the smaller one's size."""
    size = min(one.size, other.size)
    first, second = (
        np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX), dtype=np.float64) / 255
        for image in (one, other)
    )
    return float(np.sqrt(((first - second) ** 2).mean()))


def from_sheet(path: Path, row: int, number: int) -> list[Image.Image]:
    """The first pictures of a row of a unit's sheet."""
    with Image.open(path, formats=["PNG"]) as sheet:
        top = THUMBNAIL * row
        boxes = [(THUMBNAIL * x, top, THUMBNAIL * (x + 1), top + THUMBNAIL) for x in range(number)]
        return [sheet.convert("RGB").crop(box) for box in boxes]
