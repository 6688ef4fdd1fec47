"""Whom the experiments learn: half within what mini can express, half outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdlearn.data.styles import BASE_STYLES
from sdlearn.evaluate.situations import class_word_of

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One character: a drawing style and a seed."""

    style: str
    seed: int

    @property
    def name(self) -> str:
        """Its short name, such as "lorelei-0"."""
        return f"{self.style}-{self.seed}"

    @property
    def within(self) -> bool:
        """Whether mini was trained on the style, so that a prompt could nearly describe it."""
        return self.style in BASE_STYLES

    @property
    def class_word(self) -> str:
        """What it is: person or creature."""
        return class_word_of(self.style)

    def pictures(self, number: int = 5) -> list[Picture]:
        """The character in different expressions, on different backgrounds."""
        from sdlearn.data.characters import draw_character

        return draw_character(self.style, self.seed, number)


def _pair(outside: tuple[str, int], within: tuple[str, int]) -> tuple[Subject, Subject]:
    return Subject(style=outside[0], seed=outside[1]), Subject(style=within[0], seed=within[1])


SUBJECTS: Sequence[Subject] = (
    *_pair(("lorelei", 0), ("micah", 3)),
    *_pair(("adventurer", 1), ("open-peeps", 5)),
    *_pair(("notionists", 2), ("toon-head", 4)),
    *_pair(("dylan", 1), ("personas", 2)),
    *_pair(("big-smile", 1), ("voxel-art", 6)),
    *_pair(("clay", 2), ("critters", 1)),
)


def subjects(number: int) -> Sequence[Subject]:
    """The first `number`; raises ValueError for more than there are."""
    if not 1 <= number <= len(SUBJECTS):
        raise ValueError(f"{number} subjects are asked for: give 1 to {len(SUBJECTS)}")
    return SUBJECTS[:number]
