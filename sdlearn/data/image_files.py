"""Picture files: which are read, how large they may be, and how they become upright RGB.

Only the formats in `FORMATS` are ever opened, by content and whatever a file is called: of others
(EPS), Pillow would start programs to read them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    from sdlearn.data.buckets import Size

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow's names
READ_SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
REFUSED_SUFFIXES = {  # pictures all the same: they are named, never left out without a word
    *(".heic", ".heif", ".avif", ".svg", ".jxl", ".jp2", ".j2k", ".psd", ".xcf", ".kra", ".clip"),
    *(".tga", ".ico", ".icns", ".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".dds", ".exr", ".hdr"),
    *(".eps", ".ps", ".ai", ".apng", ".dib", ".qoi", ".cr2", ".cr3", ".nef", ".arw", ".dng"),
    *(".orf", ".rw2", ".raf"),
}
SMALLEST_SIDE = 32  # pixels; anything smaller is an icon or a mistake
LARGEST_PIXELS = 128_000_000  # more than a phone's 108 megapixels; as RGB 384 MB
READ_ERRORS = (  # what Pillow raises for broken files
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError),
    *(AttributeError, OverflowError, struct.error, zlib.error, Image.DecompressionBombError),
)
ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lie on their side
UPRIGHT = {  # the tag's value -> what turns the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
TURNING_TEXTS = (b"XML:com.adobe.xmp", b"Raw profile type exif")  # may say how a picture lies


@contextmanager
def opened_image(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    """Open a picture file, or the bytes of one called `path`; decode it only as it is asked for.

    Raises ValueError, naming the file, for what is no picture or a broken one, and for more than
    `LARGEST_PIXELS`.
    """
    try:
        source = BytesIO(_without_texts(path.read_bytes() if data is None else data))
        with Image.open(source, formats=FORMATS) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} has more than {LARGEST_PIXELS / 1e6:.0f} million pixels: scale it down"
        ) from error
    except READ_ERRORS as error:
        raise _unreadable(path, error) from error


def read_image(
    path: Path, smallest_side: int = SMALLEST_SIDE, data: bytes | None = None
) -> Image.Image:
    """Read one picture as upright RGB, from a file or from the bytes of one called `path`.

    Raises ValueError, naming the file, as `opened_image`, and for a picture that is animated or has
    a side under `smallest_side` pixels.
    """
    upright = None
    with opened_image(path, data) as image:
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        if frames == 1:
            image.load()
            turn = UPRIGHT.get(_orientation(image))
            upright = as_rgb(image if turn is None else image.transpose(turn))
    if upright is None:
        raise ValueError(
            f"{path} has {frames} frames: animated pictures cannot be learnt from,"
            " save one frame as PNG"
        )
    if min(upright.size) < smallest_side:
        raise ValueError(
            f"{path} is {upright.width} x {upright.height} pixels: use a picture"
            f" of at least {smallest_side} x {smallest_side}"
        )
    return upright


def upright_size(path: Path, data: bytes | None = None) -> Size:
    """Return height and width of a file, or of its bytes, without decoding it (but for TIFF).

    Raises ValueError, naming the file, for what is no picture.
    """
    with opened_image(path, data) as image:
        if image.format == "TIFF":  # versions of Pillow differ in when they turn it
            image.load()
        # asking a PNG for EXIF that is not in front would decode it
        known = image.format != "PNG" or "exif" in image.info
        lies = known and _orientation(image) >= 5
        width, height = image.size
    return (width, height) if lies else (height, width)


def as_rgb(image: Image.Image) -> Image.Image:
    """Turn a picture of any mode into 8-bit RGB; what is transparent becomes white.

    Raises ValueError for a mode that has no fixed white, such as floating point.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers: save it with 8 bits a channel")
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip at 255
        grey = np.asarray(image).astype(np.int64) // 257
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def is_picture(path: Path) -> bool:
    """Whether a file holds a picture that could be read, whatever it is called."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except READ_ERRORS:
        return False


def _orientation(image: Image.Image) -> int:
    """How a picture lies: a number from 1, upright, to 8; broken EXIF says nothing."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except READ_ERRORS:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _unreadable(path: Path, error: Exception) -> ValueError:
    known = not isinstance(error, UnidentifiedImageError)
    reason = error if known else "it is in no format that is known"
    return ValueError(
        f"{path} cannot be read as a picture ({reason}): save it again as PNG or JPEG,"
        " or take it out"
    )


def _without_texts(data: bytes) -> bytes:
    """A PNG without its texts, but for those that may turn it: Pillow refuses long ones."""
    if not data.startswith(PNG_START):
        return data
    kept, place = [PNG_START], len(PNG_START)
    while place + 8 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        end = place + 12 + length
        is_text = data[place + 4 : place + 8] in PNG_TEXTS
        if not is_text or data[place + 8 : end].startswith(TURNING_TEXTS):
            kept.append(data[place:end])
        place = end
    return b"".join(kept)
