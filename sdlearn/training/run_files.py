"""What a run writes to `output_dir`: checkpoints, previews, and the log.

The log, `log.jsonl`, is one JSON object a line and step; TensorBoard gets the same if asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.models.writing import replaced_when_complete
from sdlearn.training.checkpoint import prune, save_checkpoint
from sdlearn.training.distributed import is_deepspeed

if TYPE_CHECKING:
    from sdlearn.training.method import TrainStep
    from sdlearn.training.settings import Run
    from sdlearn.training.state import TrainingState


class RunWriter:
    """Writes log, checkpoints and previews, from the main process; nothing without `output_dir`."""

    def __init__(self, run: Run, state: TrainingState) -> None:
        self.run = run
        folder = run.config.output_dir if run.accelerator.is_main_process else None
        path = None if folder is None else folder / "log.jsonl"
        self.train_log = TrainLog(path, state.step, run.config.tensorboard)
        self.checkpointed = self.previewed = time.monotonic()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        """Write what the log still holds."""
        self.train_log.close()

    def log(self, step: TrainStep) -> None:
        """Note a step."""
        self.train_log.add(step)
        if step.step % self.run.config.logging_steps == 0:
            self.train_log.flush()

    def is_checkpoint_due(self, state: TrainingState) -> bool:
        """Whether a checkpoint should be written after this step."""
        config = self.run.config
        late = _is_late(self.checkpointed, config.checkpointing_seconds)
        return late or state.is_due(config.checkpointing_steps)

    def write_checkpoint(self, state: TrainingState) -> None:
        """Write a checkpoint, and what the log holds before it."""
        config, accelerator = self.run.config, self.run.accelerator
        self.checkpointed = time.monotonic()
        if config.output_dir is None:
            return
        self.train_log.flush()
        if is_deepspeed(accelerator):
            return
        tensors = state.tensors()  # of shards every process is asked
        if accelerator.is_main_process:
            facts = {**state.facts(), "settings": self.run.settings}
            save_checkpoint(config.output_dir, state.step, tensors, facts)
            prune(config.output_dir, config.checkpoints_total_limit)
        accelerator.wait_for_everyone()

    def is_preview_due(self, state: TrainingState) -> bool:
        """Whether previews were asked for, and should be drawn after this step."""
        config = self.run.config
        if config.preview_seconds is not None:
            return _is_late(self.previewed, config.preview_seconds) or state.is_done
        return bool(config.preview_prompts) and state.is_due(config.preview_steps)

    def draw_previews(self, state: TrainingState) -> None:
        """Draw with the weights that the run would end with now."""
        self.previewed, accelerator = time.monotonic(), self.run.accelerator
        with state.averaged(), accelerator.autocast():
            if accelerator.is_main_process:
                self.run.stage.draw_previews(self.run.config, state.step)
            accelerator.wait_for_everyone()


class TrainLog:
    """Collects steps and writes them now and then, since reading a loss waits for the device.

    On opening, what stands there beyond `step` (written after the last checkpoint, before a kill)
    is dropped, so that no step appears twice. With `tensorboard` the same goes to a folder of that
    name beside `path`.
    """

    def __init__(self, path: Path | None, step: int, tensorboard: bool = False) -> None:
        self.path = path
        self.waiting: list[TrainStep] = []
        self.writer: Any = None
        if path is not None and path.exists():
            _keep_until(path, step)
        if path is not None and tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(path.parent / "tensorboard", purge_step=step + 1)

    def add(self, step: TrainStep) -> None:
        """Remember a step until the next `flush`."""
        if self.path is not None:
            self.waiting.append(step)

    def flush(self) -> None:
        """Write what waits."""
        if self.path is None or not self.waiting:
            return
        losses = read_losses([step.loss for step in self.waiting])
        with self.path.open("a", encoding="utf-8") as file:
            for step, loss in zip(self.waiting, losses, strict=True):
                line = {
                    "step": step.step,
                    "loss": loss,
                    "learning_rate": step.learning_rate,
                    "seconds": round(step.seconds, 4),
                    **{name: float(value) for name, value in step.named_losses.items()},
                }
                if step.validation_loss is not None:
                    line["validation_loss"] = step.validation_loss
                file.write(json.dumps(line) + "\n")
                self._write_scalars(line)
        self.waiting.clear()

    def close(self) -> None:
        """Write what waits, and let go of the files."""
        self.flush()
        if self.writer is not None:
            self.writer.close()

    def _write_scalars(self, line: dict[str, Any]) -> None:
        if self.writer is None:
            return
        for name in line.keys() - {"step"}:
            self.writer.add_scalar(name, line[name], line["step"])


def read_losses(losses: Sequence[torch.Tensor]) -> list[float]:
    """Bring losses to the CPU in one go."""
    return torch.stack(list(losses)).tolist() if losses else []


def _keep_until(path: Path, step: int) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    if kept != lines:
        with replaced_when_complete(path) as unfinished:
            unfinished.write_text("".join(kept), encoding="utf-8")


def _is_late(since: float, seconds: float | None) -> bool:
    return seconds is not None and time.monotonic() - since >= seconds
