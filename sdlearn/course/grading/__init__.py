"""Grading a class: every submitted notebook is run by itself, and its answers are checked anew.

An answer is found by the name of its check: what a notebook gives to `checks.add_noise(...)`, or
what it calls `add_noise` where that cell was deleted. What it printed of itself counts for nothing.

    submissions.py  the notebooks, read before the first of them runs
    sandbox.py      a process of its own for each, killed at its limits
    session.py      what runs in that process: the cells, and the functions that they define
    wire.py         what comes back: numbers, text and arrays, never code

A submission is somebody else's program, so no check runs where it runs. The grader draws the
inputs, has the submission's process compute with them, and compares what comes back.
"""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sdlearn.course.grading.sandbox import GRACE, Ended, Limits, Session
from sdlearn.course.grading.submissions import Submission, printable, read_submissions
from sdlearn.models.writing import replaced_when_complete

FORMULA = ("=", "+", "-", "@", "\t")  # what a spreadsheet takes a cell that begins so for


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What one exercise of one notebook earned."""

    notebook: str
    chapter: str
    check: str
    points: int
    out_of: int
    reason: str  # why there are no points, or what a right answer shows


def grade_folder(folder: Path, limits: Limits | None = None) -> Iterator[list[Mark]]:
    """Grade all notebooks below a folder, in the order of their names; the marks of one at a time.

    All are read before the first one runs, and what goes wrong with one costs no other its marks.
    Raises FileNotFoundError or ValueError for a folder without notebooks.
    """
    from tqdm import tqdm

    from sdlearn.course import checks  # now, before anybody can change its files

    for submission in tqdm(read_submissions(folder), desc="grading", unit="notebook"):
        try:
            yield grade(submission, limits or Limits(), folder)
        except Exception as error:  # whatever it is, the others are graded
            reason = f"grading it failed ({type(error).__name__}: {printable(str(error))})"
            yield [_nothing(submission, reason)]


def grade(submission: Submission, limits: Limits, folder: Path) -> list[Mark]:
    """Run one notebook in a process of its own, which does not see `folder`; check its answers."""
    if submission.fault:
        return [_nothing(submission, submission.fault)]
    with Session(limits, hidden=[folder]) as session:
        try:
            known = [c.__name__ for chapter in _chapters().values() for c in chapter]
            found = session.ask(find=submission.cells, known=known)["found"]
        except Ended as error:
            return [_nothing(submission, f"its code cannot be read: {error}")]
        chapter = chapter_of(found)
        if chapter is None:
            return [_nothing(submission, "no exercise of the course is in it")]
        with contextlib.suppress(Ended):  # which each answer will say
            _run(session, submission.cells)
        marks = []
        for check in _chapters()[chapter]:
            name = check.__name__
            points, reason = _judge(session, check, found.get(name, name))
            row = {"notebook": submission.name, "chapter": chapter, "check": name}
            marks.append(Mark(**row, points=points, out_of=check.points, reason=reason))
    return marks


def chapter_of(found: Mapping[str, Any]) -> str | None:
    """The chapter that most of these checks are of."""
    counts = {
        chapter: sum(check.__name__ in found for check in asked)
        for chapter, asked in _chapters().items()
    }
    best = max(counts, key=lambda chapter: counts[chapter])
    return best if counts[best] else None


def write_marks(marks: Sequence[Mark], path: Path) -> None:
    """Write marks as CSV, a line for each exercise; UTF-8 that spreadsheets recognise.

    What a spreadsheet would take for a formula gets an apostrophe in front.
    """
    with (
        replaced_when_complete(path) as unfinished,
        unfinished.open("w", encoding="utf-8-sig", newline="") as file,
    ):
        writer = csv.DictWriter(file, [field.name for field in fields(Mark)])
        writer.writeheader()
        for mark in marks:
            row = {
                name: f"'{v}" if str(v).startswith(FORMULA) else v
                for name, v in asdict(mark).items()
            }
            writer.writerow(row)


class RemoteFunction:
    """A submission's function: it is called where the submission runs, and data comes back."""

    def __init__(self, session: Session, expression: str, described: Mapping[str, Any]) -> None:
        self._session, self._expression = session, expression
        self.__name__ = printable(str(described.get("name")), 60)
        names = described.get("arguments")
        self.argument_names = [str(n) for n in names][:8] if isinstance(names, list) else []

    def __call__(self, **arguments: Any) -> Any:
        """Raise NotImplementedError or WrongAnswer as the function itself would have."""
        import torch

        from sdlearn.course.grading.wire import encode

        sent = encode(arguments)
        reply = _asked(self._session, expression=self._expression, arguments=sent)
        value = _value(reply)
        gradients = _value({"value": reply.get("gradients", {"dict": []})})
        if not (isinstance(value, torch.Tensor) and isinstance(gradients, dict)):
            return value
        for name, given in arguments.items():  # so that the value leads back to its inputs
            gradient = gradients.get(name)
            if isinstance(gradient, torch.Tensor) and gradient.shape == given.shape:
                value = value.detach() + ((given - given.detach()) * gradient).sum()
        return value


def _run(session: Session, cells: Sequence[str]) -> None:
    """Run all cells, for as long as they may; one that does not stop ends the process."""
    limits = session.limits
    ends = time.monotonic() + limits.seconds
    for cell in cells:
        left = ends - time.monotonic()
        if left <= 0:
            return
        seconds = min(limits.cell_seconds, left)
        session.ends = time.monotonic() + seconds + GRACE
        session.ask(run=cell, seconds=seconds)


def _judge(session: Session, check: Any, expression: str) -> tuple[int, str]:
    """The points of one answer, and why."""
    from sdlearn.course.checks import WrongAnswer

    session.ends = time.monotonic() + session.limits.cell_seconds + GRACE
    try:
        described = _asked(session, expression=expression)
        if isinstance(described.get("function"), dict):
            answer: Any = RemoteFunction(session, expression, described["function"])
        else:
            answer = _value(described)
        right = check(answer)
    except NotImplementedError:
        return 0, "not answered"
    except Ended as error:
        return 0, f"the notebook was stopped: {error}"
    except WrongAnswer as error:
        return 0, printable(str(error))
    return right.points, right.remark


def _asked(session: Session, **request: Any) -> dict[str, Any]:
    """Ask for one thing, and have it stopped before the process must be killed for it."""
    left = session.ends - time.monotonic() - GRACE
    return session.ask(**request, seconds=max(left, 0.1))


def _value(reply: Mapping[str, Any]) -> Any:
    """The value of a reply; WrongAnswer or NotImplementedError where it says so."""
    from sdlearn.course.checks import WrongAnswer
    from sdlearn.course.grading.wire import decode

    if reply.get("stub"):
        raise NotImplementedError
    if "wrong" in reply:
        raise WrongAnswer(printable(str(reply["wrong"])))
    try:
        return decode(reply.get("value"))
    except ValueError as error:
        raise WrongAnswer(f"the answer is no value that can be read ({error})") from error


def _chapters() -> dict[str, Any]:
    from sdlearn.course.checks import CHAPTERS

    return CHAPTERS


def _nothing(submission: Submission, reason: str) -> Mark:
    return Mark(notebook=submission.name, chapter="", check="", points=0, out_of=0, reason=reason)
