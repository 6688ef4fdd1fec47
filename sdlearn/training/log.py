"""The log of a run: one JSON object a line and step, and the same for TensorBoard if asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.models.writing import replaced_when_complete

if TYPE_CHECKING:
    from sdlearn.training.config import FitConfig
    from sdlearn.training.loop import TrainStep


def check_log(config: FitConfig) -> None:
    """Raise ValueError where TensorBoard is asked for and not there."""
    if config.tensorboard and find_spec("tensorboard") is None:
        raise ValueError(
            "tensorboard needs the package of that name: install it with `pip install tensorboard`,"
            " or leave tensorboard out"
        )


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
