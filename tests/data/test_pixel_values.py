"""Pictures as tensors."""

import pytest
import torch
from PIL import Image

from sdlearn.data import to_pixel_values

RED = (255, 0, 0)


def test_pixel_values_run_from_minus_one_to_one_with_channels_first():
    pixel_values = to_pixel_values(Image.new("RGB", (40, 40), (255, 0, 51)), 8)
    assert pixel_values.shape == (3, 8, 8)
    assert pixel_values.dtype == torch.float32
    torch.testing.assert_close(pixel_values[:, 0, 0], torch.tensor([1.0, -1.0, 51 / 127.5 - 1]))


def test_pixel_values_are_cut_around_the_centre():
    wide = Image.new("RGB", (120, 40), "blue")
    wide.paste(RED, (40, 0, 80, 40))
    torch.testing.assert_close(
        to_pixel_values(wide, 40), to_pixel_values(Image.new("RGB", (40, 40), RED), 40)
    )
    assert to_pixel_values(wide, (20, 60)).shape == (3, 20, 60)


def test_pixel_values_of_no_size_are_refused():
    with pytest.raises(ValueError, match="has no pixels"):
        to_pixel_values(Image.new("RGB", (40, 40)), (8, 0))
