"""The log of a run: one JSON object a line and step."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sdlearn.finetune.loop import TrainStep


class TrainLog:
    """Collects steps and writes them now and then, since reading a loss waits for the device.

    On opening, what stands there beyond `step` (written after the last checkpoint, before a kill)
    is dropped, so that no step appears twice.
    """

    def __init__(self, path: Path | None, step: int) -> None:
        self.path = path
        self.waiting: list[TrainStep] = []
        if path is not None and path.exists():
            _keep_until(path, step)

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
                file.write(json.dumps(line) + "\n")
        self.waiting.clear()


def read_losses(losses: Sequence[torch.Tensor]) -> list[float]:
    """Bring losses to the CPU in one go."""
    return torch.stack(list(losses)).tolist() if losses else []


def _keep_until(path: Path, step: int) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    if kept != lines:
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text("".join(kept), encoding="utf-8")
        os.replace(unfinished, path)
