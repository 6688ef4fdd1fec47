"""The chapters as a course of nbgrader's: `python -m tools.notebooks --nbgrader FOLDER`.

    FOLDER/nbgrader_config.py           what the course asks of nbgrader
    FOLDER/source/NN_name/NN_name.ipynb a chapter with its solutions, each cell marked for nbgrader

`nbgrader generate_assignment` makes the students' notebooks of these, and `nbgrader autograde`
gives the points that each check is worth.

Source of the cells' metadata: nbgrader's format, schema version 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from tools.notebooks import CHECK

CONFIG = """\
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "sdlearn"
c.Execute.timeout = 180  # seconds a cell; nbgrader's own 30 are too few for one that trains
c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("your code here")'}
"""
SOLUTION_BEGINS = "### BEGIN SOLUTION"


def write_course(folder: Path, chapters: Mapping[str, str]) -> list[Path]:
    """Write solved notebooks, their texts by name, and the configuration; return all paths.

    A configuration that is there stays: it may be the teacher's. Notebooks are replaced.
    """
    written = []
    config = folder / "nbgrader_config.py"
    if not config.exists():
        folder.mkdir(parents=True, exist_ok=True)
        config.write_text(CONFIG, encoding="utf-8")
        written.append(config)
    for name, text in chapters.items():
        path = folder / "source" / name / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(marked(text), encoding="utf-8")
        written.append(path)
    return written


def marked(text: str) -> str:
    """A solved notebook's text, with the metadata that says what is to be written and graded."""
    from sdlearn.course import checks

    book = nbformat.reads(text, as_version=4)
    solutions = 0
    for cell in book.cells:
        if cell.cell_type != "code":
            continue
        check = CHECK.search(cell.source)
        if SOLUTION_BEGINS in cell.source:
            solutions += 1
            cell.metadata["nbgrader"] = _metadata(f"answer-{solutions}", solution=True)
        elif check is not None:
            name = check["name"]
            # printed, because nbgrader takes a cell's result for a number of points
            cell.source = CHECK.sub(lambda m: f"print({m[0]})", cell.source)
            cell.metadata["nbgrader"] = _metadata(name, points=getattr(checks, name).points)
    return nbformat.writes(book, version=4) + "\n"


def _metadata(grade_id: str, *, solution: bool = False, points: int = 0) -> dict[str, Any]:
    """Of a cell that students fill in, or of one that gives points and cannot be changed."""
    kind = {"solution": solution, "grade": not solution, "locked": not solution, "task": False}
    graded = {} if solution else {"points": points}
    return {"grade_id": grade_id, "schema_version": 3, "cell_type": "code", **kind, **graded}
