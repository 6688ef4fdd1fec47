"""Drawings of things and animals by the artists of six sets, as they are or in another colour."""

import colorsys
import json
import re
from functools import lru_cache
from typing import NamedTuple

from sdlearn.data.world.words import NOUNS, SUBJECT_COLORS
from sdlearn.models.registry import shipped_path

SETS = ("emojione", "fluent", "noto", "noto-v1", "twemoji")  # mini learns these
SUBJECT_SETS = ("fxemoji",)  # and has never seen this one: the course fine-tunes on it
SAME_HUE = 45 / 360  # colours this near to the main one turn with it; eyes, beaks, leaves stay
GRAY = 0.15  # saturation below which a colour has no hue to speak of
_HEX = re.compile(r"((?:fill|stroke|stop-color|flood-color)\s*[=:]\s*\"?)#([0-9a-fA-F]{6}|\w{3})\b")


class Drawing(NamedTuple):
    """One drawing of a set."""

    box: str  # the SVG's viewBox
    color: str  # its main colour, "#rrggbb"; "" where turning that would hardly be seen
    body: str  # SVG elements


class HLS(NamedTuple):
    """Hue, lightness and saturation, each from 0 to 1."""

    hue: float
    lightness: float
    saturation: float

    @classmethod
    def of(cls, hex_color: str) -> "HLS":
        """Of "#rrggbb" or "#rgb"."""
        digits = hex_color.lstrip("#")
        if len(digits) == 3:
            digits = "".join(2 * digit for digit in digits)
        return cls(*colorsys.rgb_to_hls(*(int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))))

    def hex(self) -> str:
        """As "#rrggbb"."""
        return "#" + "".join(f"{round(255 * v):02x}" for v in colorsys.hls_to_rgb(*self))


@lru_cache
def drawings(name: str) -> dict[str, Drawing]:
    """All drawings of a set by the noun that they show.

    Raises:
        ValueError: there is no set of that name.
    """
    if name not in (*SETS, *SUBJECT_SETS):
        raise ValueError(f"set {name!r} does not exist: choose from {sorted(SETS + SUBJECT_SETS)}")
    text = shipped_path(f"drawings/{name}.json").read_text(encoding="utf-8")
    return {noun: Drawing(**fields) for noun, fields in json.loads(text).items()}


def nouns(name: str) -> tuple[str, ...]:
    """The nouns that a set draws, in the order of the world's words."""
    return tuple(noun for noun in NOUNS if noun in drawings(name))


@lru_cache(maxsize=4096)
def drawing(name: str, noun: str, color: str | None = None) -> Drawing:
    """A set's drawing of a noun; its main colour turned to `color` where one is given.

    Raises:
        ValueError: the set does not draw the noun, or not in that colour.
    """
    if noun not in drawings(name):
        raise ValueError(f"{name} draws no {noun!r}: choose from {sorted(drawings(name))}")
    plain = drawings(name)[noun]
    if color is None:
        return plain
    if color not in colors(name, noun):
        allowed = colors(name, noun) or "it stays as it is"
        raise ValueError(f"color {color!r} cannot be drawn of {noun} in {name} style: {allowed}")
    return recolored(plain, color)


def colors(name: str, noun: str) -> tuple[str, ...]:
    """What a drawing can be turned to so that one sees it: every colour, or none."""
    return tuple(SUBJECT_COLORS) if drawings(name)[noun].color else ()


def recolored(plain: Drawing, color: str) -> Drawing:
    """A drawing whose main colour, and the shades of it, turn to a colour of the world."""
    main, target = HLS.of(plain.color), HLS.of(SUBJECT_COLORS[color].hex)

    def turn(found: re.Match[str]) -> str:
        return found[1] + turned(HLS.of(found[2]), main, target).hex()

    return plain._replace(body=_HEX.sub(turn, plain.body))


def turned(color: HLS, main: HLS, target: HLS) -> HLS:
    """A colour of a drawing whose main colour turns to the target's hue, lightness, saturation.

    Lighter and darker shades stay lighter and darker, black and white stay as they are. Colours
    of another hue stay too; in a gray drawing, all that has a hue.
    """
    gray = main.saturation < GRAY
    away = (color.hue - main.hue + 0.5) % 1 - 0.5
    if (gray and color.saturation > 0.3) or (not gray and color.saturation < 0.1):
        return color
    if not gray and abs(away) > SAME_HUE:
        return color
    if color.lightness <= main.lightness:
        lightness = color.lightness * target.lightness / main.lightness
    else:
        above = (color.lightness - main.lightness) / (1 - main.lightness)
        lightness = target.lightness + above * (1 - target.lightness)
    share = 1.0 if gray else min(color.saturation / main.saturation, 1.2)
    hue = target.hue if gray else target.hue + 0.3 * away
    return HLS(hue % 1, lightness, min(target.saturation * share, 1.0))
