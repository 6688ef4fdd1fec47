"""`sdlearn grade`: run a class's notebooks and mark their answers."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from sdlearn.models.writing import prepare_file


@dataclass(frozen=True, kw_only=True)
class Grade:
    """Run a folder of submitted notebooks, each by itself, and write what every answer earned.

    Submissions are other people's programs: grade in a container. Needs the extra "teach".
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """the submitted .ipynb files, in sub-folders or not"""
    output: Path = Path("grades.csv")  # a line for each exercise: points, and the reason
    cell_seconds: float = 120.0  # a cell is stopped after so long, and so is a check
    seconds: float = 900.0  # a notebook is stopped after so long; what is answered by then counts
    memory_mb: int = 6000  # a notebook that takes more is killed

    def run(self) -> None:
        """Check the folder and the output, then run and mark every notebook."""
        for name in ("cell_seconds", "seconds", "memory_mb"):
            if not getattr(self, name) > 0:
                option = f"--{name.replace('_', '-')}"
                raise ValueError(f"{option} is {getattr(self, name)}: give a number above 0")
        output = self.output.expanduser()
        if output.suffix.lower() != ".csv" or output.is_dir():
            raise ValueError(f"--output {self.output}: marks are written as .csv, into a file")
        prepare_file(output)
        if os.name != "posix":
            raise ValueError("grading needs Linux or macOS: on Windows use WSL or a container")
        if importlib.util.find_spec("IPython") is None:
            raise ValueError("grading needs IPython: pip install 'sdlearn[teach]'")
        from sdlearn.course.grading import Limits
        from sdlearn.course.grading.sandbox import protection

        print(protection()[2])
        limits = Limits(
            cell_seconds=self.cell_seconds, seconds=self.seconds, memory_mb=self.memory_mb
        )
        self._mark(output, limits)
        print(output)

    def _mark(self, output: Path, limits: Any) -> None:
        """Mark one notebook after the other; the file is whole after each."""
        from sdlearn.course.grading import grade_folder, write_marks

        marks: list[Any] = []
        done = 0
        try:
            for own in grade_folder(self.folder.expanduser(), limits):
                marks += own
                write_marks(marks, output)
                done += 1
                got, out_of = sum(m.points for m in own), sum(m.out_of for m in own)
                fault = "" if out_of else f" ({own[0].reason})"
                print(f"{own[0].notebook}: {got} of {out_of}{fault}", flush=True)
        except KeyboardInterrupt:
            what = f"{output} has the marks of the {done} graded so far" if done else "no marks yet"
            print(f"grading was stopped: {what}", file=sys.stderr)
            raise
