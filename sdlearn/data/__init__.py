"""Pictures and captions: folders of pictures, the picture world, and what is cached of them."""

from sdlearn.data.folder import Picture, read_pictures, to_pixel_values, write_pictures
from sdlearn.data.png import read_generated, save_generated

__all__ = [
    "Picture",
    "read_generated",
    "read_pictures",
    "save_generated",
    "to_pixel_values",
    "write_pictures",
]
