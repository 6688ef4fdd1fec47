"""What a run writes to `output_dir`: checkpoints, previews, and the log.

The log, `log.jsonl`, is one JSON object a line and step; TensorBoard gets the same if asked for.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.models.records import json_object
from sdlearn.models.writing import one_writer, replaced_when_complete
from sdlearn.training.checkpoint import LOG_NAME, prune, save_checkpoint
from sdlearn.training.distributed import is_deepspeed

if TYPE_CHECKING:
    from sdlearn.training.method import TrainStep
    from sdlearn.training.settings import Run
    from sdlearn.training.state import TrainingState


class StopTraining(KeyboardInterrupt):
    """Thrown into a run between two steps, to end it: what is done is kept as a checkpoint."""

    def __init__(self, output_dir: Path | None = None) -> None:
        super().__init__()
        self.output_dir = output_dir  # for the checkpoint of a run that has none


def one_run(run: Run) -> AbstractContextManager[Any]:
    """Keep `output_dir` for one run; raises ValueError where another is writing to it."""
    folder = run.config.output_dir
    if folder is None or not run.accelerator.is_main_process:
        return nullcontext()
    return one_writer(folder, again=True)


class RunWriter:
    """Writes log, checkpoints and previews, from the main process; nothing without `output_dir`."""

    def __init__(self, run: Run, state: TrainingState) -> None:
        self.run = run
        folder = run.config.output_dir if run.accelerator.is_main_process else None
        path = None if folder is None else folder / LOG_NAME
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

    @contextmanager
    def kept_if_stopped(self, state: TrainingState) -> Iterator[None]:
        """Write a checkpoint where whoever drives the run stops it in the block."""
        try:
            yield
        except StopTraining as stop:
            self.write_checkpoint(state, stop.output_dir)
            raise

    def write_checkpoint(self, state: TrainingState, spare: Path | None = None) -> None:
        """Write a checkpoint, and what the log holds before it; without a folder, to `spare`."""
        config, accelerator = self.run.config, self.run.accelerator
        self.checkpointed, output_dir = time.monotonic(), config.output_dir or spare
        if output_dir is None:
            return
        self.train_log.flush()
        if is_deepspeed(accelerator):
            return
        tensors = state.tensors()  # of shards every process is asked
        if accelerator.is_main_process:
            facts = {**state.facts(), "settings": self.run.settings}
            try:
                save_checkpoint(output_dir, state.step, tensors, facts)
                prune(output_dir, state.step, config.checkpoints_total_limit)
            except OSError as error:  # what is learnt counts for more
                warnings.warn(f"no checkpoint of step {state.step}: {error}", stacklevel=2)
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
            self.writer = Scalars(path.parent / "tensorboard", step)

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
                if self.writer is not None:
                    self.writer.add(line)
        self.waiting.clear()

    def close(self) -> None:
        """Write what waits, and let go of the files."""
        self.flush()
        if self.writer is not None:
            self.writer.close()


class Scalars:
    """A file for TensorBoard of what the log says; torch's own writer names the host in it."""

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.event, self.summary = Event, Summary
        folder.mkdir(exist_ok=True)
        self.file = (folder / f"events.out.tfevents.{time.time_ns()}.sdlearn").open("wb")
        self.records = RecordWriter(self.file)
        self._write(step + 1, file_version="brain.Event:2")
        start = SessionLog(status=SessionLog.START)  # what was shown of later steps goes
        self._write(step + 1, session_log=start)

    def add(self, line: Mapping[str, Any]) -> None:
        """Write one line of the log."""
        values = [
            self.summary.Value(tag=name, simple_value=value)
            for name, value in line.items()
            if name != "step"
        ]
        self._write(line["step"], summary=self.summary(value=values))
        self.records.flush()

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    def _write(self, step: int, **what: Any) -> None:
        event = self.event(wall_time=time.time(), step=step, **what)
        self.records.write(event.SerializeToString())


def read_losses(losses: Sequence[torch.Tensor]) -> list[float]:
    """Bring losses to the CPU in one go."""
    return torch.stack(list(losses)).tolist() if losses else []


def _keep_until(path: Path, step: int) -> None:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and _step_of(line) <= step]
    if kept != lines:
        with replaced_when_complete(path) as unfinished:
            unfinished.write_text("".join(kept), encoding="utf-8")


def _step_of(line: str) -> float:
    """The step of a line of the log; that of a broken line is beyond all."""
    try:
        return int(json_object(line, "the log")["step"])
    except (KeyError, TypeError, ValueError):
        return math.inf


def _is_late(since: float, seconds: float | None) -> bool:
    return seconds is not None and time.monotonic() - since >= seconds
