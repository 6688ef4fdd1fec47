"""How large an experiment is, and whom it learns: half of them within what mini can express."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sdlearn.evaluate.compare import CompareConfig, Subject


@dataclass(frozen=True, kw_only=True)
class Size(CompareConfig):
    """What an experiment is run on. Raises ValueError, naming the field, for bad values."""

    subjects: int = 12  # of `SUBJECTS`; every other one is drawn in a style that mini knows
    effort: float = 1.0  # share of what a claim trains or draws besides all that, in (0, 1]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("subjects", 1)
        if not 0 < self.effort <= 1:
            raise ValueError(f"effort is {self.effort}: give a share above 0, up to 1")

    def part(self, number: int, least: int = 1) -> int:
        """`number` at full effort, or its share, but no fewer than `least`."""
        return max(least, round(number * self.effort))

    def with_subjects(self, most: int) -> Size:
        """The same with fewer subjects, for an experiment with many runs a subject."""
        return replace(self, subjects=min(self.subjects, most))


FULL = Size()
SMALL = Size(
    subjects=1,
    prompts=2,
    seeds=2,
    class_pictures=4,
    train_steps=20,
    prior_pictures=8,
    sampler_steps=8,
    effort=0.1,
)
SIZES = {"full": FULL, "small": SMALL}


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
    """Return the first `number`; raise ValueError for more than there are."""
    if not 1 <= number <= len(SUBJECTS):
        raise ValueError(f"{number} subjects are asked for: give 1 to {len(SUBJECTS)}")
    return SUBJECTS[:number]
