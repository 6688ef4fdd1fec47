"""How much is trained and drawn in a comparison. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """What every recipe gets alike. Raises ValueError, naming the field, for bad values."""

    prompts: int = 10  # new situations the subject is drawn in
    seeds: int = 4  # pictures of each situation
    class_pictures: int = 12  # of the bare class, before and after
    train_steps: int = 200  # optimizer steps of every method
    train_batch_size: int = 4  # pictures of the subject a step
    prior_pictures: int = 48  # of the class, for prior preservation
    sampler_steps: int = 12  # a picture, with DPM-Solver++; mini's pictures hardly change beyond
    guidance_scale: float = 5.0  # how strongly the prompt pulls

    def __post_init__(self) -> None:
        for name in ("prompts", "train_steps", "train_batch_size", "sampler_steps"):
            self._at_least(name, 1)
        for name in ("seeds", "class_pictures", "prior_pictures"):
            self._at_least(name, 2)

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise ValueError(f"{name} is {getattr(self, name)}: give at least {least}")
