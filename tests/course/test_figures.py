"""Sheets of pictures."""

import numpy as np
import pytest

from sdlearn.course.figures import show_rows


def picture(shade: int) -> np.ndarray:
    return np.full((4, 4, 3), shade, dtype=np.uint8)


def test_a_row_has_its_name_and_its_pictures_in_order():
    figure = show_rows(
        {"one": [picture(1), picture(2)], "two": [picture(3), picture(4)]}, ["a", "b"]
    )
    shown = [int(axis.images[0].get_array()[0, 0, 0]) for axis in figure.axes]
    assert shown == [1, 2, 3, 4]
    assert [[text.get_text() for text in axis.texts] for axis in figure.axes] == [
        ["one"],
        [],
        ["two"],
        [],
    ]
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "", ""]


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one: 2, two: 1"):
        show_rows({"one": [picture(1), picture(2)], "two": [picture(3)]})
    with pytest.raises(ValueError, match="no pictures"):
        show_rows({})
