"""Drawings: complete, of clear licence, and recoloured so that one sees it."""

import colorsys
import io

import numpy as np
import pytest
import resvg_py
from PIL import Image

from sdlearn.data.licenses import ALLOWED, license_of
from sdlearn.data.world.drawings import (
    HLS,
    SETS,
    SUBJECT_SETS,
    Drawing,
    colors,
    drawing,
    drawings,
    nouns,
    turned,
)
from sdlearn.data.world.words import NOUNS, SUBJECT_COLORS


def pixels_of(drawn: Drawing) -> np.ndarray:
    """The opaque pixels of a drawing, `(N, 3)` in [0, 1]."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{drawn.box}">{drawn.body}</svg>'
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=48, height=48))
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).reshape(-1, 4)
    return pixels[pixels[:, 3] > 200, :3] / 255


@pytest.mark.parametrize("name", [*SETS, *SUBJECT_SETS])
def test_a_set_has_an_entry_of_an_allowed_licence(name: str) -> None:
    assert license_of(name)["license"] in ALLOWED


@pytest.mark.parametrize("name", [*SETS, *SUBJECT_SETS])
def test_every_drawing_fills_a_good_part_of_its_square(name: str) -> None:
    for noun in nouns(name):
        assert len(pixels_of(drawing(name, noun))) > 0.1 * 48 * 48, noun


def test_every_training_set_draws_nearly_every_noun() -> None:
    for name in SETS:
        assert len(set(NOUNS) - set(nouns(name))) <= 1


@pytest.mark.parametrize("color", SUBJECT_COLORS)
def test_a_recoloured_drawing_is_mostly_of_that_hue(color: str) -> None:
    target = HLS.of(SUBJECT_COLORS[color].hex)
    for noun in list(NOUNS)[::6]:
        if not colors("twemoji", noun):
            continue
        pixels = pixels_of(drawing("twemoji", noun, color))
        hues = [colorsys.rgb_to_hls(*pixel) for pixel in pixels]
        near = [abs((h - target.hue + 0.5) % 1 - 0.5) < 25 / 360 and s > 0.3 for h, _, s in hues]
        assert sum(near) > 0.35 * len(near), noun


def test_turning_keeps_black_and_white_and_other_hues() -> None:
    main, target = HLS(0.1, 0.5, 0.9), HLS(0.7, 0.6, 0.6)
    assert turned(HLS(0.0, 0.0, 0.0), main, target).lightness == 0
    assert turned(HLS(0.1, 1.0, 0.9), main, target).lightness == pytest.approx(1)
    green = HLS(0.4, 0.5, 0.9)
    assert turned(green, main, target) == green
    assert turned(main, main, target) == pytest.approx(target)


def test_turning_a_gray_drawing_leaves_what_has_a_hue() -> None:
    main, target = HLS(0.0, 0.6, 0.05), HLS(0.7, 0.6, 0.6)
    nose = HLS(0.95, 0.7, 0.8)
    assert turned(nose, main, target) == nose
    assert turned(main, main, target) == pytest.approx(target)


def test_a_drawing_whose_colour_would_not_be_seen_stays_as_it_is() -> None:
    fixed = next(noun for noun, found in drawings("twemoji").items() if not found.color)
    with pytest.raises(ValueError, match=f"cannot be drawn of {fixed} in twemoji style"):
        drawing("twemoji", fixed, "purple")
