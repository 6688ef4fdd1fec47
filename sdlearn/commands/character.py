"""`sdlearn character`: draw a character of your own, ready to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sdlearn.data.folder import Picture, read_pictures, write_pictures
from sdlearn.data.image_files import SMALLEST_SIDE
from sdlearn.models.writing import one_writer, prepare_folder

LARGEST_SIDE = 2048  # pixels
MOST_PICTURES = 10_000  # all are in memory at once
OWN_OPTIONS = ("style", "seed", "number", "size")


@dataclass(frozen=True, kw_only=True)
class Character:
    """Draw one character in different expressions and on different backgrounds.

    The folder holds pictures, captions in English and Japanese, and the style's licence and artist.
    The same seed and attributes give the same character.
    """

    output: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """where the pictures go; made if it is not there"""
    style: str = "lorelei"  # drawing style; an unknown one lists them all. Mini never saw this one
    seed: int = 0  # which character; whatever no attribute says follows from it
    number: int = 5  # pictures
    size: int = 256  # pixels, height and width; training scales them to the model's size
    attributes: tuple[str, ...] = ()  # of the character, such as: glasses=round hair=long

    def run(self) -> None:
        """Check, draw, and write pictures and captions."""
        if self.number < 1:
            raise ValueError(f"--number is {self.number}: give at least 1")
        if self.number > MOST_PICTURES:
            raise ValueError(f"--number is {self.number}: give at most {MOST_PICTURES}")
        if not SMALLEST_SIDE <= self.size <= LARGEST_SIDE:
            raise ValueError(
                f"--size is {self.size}: give {SMALLEST_SIDE} to {LARGEST_SIDE} pixels"
            )
        attributes = parse_attributes(self.attributes)
        from sdlearn.data.characters import draw_character

        prepare_folder(self.output)
        pictures = draw_character(self.style, self.seed, self.number, self.size, **attributes)
        with one_writer(self.output.expanduser()) as folder:
            self._refuse_others(pictures)
            paths = write_pictures(folder, pictures)
        for path, picture in zip(paths, pictures, strict=True):
            print(f"{path}: {picture.text}")

    def _refuse_others(self, pictures: Sequence[Picture]) -> None:
        """Raise ValueError where pictures would be written over that are not of this character.

        The captions in `metadata.jsonl` tell, which follow from style, seed and attributes; of a
        run that was killed before it wrote them, the pixels.
        """
        folder = self.output.expanduser()
        try:
            held = {p.path.name: p for p in read_pictures(folder) if p.path is not None}
        except ValueError as error:
            if any(folder.glob("[0-9]*.png")):
                raise ValueError(f"{error}; or choose an empty folder") from error
            return
        for number, picture in enumerate(pictures):
            earlier = held.get(f"{number:04d}.png")
            if earlier is not None and not _is_same(earlier, picture):
                raise ValueError(
                    f"{folder} holds {number:04d}.png of another origin, which would be written "
                    "over: choose an empty folder"
                )


def _is_same(one: Picture, other: Picture) -> bool:
    said = [(picture.text, dict(picture.attributes)) for picture in (one, other)]
    return said[0] == said[1] or one.image.tobytes() == other.image.tobytes()


def parse_attributes(words: Sequence[str]) -> dict[str, str]:
    """Read `["hair=long", ...]` as attributes; raises ValueError for a word that is none."""
    attributes: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise ValueError(f"--attributes {word}: write name=value, such as glasses=round")
        if name in OWN_OPTIONS:
            raise ValueError(f"--attributes {word}: give --{name} {value} instead")
        if name in attributes:
            raise ValueError(f"--attributes {word}: {name} is {attributes[name]} already")
        attributes[name] = value
    return attributes
