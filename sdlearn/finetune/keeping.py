"""What a run keeps as it goes, and what stops it before it keeps something broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.finetune.checkpoint import prune, save_checkpoint
from sdlearn.finetune.log import TrainLog

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.data.folder import Picture
    from sdlearn.finetune.config import FitConfig
    from sdlearn.finetune.loop import TrainStep
    from sdlearn.finetune.state import TrainingState


class Keeper:
    """Writes log and checkpoints to `output_dir`, from the main process; nothing without one."""

    def __init__(
        self, config: FitConfig, settings: Mapping[str, Any], accelerator: Accelerator
    ) -> None:
        self.config = config
        self.settings = settings
        self.accelerator = accelerator
        self.log = TrainLog(None, 0)

    def open_log(self, step: int) -> None:
        """Go on with the log after a step."""
        if self.config.output_dir is not None and self.accelerator.is_main_process:
            self.log = TrainLog(self.config.output_dir / "log.jsonl", step)

    def keep(self, step: TrainStep, state: TrainingState, watch: LossWatch) -> None:
        """Note a step, and write a checkpoint where one is due."""
        self.log.add(step)
        if step.step % self.config.logging_steps == 0:
            self.log.flush()
        last = step.step == self.config.max_train_steps
        due = last or step.step % self.config.checkpointing_steps == 0
        if self.config.output_dir is None or not due:
            return
        watch.check_waiting()
        self.log.flush()
        if self.accelerator.is_main_process:
            facts = {**state.facts(), "settings": self.settings}
            save_checkpoint(self.config.output_dir, state.step, state.tensors(), facts)
            prune(self.config.output_dir, self.config.checkpoints_total_limit)
        self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """Write what the log still holds."""
        self.log.flush()


class LossWatch:
    """Stops a run whose loss is not finite.

    On a CPU before the update. A GPU is asked one step late, so that it never stands idle; a
    checkpoint is only written after asking.
    """

    def __init__(self, pictures: Sequence[Picture], waits: bool) -> None:
        self.pictures = pictures
        self.waits = waits
        self.waiting: tuple[int, torch.Tensor, list[int]] | None = None

    def check(self, step: int, loss: torch.Tensor, indices: list[int]) -> None:
        """Look at this step's loss, or on a GPU at the one before."""
        if self.waits:
            self.check_waiting()
        self.waiting = (step, loss, indices)
        if not self.waits:
            self.check_waiting()

    def check_waiting(self) -> None:
        """Raise FloatingPointError if the loss last seen is not finite."""
        if self.waiting is None or torch.isfinite(self.waiting[1]):
            self.waiting = None
            return
        step, loss, indices = self.waiting
        names = ", ".join(
            str(self.pictures[i].path or f"picture {i}") for i in sorted(set(indices))
        )
        raise FloatingPointError(
            f"the loss of step {step} is {float(loss)} (pictures: {names}): lower the "
            "learning_rate, or use float32 or bf16 instead of fp16; the last checkpoint is good"
        )
