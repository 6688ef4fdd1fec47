"""A folder of pictures with captions, in the Hugging Face `imagefolder` convention.

    my-character/
        0000.png
        0001.png
        metadata.jsonl      {"file_name": "0000.png", "text": "a smiling person", ...} a line

`metadata.jsonl` may be missing: then captions are read as kohya's trainers do (see
`sdlearn.data.kohya`), or are empty. Hidden files and files that are no pictures are left alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from sdlearn.data.image_files import (
    READ_SUFFIXES,
    REFUSED_SUFFIXES,
    SMALLEST_SIDE,
    as_rgb,
    is_picture,
    read_image,
)
from sdlearn.data.kohya import training_folders
from sdlearn.data.metadata import METADATA_NAME, FolderMetadata, metadata_line
from sdlearn.models.writing import check_utf8, prepare_folder, replaced_when_complete

if TYPE_CHECKING:
    import torch

NO_PICTURES = {".txt", ".caption", ".json", ".jsonl", ".npz", ".csv", ".safetensors", ".md"}


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
    return [
        Picture(image=read_image(path, smallest_side), path=path, **known.fields(path.name))
        for known, path in listed_pictures(folder)
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


def listed_pictures(folder: str | Path) -> list[tuple[FolderMetadata, Path]]:
    """List the pictures to train on, each with what says its caption, without reading them.

    A folder without pictures of its own may hold kohya's, such as `40_sks dog/`: a picture there is
    listed as often as it is to be seen more than others. Raises as `read_pictures`.
    """
    listed = []
    for inner, times in training_folders(Path(folder).expanduser()):
        paths = picture_paths(inner)
        known = FolderMetadata(inner, [path.name for path in paths])
        listed += [(known, path) for path in paths] * times
    return listed


def picture_paths(folder: Path) -> list[Path]:
    """List the picture files of a folder, by name; raises ValueError where it has none."""
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}: check its name")
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file: give the folder that holds the pictures")
    seen = sorted((path for path in folder.iterdir() if not _is_hidden(path)), key=lambda p: p.name)
    files = [path for path in seen if path.is_file()]
    for path in files:
        _refuse_unread(path)
    pictures = [path for path in files if path.suffix.lower() in READ_SUFFIXES]
    folders = [path for path in seen if path.is_dir()]
    if not pictures:
        names = ", ".join(path.name for path in folders)
        only = f", only the folders {names}: give one of those" if names else ": put some in"
        raise ValueError(f"{folder} holds no pictures (PNG, JPEG, WebP, BMP, GIF, TIFF){only}")
    left_out = [path.name for path in folders if _holds_pictures(path)]
    if left_out:
        warnings.warn(
            f"pictures in folders within {folder} are left out: {', '.join(left_out[:5])}",
            stacklevel=2,
        )
    return pictures


def _refuse_unread(path: Path) -> None:
    """Raise ValueError for a picture that would be left out, or whose name cannot be written."""
    suffix = path.suffix.lower()
    if suffix in REFUSED_SUFFIXES:
        raise ValueError(
            f"{path} is a {suffix[1:].upper()} file, which cannot be read here:"
            " save it as PNG or JPEG"
        )
    if suffix in READ_SUFFIXES:
        check_utf8(path.name, f"the name of a picture in {path.parent}")
    elif suffix not in NO_PICTURES and is_picture(path):
        raise ValueError(
            f"{path} is a picture by its content and not by its name: give it the ending of its"
            " format, such as .png"
        )


def _holds_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in READ_SUFFIXES for path in folder.iterdir())


def _is_hidden(path: Path) -> bool:
    """Whether a system or an editor put it there (.DS_Store, .ipynb_checkpoints, __MACOSX)."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def _refuse_other_pictures(folder: Path, names: set[str]) -> None:
    """Pictures of an earlier, longer run would mix with these ones."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in READ_SUFFIXES and not _is_hidden(path) and path.name not in names:
            raise ValueError(f"{folder} already holds {path.name}: choose an empty folder")
