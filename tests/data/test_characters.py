"""The character maker: one character, true captions, every subject style."""

import numpy as np
import pytest

from sdlearn.data.characters import STYLES, draw_character, style_choices
from sdlearn.data.subjects import SUBJECT_STYLES


@pytest.mark.parametrize("style", STYLES)
def test_every_style_draws_a_character_in_different_scenes(style: str) -> None:
    pictures = draw_character(style, 1, number=5, size=48)
    assert len({picture.attributes["background"] for picture in pictures}) == 5
    assert len({picture.attributes["expression"] for picture in pictures}) > 1
    assert len({picture.image.tobytes() for picture in pictures}) == 5
    assert all(style in picture.text and style in picture.text_ja for picture in pictures)


@pytest.mark.parametrize("style", SUBJECT_STYLES)
def test_only_expression_and_background_change_between_pictures(style: str) -> None:
    same = [
        draw_character(style, 4, number=1, size=48, expression=e, background="white")[0]
        for e in SUBJECT_STYLES[style].expression
    ]
    pixels = np.stack([np.asarray(picture.image).astype(int) for picture in same])
    changed = (np.ptp(pixels, axis=0).max(axis=-1) > 40).mean()
    assert 0 < changed < 0.12


def test_attributes_are_drawn_and_said() -> None:
    plain = draw_character("adventurer", 2, number=1, size=48, background="white")[0]
    dark = draw_character(
        "adventurer", 2, number=1, size=48, background="white", glasses="sunglasses"
    )[0]
    assert "with sunglasses" in dark.text
    assert np.asarray(dark.image).mean() < np.asarray(plain.image).mean()


def test_values_that_cannot_be_drawn_are_refused_with_those_that_can() -> None:
    with pytest.raises(ValueError, match="hair_color 'beige' cannot be drawn in lorelei style"):
        draw_character("lorelei", 0, hair_color="beige")
    assert "surprised" in style_choices("lorelei")["expression"]
