"""What a run keeps as it goes, and what stops it before it keeps something broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from sdlearn.finetune.checkpoint import prune, save_checkpoint
from sdlearn.finetune.log import TrainLog
from sdlearn.finetune.previews import draw_previews
from sdlearn.finetune.sharding import is_deepspeed

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.finetune.config import FitConfig
    from sdlearn.finetune.loop import TrainStep
    from sdlearn.finetune.method import Method
    from sdlearn.finetune.state import TrainingState


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
        if self.config.output_dir is None:
            return
        if self.is_due(step.step, self.config.checkpointing_steps):
            watch.check_waiting()
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
            facts = {**state.facts(), "settings": self.settings}
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
    """Stops a run whose loss is not finite.

    On a CPU before the update. A GPU is asked one step late, so that it never stands idle; a
    checkpoint is only written after asking.
    """

    def __init__(self, name: Callable[[int], str], waits: bool) -> None:
        self.name = name  # what to call a picture, by its index
        self.waits = waits
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
            f"the loss of step {step} is {float(losses.mean)} (pictures: {names}): lower the "
            "learning_rate, or use float32 or bf16 instead of fp16; the last checkpoint is good"
        )
