"""Training in a notebook: the package's loop with something to look at, or a result that ships.

    config = FitConfig(max_train_steps=steps(200))
    learnt = learn(DreamBooth(sd), pictures, config, name="dreambooth")
    sd.with_artefact(learnt.path)

`train=False` trains nothing and gives the artefact of that name that the course ships, so that
nobody who presents a notebook has to wait.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdlearn.course.results import shipped_artefact
from sdlearn.finetune import FitConfig, fit, run

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.finetune.method import Method

QUICK = "SDLEARN_QUICK"  # set by tests that only want to see every cell run
QUICK_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What a training cell leaves behind."""

    path: Path  # the artefact, for `StableDiffusion.with_artefact`
    losses: tuple[float, ...] = ()  # of every step; none where it was loaded
    seconds: float = 0.0  # that training took


def steps(number: int) -> int:
    """`number` optimizer steps, or 2 where a test only wants to see that every cell runs."""
    return min(number, QUICK_STEPS) if os.environ.get(QUICK) else number


def learn(
    method: Method,
    pictures: Sequence[Picture],
    config: FitConfig | None = None,
    *,
    name: str,
    train: bool = True,
) -> Learnt:
    """Train a method and write its artefact to `runs/NAME`, or take the one that ships.

    Raises FileNotFoundError with `train=False` where the course ships no artefact of that name, and
    what `fit` raises.
    """
    if not train:
        return Learnt(path=shipped_artefact(name))
    start = time.perf_counter()
    losses = run(fit(method, pictures, config))
    seconds = time.perf_counter() - start
    return Learnt(path=method.save(Path("runs") / name), losses=tuple(losses), seconds=seconds)
