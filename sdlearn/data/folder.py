"""A folder of pictures with captions, in the Hugging Face `imagefolder` convention.

    my-character/
        0000.png
        0001.png
        metadata.jsonl      {"file_name": "0000.png", "text": "a smiling person", ...} a line

`metadata.jsonl` may be missing: then every caption is empty. Hidden files, files that are no
pictures and sub-folders are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sdlearn.data.metadata import METADATA_NAME, metadata_line, read_metadata
from sdlearn.models.writing import prepare_folder, replaced_when_complete

if TYPE_CHECKING:
    import torch

READ_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
REFUSED_SUFFIXES = {".heic", ".heif", ".avif", ".svg"}  # pictures all the same: say so, never skip
SMALLEST_SIDE = 32  # pixels; anything smaller is an icon or a mistake
READ_ERRORS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)  # Pillow's


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture with what is known of it."""

    image: Image.Image  # RGB, upright
    text: str = ""  # caption in English
    text_ja: str = ""  # caption in Japanese
    license: str = ""  # SPDX identifier, such as CC0-1.0
    author: str = ""
    source: str = ""  # address of the original
    attributes: Mapping[str, str] = field(default_factory=dict)  # such as {"hair": "pixie"}
    path: Path | None = None  # file it was read from


def read_pictures(folder: str | Path, *, smallest_side: int = SMALLEST_SIDE) -> list[Picture]:
    """Read all pictures of a folder, sorted by file name, with their captions.

    Every picture comes back as upright RGB at its own size: EXIF rotation is applied, transparency
    is laid on white, 16-bit grey is scaled to 8 bits. All files are checked before this returns.

    Raises FileNotFoundError where the folder is missing, and ValueError, naming the file, for a
    folder without pictures, a picture that is broken, animated or has a side under `smallest_side`
    pixels, and a `metadata.jsonl` that does not fit its pictures.
    """
    folder = Path(folder).expanduser()
    paths = picture_paths(folder)
    metadata = read_metadata(folder / METADATA_NAME, [path.name for path in paths])
    return [
        Picture(image=read_image(path, smallest_side), path=path, **metadata.get(path.name, {}))
        for path in paths
    ]


def write_pictures(folder: str | Path, pictures: Sequence[Picture]) -> list[Path]:
    """Write pictures as `0000.png`, `0001.png`, ... and their captions as `metadata.jsonl`.

    Each file appears complete or not at all, and the captions come last. Returns the pictures'
    paths. Raises ValueError for no pictures and for a folder that already holds other pictures,
    OSError for a folder that cannot be written to.
    """
    if not pictures:
        raise ValueError(f"there are no pictures to write to {folder}: give at least one")
    folder = prepare_folder(folder)
    paths = [folder / f"{index:04d}.png" for index in range(len(pictures))]
    _refuse_other_pictures(folder, {path.name for path in paths})
    (folder / METADATA_NAME).unlink(missing_ok=True)
    for path, picture in zip(paths, pictures, strict=True):
        with replaced_when_complete(path) as unfinished:
            picture.image.save(unfinished, format="PNG")
    lines = [
        metadata_line(path.name, picture) for path, picture in zip(paths, pictures, strict=True)
    ]
    with replaced_when_complete(folder / METADATA_NAME) as unfinished:
        unfinished.write_text("".join(lines), encoding="utf-8")
    return paths


def to_pixel_values(image: Image.Image, size: int | tuple[int, int]) -> torch.Tensor:
    """Turn a picture into `pixel_values`: (3, H, W), float32, in [-1, 1].

    `size` is pixels, or (height, width) in pixels. The picture is scaled with a Lanczos filter
    until it covers the size and cut around its centre. Raises ValueError for a size under 1.
    """
    import torch

    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"the size {height} x {width} has no pixels: give at least 1 x 1")
    fitted = ImageOps.fit(as_rgb(image), (width, height), method=Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(fitted))  # (H, W, 3)
    return pixels.permute(2, 0, 1).float() / 127.5 - 1  # (3, H, W)


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


def read_image(
    path: Path, smallest_side: int = SMALLEST_SIDE, data: bytes | None = None
) -> Image.Image:
    """Read one picture as upright RGB, from a file or from the bytes of one called `path`.

    Raises ValueError, naming the file, as `read_pictures`.
    """
    try:
        with Image.open(path if data is None else BytesIO(data)) as image:
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            upright = as_rgb(ImageOps.exif_transpose(image)) if frames == 1 else None
    except READ_ERRORS as error:
        raise unreadable(path, error) from error
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


def unreadable(path: Path, error: Exception) -> ValueError:
    """Make the error for a file that is no picture, or a broken one."""
    known = not isinstance(error, UnidentifiedImageError)
    reason = error if known else "it is in no format that is known"
    return ValueError(
        f"{path} cannot be read as a picture ({reason}): save it again as PNG or JPEG,"
        " or take it out"
    )


def picture_paths(folder: Path) -> list[Path]:
    """List the picture files of a folder, by name; raises ValueError where it has none."""
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}: check its name")
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file: give the folder that holds the pictures")
    seen = sorted((path for path in folder.iterdir() if not _is_hidden(path)), key=lambda p: p.name)
    files = [path for path in seen if path.is_file()]
    for path in files:
        if path.suffix.lower() in REFUSED_SUFFIXES:
            raise ValueError(
                f"{path} is a {path.suffix[1:].upper()} file, which cannot be read here:"
                " save it as PNG or JPEG"
            )
    pictures = [path for path in files if path.suffix.lower() in READ_SUFFIXES]
    if pictures:
        return pictures
    folders = ", ".join(path.name for path in seen if path.is_dir())
    only = f", only the folders {folders}: give one of those" if folders else ": put some in"
    raise ValueError(f"{folder} holds no pictures (PNG, JPEG, WebP, BMP, GIF, TIFF){only}")


def _is_hidden(path: Path) -> bool:
    """Whether a system or an editor put it there (.DS_Store, .ipynb_checkpoints, __MACOSX)."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def _refuse_other_pictures(folder: Path, names: set[str]) -> None:
    """Pictures of an earlier, longer run would mix with these ones."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in READ_SUFFIXES and not _is_hidden(path) and path.name not in names:
            raise ValueError(f"{folder} already holds {path.name}: choose an empty folder")
