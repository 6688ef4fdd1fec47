"""Stopping a training run from outside: the step under way is finished, and kept."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM)


class StoppedRun(KeyboardInterrupt):
    """A run that was stopped after a step, and what goes on with it."""

    def __init__(self, step: int, output_dir: Path | None, added: bool) -> None:
        super().__init__(f"stopped after step {step}")
        self.output_dir = output_dir
        self.words = ["--resume"]  # to add to the command that was typed
        if added:
            self.words = ["--output-dir", str(output_dir), "--resume"]


@contextmanager
def stopped_by(handler: Any) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM call a handler, also where a shell that runs a job has them ignored.

    Elsewhere than in a program's first thread Python lets nobody do so.
    """
    before: dict[signal.Signals, Any] = {}
    try:
        for stop in STOPS:
            before[stop] = signal.signal(stop, handler)
    except ValueError:
        before.clear()
    try:
        yield
    finally:
        for stop, own in before.items():
            signal.signal(stop, own)


def run_until_stopped(steps: Generator[Any], output_dir: Path | None, spare: Path | None) -> None:
    """Train with a progress bar; Ctrl-C and SIGTERM end it after the step that is under way.

    Its checkpoint goes to `output_dir`, or where a run has none to `spare`. Before the first step,
    and at the second time, it ends at once. Raises StoppedRun.
    """
    from accelerate import PartialState

    from sdlearn.training.loop import run
    from sdlearn.training.run_files import StopTraining

    asked: list[int] = []
    done: list[int] = []  # the last step
    waits = PartialState().num_processes == 1  # of several, each would end after a step of its own

    def note(number: int, frame: FrameType | None) -> None:
        if asked or not done or not waits:
            raise KeyboardInterrupt
        asked.append(number)
        print("\nsdlearn: ending after this step; once more ends it at once", file=sys.stderr)

    def watched() -> Iterator[Any]:
        for step in steps:
            done[:] = [step.step]
            yield step
            if asked:
                steps.throw(StopTraining(spare))

    with stopped_by(note):
        try:
            run(watched())
        except StopTraining as stop:
            kept = output_dir or spare
            raise StoppedRun(done[0], kept, output_dir is None) from stop
