"""`sdlearn grade`: run a class's notebooks and mark their answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sdlearn.models.writing import prepare_folder


@dataclass(frozen=True, kw_only=True)
class Grade:
    """Run a folder of submitted notebooks, each by itself, and write what every answer earned.

    Submissions are other people's programs: grade in a container. Needs the extra "teach".
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """the submitted .ipynb files, in sub-folders or not"""
    output: Path = Path("grades.csv")  # a line for each exercise: points, and the reason
    cell_seconds: float = 120.0  # a cell is stopped after so long
    seconds: float = 900.0  # a notebook is stopped after so long; what is answered by then counts

    def run(self) -> None:
        """Check the folder and the output, then run and mark every notebook."""
        for name in ("cell_seconds", "seconds"):
            if not getattr(self, name) > 0:
                option = f"--{name.replace('_', '-')}"
                raise ValueError(f"{option} is {getattr(self, name)}: give a number above 0")
        if self.output.suffix.lower() != ".csv":
            raise ValueError(f"--output {self.output}: marks are written as .csv")
        folder, output = self.folder.expanduser(), self.output.expanduser()
        prepare_folder(output.parent)
        try:
            import nbclient  # noqa: F401
        except ImportError as error:
            raise ValueError("grading needs nbclient: pip install 'sdlearn[teach]'") from error
        from sdlearn.course.grading import grade_folder, write_marks

        marks = grade_folder(folder, cell_seconds=self.cell_seconds, seconds=self.seconds)
        write_marks(marks, output)
        for notebook in dict.fromkeys(mark.notebook for mark in marks):
            own = [mark for mark in marks if mark.notebook == notebook]
            got, out_of = sum(m.points for m in own), sum(m.out_of for m in own)
            print(f"{notebook}: {got} of {out_of}" + ("" if out_of else f" ({own[0].reason})"))
        print(output)
