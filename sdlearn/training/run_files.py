"""What a run keeps as it goes, and what stops it before it keeps something broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from sdlearn.training.checkpoint import checkpoint_step, checkpoints, prune, save_checkpoint
from sdlearn.training.distributed import is_deepspeed
from sdlearn.training.log import TrainLog
from sdlearn.training.previews import draw_previews

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.training.config import FitConfig
    from sdlearn.training.loop import TrainStep
    from sdlearn.training.method import Method
    from sdlearn.training.state import TrainingState

ADVICE = "lower the learning_rate, or use float32 or bf16 instead of fp16, and start anew"


class Keeper:
    """Writes log, checkpoints and previews to `output_dir`, from the main process.

    Without an `output_dir` it writes nothing.
    """

    def __init__(
        self,
        config: FitConfig,
        settings: Mapping[str, Any],
        accelerator: Accelerator,
        method: Method,
    ) -> None:
        self.config = config
        self.settings = settings
        self.accelerator = accelerator
        self.method = method
        self.log = TrainLog(None, 0)

    def open_log(self, step: int) -> None:
        """Go on with the log after a step."""
        if self.config.output_dir is not None and self.accelerator.is_main_process:
            path = self.config.output_dir / "log.jsonl"
            self.log = TrainLog(path, step, self.config.tensorboard)

    def keep(self, step: TrainStep, state: TrainingState, watch: LossWatch) -> None:
        """Note a step, and write a checkpoint and previews where they are due."""
        self.log.add(step)
        if step.step % self.config.logging_steps == 0:
            self.log.flush()
        is_due = self.is_due(step.step, self.config.checkpointing_steps)
        if is_due:
            watch.check_waiting()
            watch.check_weights(state)
        if self.config.output_dir is None:
            return
        if is_due:
            self.log.flush()
            if not is_deepspeed(self.accelerator):
                self._write_checkpoint(self.config.output_dir, state)
        if self.config.preview_prompts and self.is_due(step.step, self.config.preview_steps):
            self._draw_previews(state)

    def close(self) -> None:
        """Write what the log still holds."""
        self.log.close()

    def is_due(self, step: int, every: int) -> bool:
        """Whether something that is done every so many steps, and at the last, is due."""
        return step == self.config.max_train_steps or step % every == 0

    def _write_checkpoint(self, output_dir: Path, state: TrainingState) -> None:
        tensors = state.tensors()  # of shards every process is asked
        if self.accelerator.is_main_process:
            made = {"seconds": self.method.made["seconds"]}
            facts = {**state.facts(), "settings": self.settings, "made": made}
            save_checkpoint(output_dir, state.step, tensors, facts)
            prune(output_dir, self.config.checkpoints_total_limit)
        self.accelerator.wait_for_everyone()

    def _draw_previews(self, state: TrainingState) -> None:
        with state.averaged(), self.accelerator.autocast():
            if self.accelerator.is_main_process:
                draw_previews(self.method.sd, self.config, state.step)
            self.accelerator.wait_for_everyone()


class Losses(NamedTuple):
    """A step's loss, scalars on the device."""

    own: torch.Tensor  # of this process's pictures
    mean: torch.Tensor  # over all processes, which so see the same and stop together


class LossWatch:
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
        """Raise FloatingPointError if the last update broke what trains; all processes must ask."""
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
