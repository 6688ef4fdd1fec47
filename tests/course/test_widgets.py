"""Widgets: a slider's new value changes the picture, and a static sheet stays behind."""

import io

import numpy as np
import pytest
from PIL import Image

from sdlearn.course.widgets import before_and_after, explore, sliders, static_sheet, to_png

SETTINGS = {"red": [0, 100, 200], "blue": range(0, 256, 51)}


def render(red, blue):
    return np.full((8, 8, 3), (red, 0, blue), dtype=np.uint8)


def color_of(png: bytes) -> tuple:
    return Image.open(io.BytesIO(png)).getpixel((0, 0))


def test_moving_a_slider_redraws_the_picture_and_draws_nothing_twice():
    calls = []

    def counted(red, blue):
        calls.append((red, blue))
        return render(red, blue)

    picture, controls = sliders(counted, SETTINGS).children
    assert color_of(picture.value) == (100, 0, 153)
    red, blue = controls.children
    red.value = 200
    assert color_of(picture.value) == (200, 0, 153)
    blue.value = 0
    assert color_of(picture.value) == (200, 0, 0)
    blue.value = 153
    assert calls == [(100, 153), (200, 153), (200, 0)]


def test_the_sheet_runs_from_the_first_setting_to_the_last():
    figure = static_sheet(render, SETTINGS, 4)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[0] == "red 0\nblue 0"
    assert titles[3] == "red 200\nblue 255"
    assert len(explore(render, {"red": [1], "blue": [2]}).axes) == 1


def test_the_seam_lies_where_the_slider_says():
    dark, light = np.zeros((4, 10, 3), np.uint8), np.full((4, 10, 3), 255, np.uint8)
    shown = [axis.get_images()[0].get_array() for axis in before_and_after(dark, light).axes]
    assert [int((row[0, :, 0] == 0).sum()) for row in shown] == [0, 2, 5, 8, 10]


def test_small_pictures_are_enlarged_to_be_seen():
    assert Image.open(io.BytesIO(to_png(render(1, 2)))).size == (320, 320)


def test_a_setting_without_values_is_refused():
    with pytest.raises(ValueError, match="setting red has no values"):
        explore(render, {"red": [], "blue": [1]})
