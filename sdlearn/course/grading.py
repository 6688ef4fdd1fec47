"""Grading a class: every submitted notebook is run by itself, and its answers are checked anew.

An answer is found by the name of its check: what a notebook gives to `checks.add_noise(...)`, or
what it calls `add_noise` where that cell was deleted. What it printed of itself counts for nothing.

A submission is somebody else's program: it runs with the rights of whoever grades. Grade in a
container or on a machine that holds nothing else.
"""

from __future__ import annotations

import ast
import csv
import json
import os
import secrets
import tempfile
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sdlearn.models.writing import replaced_when_complete

CHECKING_SECONDS = 300  # for all answers of a notebook; they take one
# run in the submission's kernel, behind its cells: checks from our own files, whatever it changed
LAST_CELL = """
import json, sys
for _name in [n for n in sys.modules if n.split(".")[0] == "sdlearn"]:
    del sys.modules[_name]
sys.path.insert(0, {package!r})
from sdlearn.course import grading as _grading
print({token!r} + json.dumps(_grading.judge_answers({answers!r}, globals())))
"""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What one exercise of one notebook earned."""

    notebook: str
    chapter: str
    check: str
    points: int
    out_of: int
    reason: str  # why there are no points, or what a right answer shows


def grade_folder(folder: Path, *, cell_seconds: float = 120, seconds: float = 900) -> list[Mark]:
    """Grade all notebooks below a folder, in the order of their names.

    A cell is stopped after `cell_seconds`, a notebook after `seconds`; what was answered until then
    counts. Raises FileNotFoundError or ValueError for a folder without notebooks.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: check its name")
    paths = [p for p in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
    if not paths:
        raise ValueError(f"{folder} holds no notebooks: put the submitted .ipynb files into it")
    from tqdm import tqdm

    marks = []
    for path in tqdm(paths, desc="grading", unit="notebook"):
        name = path.relative_to(folder).as_posix()
        marks += grade_notebook(path, name, cell_seconds=cell_seconds, seconds=seconds)
    return marks


def grade_notebook(path: Path, name: str, *, cell_seconds: float, seconds: float) -> list[Mark]:
    """Run one notebook in a kernel and a folder of its own, and check its answers."""
    try:
        notebook = _read(path)
    except ValueError as error:
        return [_nothing(name, str(error))]
    answers = find_answers("\n".join(c.source for c in notebook.cells if c.cell_type == "code"))
    if not answers:
        return [_nothing(name, "no exercise of the course is in it")]
    verdicts = _run(notebook, answers, cell_seconds, seconds)
    return [
        Mark(
            notebook=name,
            chapter=_chapter_of(answers),
            check=check,
            out_of=_points()[check],
            **verdicts.get(check, {"points": 0, "reason": "the notebook ended too early"}),
        )
        for check in answers
    ]


def find_answers(code: str) -> dict[str, list[str]]:
    """Map each check of the notebook's chapter to the expressions that it is given."""
    from sdlearn.course import checks

    asked: dict[str, list[str]] = {}
    for line in code.splitlines():  # a line at a time: a broken cell must not hide the others
        try:
            tree = ast.parse(line.strip())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "checks"
                and node.args
            ):
                asked[node.func.attr] = [ast.unparse(argument) for argument in node.args]
    defined = {name for name in _points() if f"def {name}(" in code or f"{name} = " in code}
    known = [name for name in _points() if name in asked or name in defined]
    if not known:
        return {}
    chapter = checks.CHAPTERS[_chapter_of(known)]
    return {check.__name__: asked.get(check.__name__, [check.__name__]) for check in chapter}


def judge_answers(
    answers: Mapping[str, Sequence[str]], scope: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Check answers in the kernel that has them: points and reason of each, by its check."""
    from sdlearn.course import checks

    verdicts = {}
    for name, expressions in answers.items():
        points, reason = 0, ""
        try:
            right = getattr(checks, name)(*[eval(e, scope) for e in expressions])
            points, reason = right.points, right.remark
        except NotImplementedError:
            reason = "not answered"
        except checks.WrongAnswer as error:
            reason = str(error)
        except BaseException as error:  # an answer may raise anything at all
            reason = f"{expressions[0]} cannot be had: {type(error).__name__}: {error}"
        verdicts[name] = {"points": points, "reason": reason}
    return verdicts


def write_marks(marks: Sequence[Mark], path: Path) -> None:
    """Write marks as CSV, a line for each exercise; UTF-8 that spreadsheets recognise."""
    with (
        replaced_when_complete(path) as unfinished,
        unfinished.open("w", encoding="utf-8-sig", newline="") as file,
    ):
        writer = csv.DictWriter(file, [field.name for field in fields(Mark)])
        writer.writeheader()
        writer.writerows(asdict(mark) for mark in marks)


def _read(path: Path) -> Any:
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # a broken upload is the submission's fault
        raise ValueError(f"it cannot be read as a notebook ({type(error).__name__})") from error


def _run(
    notebook: Any, answers: Mapping[str, Sequence[str]], cell_seconds: float, seconds: float
) -> dict[str, dict[str, Any]]:
    """Run all cells and the last one; return what that said."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    token = secrets.token_hex(16)
    package = str(Path(__file__).resolve().parents[2])
    last = LAST_CELL.format(package=package, token=token, answers=dict(answers))
    notebook.cells.append(nbformat.v4.new_code_cell(last))
    ends = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            allow_errors=True,
            interrupt_on_timeout=True,
            timeout_func=lambda cell: _left(cell is notebook.cells[-1], cell_seconds, ends),
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute(env={**os.environ, "HF_HUB_OFFLINE": "1"})
        except (CellTimeoutError, DeadKernelError) as error:
            reason = "the notebook was stopped: " + str(error).splitlines()[0]
            return {name: {"points": 0, "reason": reason} for name in answers}
    for output in notebook.cells[-1].outputs:
        for line in output.get("text", "").splitlines():
            if line.startswith(token):
                return json.loads(line.removeprefix(token))
    return {}


def _left(is_last: bool, cell_seconds: float, ends: float) -> float:
    """Seconds that a cell may take; the last one, which is ours, gets enough in any case."""
    return CHECKING_SECONDS if is_last else min(cell_seconds, max(ends - time.monotonic(), 1))


def _points() -> dict[str, int]:
    from sdlearn.course import checks

    return {c.__name__: c.points for chapter in checks.CHAPTERS.values() for c in chapter}  # type: ignore[attr-defined]


def _chapter_of(names: Container[str]) -> str:
    """The chapter that most of these checks are of."""
    from sdlearn.course import checks

    return max(
        checks.CHAPTERS,
        key=lambda chapter: sum(c.__name__ in names for c in checks.CHAPTERS[chapter]),
    )


def _nothing(name: str, reason: str) -> Mark:
    return Mark(notebook=name, chapter="", check="", points=0, out_of=0, reason=reason)
