"""Folders as kohya's trainers have them, read as they read them.

pictures/
    40_sks dog/         seen 40 times where another folder's are seen once; "sks dog" if there
        a.png           is no caption
        a.txt           or a.caption: the caption, its first line
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from sdlearn.data.image_files import READ_SUFFIXES

CAPTION_SUFFIXES = (".txt", ".caption")
REPEATS = re.compile(r"(\d+)_(.*\S.*)")


def training_folders(folder: Path) -> list[tuple[Path, int]]:
    """Return the folders with the pictures to train on, and how often each is to be seen.

    That is `folder` itself, unless it holds no pictures but folders such as `40_sks dog`. Their
    numbers are divided by what they share.
    """
    if not folder.is_dir() or any(
        path.suffix.lower() in READ_SUFFIXES for path in folder.iterdir()
    ):
        return [(folder, 1)]
    found = [(path, REPEATS.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    repeats = {path: int(match[1]) for path, match in found if match and path.is_dir()}
    repeats = {path: times for path, times in repeats.items() if times}
    if not repeats:
        return [(folder, 1)]
    shared = math.gcd(*repeats.values())
    names = ", ".join(path.name for path in repeats)
    warnings.warn(
        f"{folder} is read as kohya's trainers do: {names}, seen as often as the numbers say",
        stacklevel=2,
    )
    return [(path, times // shared) for path, times in repeats.items()]


def words_of(folder: Path) -> str:
    """Return what a folder's name says of its pictures: "sks dog" of `40_sks dog`, else nothing."""
    match = REPEATS.fullmatch(folder.resolve().name)
    return match[2].strip() if match else ""


def has_text_files(folder: Path, names: Sequence[str]) -> bool:
    """Whether text files beside the pictures hold their captions, which is said in a line."""
    files = [path for name in names if (path := _text_file(folder / name)) is not None]
    if files:
        is_bare = len(files) < len(names) and not words_of(folder)
        without = "; a picture without one has none" if is_bare else ""
        warnings.warn(
            f"captions are read from text files beside the pictures, such as {files[0]}{without}",
            stacklevel=2,
        )
    return bool(files)


def read_text_file(picture: Path) -> str:
    """Read a picture's caption: the first line of the text file beside it; "" where there is none.

    Raises ValueError, naming the file, where it is not UTF-8.
    """
    path = _text_file(picture)
    if path is None:
        return ""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: save it as UTF-8") from error
    return lines[0] if lines else ""


def _text_file(picture: Path) -> Path | None:
    files = [picture.with_suffix(suffix) for suffix in CAPTION_SUFFIXES]
    return next((path for path in files if path.is_file()), None)
