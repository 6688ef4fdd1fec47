"""Rows of pictures inside a result: small, few colours, and as text."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sdlearn.claims.bench import THUMBNAIL

SIDE = 64  # pixels, of a picture in a row
COLOURS = 32  # of a whole row: drawn characters have few


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
    return Image.open(io.BytesIO(base64.b64decode(row))).convert("RGB")


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
    with Image.open(path) as sheet:
        top = THUMBNAIL * row
        boxes = [(THUMBNAIL * x, top, THUMBNAIL * (x + 1), top + THUMBNAIL) for x in range(number)]
        return [sheet.convert("RGB").crop(box) for box in boxes]
