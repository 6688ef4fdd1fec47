"""Attributes become pixels: DiceBear draws the SVG, resvg paints it, worker processes share it."""

import io
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from importlib.resources import files
from itertools import islice

import numpy as np
from PIL import Image

from sdlearn.data.faces import Attributes, avatar_options, sample_attributes

Character = tuple[int, Attributes]
"""A character's index in the world, which also seeds what no attribute says, and its attributes."""


@cache
def _style(name: str):  # type: ignore[no-untyped-def]
    from dicebear import Style

    return Style(json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text("utf-8")))


def paint(style: str, options: Mapping[str, object], size: int) -> Image.Image:
    """Draws DiceBear options of any style.

    Returns:
        RGB picture of `size` by `size` pixels.
    """
    import resvg_py
    from dicebear import Avatar

    svg = Avatar(_style(style), dict(options)).to_string()
    png = resvg_py.svg_to_bytes(
        svg_string=svg, width=size, height=size, skip_system_fonts=True, background="#ffffff"
    )
    return Image.open(io.BytesIO(bytes(png)), formats=["PNG"]).convert("RGB")


def draw(attributes: Mapping[str, str], size: int, *, seed: int = 0) -> Image.Image:
    """Draws one character of a base style, RGB, `size` by `size` pixels."""
    rng = random.Random(f"sdlearn-look-{seed}")
    return paint(attributes["style"], avatar_options(attributes, rng), size)


def _draw_array(character: Character, *, size: int, seed: int) -> np.ndarray:
    index, attributes = character
    return np.asarray(draw(attributes, size, seed=hash_free(seed, index)))


def hash_free(seed: int, index: int) -> int:
    """One number for two, the same in every process (Python's `hash` of a string is not)."""
    return seed * 1_000_003 + index


def render(
    characters: Iterable[Character], size: int, *, seed: int = 0, workers: int | None = None
) -> Iterator[np.ndarray]:
    """Draws characters in worker processes, in order.

    Returns:
        Iterator over uint8 arrays `(size, size, 3)`, RGB.
    """
    paint_one = partial(_draw_array, size=size, seed=seed)
    workers = workers if workers is not None else os.cpu_count() or 1
    if workers <= 1:
        yield from map(paint_one, characters)
        return
    with ProcessPoolExecutor(workers) as pool:
        rest = iter(characters)
        while block := list(islice(rest, 64 * workers)):
            yield from pool.map(paint_one, block, chunksize=16)


def characters(number: int, *, seed: int = 0, held_out: bool = False) -> list[Character]:
    """The first `number` characters of the world with this seed."""
    return [(i, sample_attributes(seed, i, held_out=held_out)) for i in range(number)]
