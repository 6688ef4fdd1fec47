"""What `sdlearn evaluate mini` can be told. Imports nothing heavy."""

from dataclasses import dataclass, fields
from math import inf


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How many pictures mini is measured on, and how they are drawn."""

    number: int = 300  # prompts drawn in each language; the other measures shrink with it
    steps: int = 20  # sampler steps a picture
    guidance_scale: float = 5.0  # how strongly the prompt pulls; 1 is no guidance
    all: bool = False  # look for near-copies among all training pictures, not the first 5000
    batch_size: int = 10  # pictures drawn at a time
    threads: int = 2  # processor cores that the time of one picture is taken on
    workers: int | None = None  # processes that render real pictures; None: one a core

    @property
    def real_pictures(self) -> int:
        """Held-out real pictures for VAE, retrieval, reader and threshold: 500 for 300 prompts."""
        return -(-5 * self.number // 3)

    @property
    def copies_searched(self) -> int:
        """Drawn pictures that are looked for in the training pictures: 200 for 300 prompts."""
        return -(-2 * self.number // 3)

    def check(self) -> None:
        """Raise ValueError for numbers that nothing can be measured with."""
        for name in ("number", "steps", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}: give at least 1"
                )
        if not 0 <= self.guidance_scale < inf:
            raise ValueError(f"--guidance-scale is {self.guidance_scale}: give 0 or more")

    @property
    def is_smaller(self) -> bool:
        """Whether it measures other than a card does, which would say less than the one there."""
        kept = ("number", "steps", "guidance_scale")
        return any(getattr(self, name) != getattr(EvaluateConfig(), name) for name in kept)

    def command(self) -> str:
        """The command line that measures with these settings."""
        words = ["sdlearn evaluate mini"]
        for entry in fields(self):
            value, option = getattr(self, entry.name), f"--{entry.name.replace('_', '-')}"
            if value != entry.default:
                words.append(option if value is True else f"{option} {value}")
        return " ".join(words)


@dataclass(frozen=True, kw_only=True)
class SubjectConfig:
    """What is drawn with an artefact, to measure what it has learnt of its subject."""

    subject: str | None = None
    """what prompts call the subject, such as "sks person"; '': only the class; None: as the
    artefact itself says"""
    class_word: str = ""  # what the subject is; '': as the artefact or its pictures' style says
    seeds: int = 4  # pictures of the subject in each situation, or of an edit at each eta
    class_pictures: int = 20  # of the bare class, with and without the artefact
    scale: float = 1.0  # how strongly a LoRA counts

    def check(self) -> None:
        """Raise ValueError for numbers that nothing can be measured with."""
        for name in ("seeds", "class_pictures"):
            if getattr(self, name) < 2:
                raise ValueError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}: give at least 2, as one "
                    "picture says nothing of how they differ"
                )
