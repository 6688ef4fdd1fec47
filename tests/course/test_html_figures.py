"""Pictures and sliders as plain HTML, for decks and pages without a kernel."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from sdlearn.course.html_figures import before_after_slider, picture_row, static_slider


def plain(shade: int) -> np.ndarray:
    return np.full((8, 8, 3), shade, dtype=np.uint8)


def pictures_in(text: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]*)"', text)
    files = [io.BytesIO(base64.b64decode(data)) for data in found]
    return [np.asarray(Image.open(file)) for file in files]


def test_a_slider_holds_the_picture_of_each_value_in_order():
    text = static_slider(plain, "shade", [0, 90, 255]).text
    assert [picture[0, 0, 0] for picture in pictures_in(text)] == [0, 90, 255]
    assert 'min="0" max="2" value="0"' in text
    assert re.findall(r'alt="(\d+)"', text) == ["0", "90", "255"]


def test_a_slider_shows_only_its_first_picture_and_says_its_value():
    text = static_slider(plain, "shade", [0, 90, 255], start=-1).text
    assert re.findall(r'<img class="shown"[^>]*alt="(\d+)"', text) == ["255"]
    assert "<output>255</output>" in text


def test_a_slider_needs_nothing_from_elsewhere():
    text = static_slider(plain, "shade", [1, 2]).text
    assert "http" not in text
    assert "<script" not in text


def test_a_slider_without_values_or_a_start_beyond_them_is_refused():
    with pytest.raises(ValueError, match="shade has no values"):
        static_slider(plain, "shade", [])
    with pytest.raises(IndexError):
        static_slider(plain, "shade", [1, 2], start=2)


def test_a_before_after_slider_goes_from_one_row_to_the_other():
    first, *middle, last = pictures_in(before_after_slider([plain(1)] * 2, [plain(9)] * 2).text)
    assert first.shape == (8, 16, 3)
    assert (first == 1).all()
    assert (last == 9).all()
    half = middle[4]
    assert (half[:, [0, 3, 8, 11]] == 9).all()
    assert (half[:, [4, 7, 12, 15]] == 1).all()


def test_a_before_after_slider_needs_pairs():
    with pytest.raises(ValueError, match="1 pictures before and 2 after"):
        before_after_slider([plain(1)], [plain(1)] * 2)
    with pytest.raises(ValueError, match="differ in size"):
        before_after_slider([plain(1)], [plain(1)[:4]])


def test_a_row_shows_every_picture_above_its_title_and_takes_titles_as_text():
    text = picture_row([plain(1), plain(2)], ["before", "<after>"]).text
    assert [picture[0, 0, 0] for picture in pictures_in(text)] == [1, 2]
    assert re.findall("<figcaption>(.*?)</figcaption>", text) == ["before", "&lt;after&gt;"]


def test_only_what_is_enlarged_shows_its_pixels():
    assert "pixelated" in picture_row([plain(1)], height=9).text
    assert "pixelated" not in picture_row([plain(1)], height=8).text


def test_a_row_needs_pictures_and_as_many_titles():
    with pytest.raises(ValueError, match="no pictures"):
        picture_row([])
    with pytest.raises(ValueError, match="1 pictures and 2 titles"):
        picture_row([plain(1)], ["a", "b"])


def test_a_page_is_shown_as_such_and_its_text_form_is_short():
    row = picture_row([plain(1)])
    assert row._repr_html_() == row.text
    assert len(repr(row)) < 60
