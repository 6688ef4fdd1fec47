"""Attributes become pixels: a ground, one or two subjects on it, painted by resvg."""

import io
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from PIL import Image

from sdlearn.data.world.attributes import Shot
from sdlearn.data.world.drawings import drawing
from sdlearn.data.world.grounds import SIZE, ground
from sdlearn.data.world.people import PEOPLE, SUBJECTS, PeopleStyle, svg

# Side of a subject's square and how far left or right of the middle it stands, in 128ths
_THING = {"small": (60, 66, 30), "medium": (74, 86, 24), "large": (98, 112, 9)}
_THING["one of two"] = (54, 62, 32)
_PERSON = {"small": (76, 84, 25), "medium": (92, 102, 17), "large": (114, 124, 4)}
_FLOATING = ("underwater", "space")  # places where nothing stands on a floor
_OPPOSITE = {"left": "right", "right": "left"}


class Spot(NamedTuple):
    """Where a subject stands: its square's middle and side in 128ths, and how it is turned."""

    x: float
    y: float
    side: float
    turn: float  # degrees
    mirrored: bool


def picture_svg(attributes: Mapping[str, str], seed: int, *, who: int | None = None) -> str:
    """One picture of the world as an SVG document.

    Args:
        attributes: those of `sample_attributes`, or any that name a subject and a ground.
        seed: decides what no attribute says: exactly where, which trees, whose skin.
        who: decides the subject's own part of that, so that it stays the same in many pictures.

    Raises:
        ValueError: an attribute has a value that cannot be drawn; says which can.
    """
    parts = [ground(attributes, random.Random(f"sdlearn-ground-{seed}"))]
    look = random.Random(f"sdlearn-who-{seed if who is None else who}")
    shown = _subjects(attributes)
    for subject, spot in zip(shown, spots(attributes, seed), strict=True):
        parts.append(_placed(_drawn(subject, look, spot.side), spot))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}">'
        f"{''.join(parts)}</svg>"
    )


def spots(attributes: Mapping[str, str], seed: int) -> list[Spot]:
    """Where the one or two subjects of a picture stand."""
    rng = random.Random(f"sdlearn-place-{seed}")
    return [_spot(subject, rng) for subject in _subjects(attributes)]


def _subjects(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    """Each subject of a picture with attributes of its own; the second is on the other side."""
    if "other_noun" not in attributes:
        return [dict(attributes)]
    shared = {k: attributes[k] for k in ("style", "scene", "time") if k in attributes}
    first = {k: attributes[k] for k in ("noun", "color") if k in attributes}
    other = {k.removeprefix("other_"): v for k, v in attributes.items() if k.startswith("other_")}
    place = attributes["place"]
    return [
        {**shared, **first, "place": place, "size": "one of two"},
        {**shared, **other, "place": _OPPOSITE[place], "size": "one of two"},
    ]


def _people(style: str) -> PeopleStyle | None:
    return PEOPLE.get(style) or SUBJECTS.get(style)


def _spot(subject: Mapping[str, str], rng: random.Random) -> Spot:
    people = _people(subject["style"])
    sides = _PERSON if people else _THING
    smallest, largest, away = sides[subject.get("size", "medium")]
    side = rng.uniform(smallest, largest)
    x = 64.0 + {"left": -away, "middle": 0, "right": away}[subject.get("place", "middle")]
    x, turn, mirrored = x + rng.uniform(-4, 4), rng.uniform(-6, 6), rng.random() < 0.5
    if people and not people.full_body:  # cut off at the lower edge, as its artist drew it
        return Spot(x, SIZE - side / 2 + 0.5, side, 0.0, mirrored)
    if subject.get("scene", _FLOATING[0]) in _FLOATING:  # patterns have no floor either
        return Spot(x, 64 + rng.uniform(-1, 1) * max(2.0, 56 - side / 2), side, turn, mirrored)
    return Spot(x, rng.uniform(106, 120) - side / 2, side, turn, mirrored)


def _drawn(subject: Mapping[str, str], look: random.Random, side: float) -> str:
    """A drawing or an avatar as one SVG element of `side` units."""
    people = _people(subject["style"])
    if people is None:
        chosen = drawing(subject["style"], subject["noun"], subject.get("color"))
        return (
            f'<svg viewBox="{chosen.box}" width="{side:.1f}" height="{side:.1f}">'
            f"{chosen.body}</svg>"
        )
    own = {name: subject[name] for name in people.choices() if name in subject}
    document = svg(people.name, people.options(own, look))
    size = f'width="{side:.1f}" height="{side:.1f}" overflow="visible"'
    return document.replace("<svg ", f"<svg {size} ", 1)


def _placed(element: str, spot: Spot) -> str:
    flip = " scale(-1 1)" if spot.mirrored else ""
    back = f"translate({-spot.side / 2:.1f} {-spot.side / 2:.1f})"
    move = f"translate({spot.x:.1f} {spot.y:.1f}) rotate({spot.turn:.1f}){flip} {back}"
    return f'<g transform="{move}">{element}</g>'


def draw(
    attributes: Mapping[str, str], size: int, *, seed: int = 0, who: int | None = None
) -> Image.Image:
    """Draw one picture of the world, RGB, `size` by `size` pixels."""
    return paint(picture_svg(attributes, seed, who=who), size)


def paint(document: str, size: int) -> Image.Image:
    """Paint a square SVG document, RGB, `size` by `size` pixels."""
    import resvg_py

    png = resvg_py.svg_to_bytes(
        svg_string=document, width=size, height=size, skip_system_fonts=True, background="#ffffff"
    )
    return Image.open(io.BytesIO(bytes(png)), formats=["PNG"]).convert("RGB")


def render(shots: Iterable[Shot], size: int, *, workers: int | None = None) -> Iterator[np.ndarray]:
    """Draw pictures in worker processes, in order.

    Args:
        workers: processes; None is one a core.

    Returns:
        Iterator over uint8 arrays `(size, size, 3)`, RGB.
    """
    paint_one = partial(_draw_array, size=size)
    workers = workers if workers is not None else os.cpu_count() or 1
    if workers <= 1:
        yield from map(paint_one, shots)
        return
    with ProcessPoolExecutor(workers) as pool:
        rest = iter(shots)
        while block := list(islice(rest, 64 * workers)):
            yield from pool.map(paint_one, block, chunksize=16)


def _draw_array(shot: Shot, *, size: int) -> np.ndarray:
    return np.asarray(draw(shot.attributes, size, seed=shot.seed, who=shot.who))
