"""A folder of pictures with captions, in the Hugging Face `imagefolder` convention.

    my-character/
        0000.png
        0001.png
        metadata.jsonl      {"file_name": "0000.png", "text": "a smiling person", ...} a line

`metadata.jsonl` may be missing: then every caption is empty. Hidden files, files that are no
pictures and sub-folders are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from sdlearn.data.png import prepare_folder, replaced_when_complete

if TYPE_CHECKING:
    import torch

METADATA_NAME = "metadata.jsonl"
READ_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
REFUSED_SUFFIXES = {".heic", ".heif", ".avif", ".svg"}  # pictures all the same: say so, never skip
SMALLEST_SIDE = 32  # pixels; anything smaller is an icon or a mistake
TEXT_FIELDS = ("text", "text_ja", "license", "author", "source")


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
    paths = _picture_paths(folder)
    metadata = _read_metadata(folder / METADATA_NAME, [path.name for path in paths])
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
        _metadata_line(path.name, picture) for path, picture in zip(paths, pictures, strict=True)
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


def read_image(path: Path, smallest_side: int = SMALLEST_SIDE) -> Image.Image:
    """Read one picture file as upright RGB; raises ValueError, naming the file, as above."""
    try:
        with Image.open(path) as image:
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            upright = as_rgb(ImageOps.exif_transpose(image)) if frames == 1 else None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} cannot be read as a picture ({error}): save it again as PNG or JPEG,"
            " or take it out of the folder"
        ) from error
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


def _picture_paths(folder: Path) -> list[Path]:
    """The picture files of a folder, by name; refuses a folder that has none."""
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


def _read_metadata(path: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read `metadata.jsonl` as file name -> fields; it must name each of `names` once."""
    if not path.exists():
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: save it as UTF-8") from error
    metadata: dict[str, dict[str, Any]] = {}
    known = set(names)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        file_name, fields = _parse_line(line, f"{path}, line {number}", known)
        if file_name in metadata:
            raise ValueError(f"{path}, line {number}: {file_name} has a line already: keep one")
        metadata[file_name] = fields
    missing = [name for name in names if name not in metadata]
    if missing:
        raise ValueError(
            f"{path} has no line for {missing[0]}: add one, or remove {path.name} to train"
            " without captions"
        )
    return metadata


def _parse_line(line: str, where: str, names: set[str]) -> tuple[str, dict[str, Any]]:
    """Read one line of `metadata.jsonl`; `where` names file and line in an error."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error.msg} at character {error.pos + 1})") from error
    if not isinstance(entry, dict):
        raise ValueError(f'{where}: write one object a line, such as {{"file_name": "0000.png"}}')
    name = entry.get("file_name")
    if not isinstance(name, str):
        raise ValueError(f'{where}: "file_name" is missing: name the picture the line is about')
    if "/" in name or "\\" in name:
        raise ValueError(f'{where}: "{name}" leaves the folder: name a picture beside this file')
    if name not in names:
        raise ValueError(f'{where}: there is no picture "{name}" in the folder: mend the name')
    return name, _known_fields(entry, where)


def _known_fields(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Take the fields of a `Picture` out of a line and check their types; others are left out."""
    fields = {name: entry[name] for name in (*TEXT_FIELDS, "attributes") if name in entry}
    for name in TEXT_FIELDS:
        if not isinstance(fields.get(name, ""), str):
            raise ValueError(f'{where}: "{name}" must be text in quotes')
    attributes = fields.get("attributes", {})
    if not isinstance(attributes, dict) or not _all_text(attributes.values()):
        raise ValueError(f'{where}: "attributes" must be an object of texts, {{"hair": "pixie"}}')
    return fields


def _all_text(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _metadata_line(file_name: str, picture: Picture) -> str:
    entry: dict[str, Any] = {"file_name": file_name}
    entry |= {name: getattr(picture, name) for name in TEXT_FIELDS}
    entry["attributes"] = dict(picture.attributes)
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _refuse_other_pictures(folder: Path, names: set[str]) -> None:
    """Pictures of an earlier, longer run would mix with these ones."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in READ_SUFFIXES and not _is_hidden(path) and path.name not in names:
            raise ValueError(f"{folder} already holds {path.name}: choose an empty folder")
