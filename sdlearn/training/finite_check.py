"""What stops a run before it keeps something broken: a loss or weights that are not finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from sdlearn.training.checkpoint import checkpoint_step, checkpoints

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.training.state import TrainingState

ADVICE = "lower the learning_rate, or use float32 or bf16 instead of fp16, and start anew"


class Losses(NamedTuple):
    """A step's loss, scalars on the device."""

    own: torch.Tensor  # of this process's pictures
    mean: torch.Tensor  # over all processes, which so see the same and stop together

    @classmethod
    def over_processes(cls, own: torch.Tensor, accelerator: Accelerator) -> Losses:
        """Ask the other processes for theirs."""
        several = accelerator.num_processes > 1
        return cls(own, accelerator.reduce(own, reduction="mean") if several else own)


class FiniteCheck:
    """Stops a run whose loss is not finite, and one whose weights are not.

    On a CPU before the update. A GPU is asked one step late, so that it never stands idle; a
    checkpoint is only written, and a run only ends, after asking.
    """

    def __init__(
        self, name: Callable[[int], str], waits: bool, output_dir: Path | None = None
    ) -> None:
        self.name = name  # what to call a picture, by its index
        self.waits = waits
        self.output_dir = output_dir  # with the checkpoints
        self.waiting: tuple[int, Losses, list[int]] | None = None

    def check(self, step: int, losses: Losses, indices: list[int]) -> None:
        """Look at this step's losses, or on a GPU at those before."""
        if self.waits:
            self.check_waiting()
        self.waiting = (step, losses, indices)
        if not self.waits:
            self.check_waiting()

    def check_waiting(self) -> None:
        """Raise FloatingPointError if the loss last seen is not finite."""
        if self.waiting is None or torch.isfinite(self.waiting[1].mean):
            self.waiting = None
            return
        step, losses, indices = self.waiting
        names = "of another process"
        if not torch.isfinite(losses.own):
            names = ", ".join(self.name(i) for i in sorted(set(indices)))
        raise FloatingPointError(
            f"the loss of step {step} is {float(losses.mean)} (pictures: {names}): {ADVICE}"
            f"{self._last_good(step - 2)}"  # this loss is of the weights of step - 1
        )

    def check_weights(self, state: TrainingState) -> None:
        """Raise FloatingPointError for a loss that waits, or if the last update broke what trains.

        All processes must ask.
        """
        self.check_waiting()
        if not _is_finite(state):
            raise FloatingPointError(
                f"the update of step {state.step} made the weights too large or no numbers at all: "
                f"{ADVICE}{self._last_good(state.step - 1)}"
            )

    def _last_good(self, step: int) -> str:
        """Name the newest checkpoint up to a step, under whose weights a loss was finite."""
        if self.output_dir is None:
            return ""
        good = [path for path in checkpoints(self.output_dir) if checkpoint_step(path) <= step]
        if not good:
            return "; no checkpoint is known to be good"
        return f"; {good[-1]} is the last checkpoint known to be good"


def _is_finite(state: TrainingState) -> bool:
    """Whether not even squares of the weights overflow float32; all processes must ask."""
    own = (p.to_local() if hasattr(p, "to_local") else p for p in state.parameters.values())
    sums = torch.stack([weight.detach().float().square().sum() for weight in own])
    broken = (~sums.isfinite()).sum()
    return int(state.accelerator.reduce(broken, reduction="sum")) == 0
