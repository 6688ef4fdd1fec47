"""How large an experiment is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Size:
    """What an experiment is run on. Raises ValueError, naming the field, for bad values."""

    subjects: int = 12  # of `SUBJECTS`; every other one is drawn in a style that mini knows
    prompts: int = 10  # new situations each subject is drawn in
    seeds: int = 4  # pictures of each situation
    class_pictures: int = 12  # of the bare class, before and after
    train_steps: int = 200  # optimizer steps of every method
    train_batch_size: int = 4  # pictures of the subject a step
    prior_pictures: int = 48  # of the class, for prior preservation
    sampler_steps: int = 12  # a picture, with DPM-Solver++; mini's pictures hardly change beyond
    guidance_scale: float = 5.0  # how strongly the prompt pulls
    effort: float = 1.0  # share of what a claim trains or draws besides all that, in (0, 1]

    def __post_init__(self) -> None:
        for name in ("subjects", "prompts", "train_steps", "train_batch_size", "sampler_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least 1")
        for name in ("seeds", "class_pictures", "prior_pictures"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least 2")
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
