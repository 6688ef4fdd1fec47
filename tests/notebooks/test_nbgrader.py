"""The course for nbgrader: what is graded, and that nbgrader itself gives the points."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from sdlearn.course import checks
from sdlearn.course.training import QUICK
from tools import nbgrader_course, notebooks

ROOT = Path(__file__).resolve().parents[2]

SOURCES = sorted(notebooks.SOURCES.glob("[0-9]*.py"))  # the talk has no exercises
by_chapter = pytest.mark.parametrize("source", SOURCES, ids=[s.stem for s in SOURCES])


def course_cells(source: Path) -> list:
    book = nbformat.reads(nbgrader_course.marked(notebooks.build(source, "solved")), as_version=4)
    return [cell for cell in book.cells if "nbgrader" in cell.metadata]


@by_chapter
def test_every_check_is_a_locked_cell_with_its_points(source):
    graded = [c for c in course_cells(source) if c.metadata.nbgrader.grade]
    points = {c.metadata.nbgrader.grade_id: c.metadata.nbgrader.points for c in graded}
    assert points == {c.__name__: c.points for c in checks.CHAPTERS[source.stem[:2]]}
    assert all(c.metadata.nbgrader.locked for c in graded)
    assert all("print(checks." in c.source for c in graded)


@by_chapter
def test_every_solution_is_a_cell_to_fill_in_and_no_name_comes_twice(source):
    cells = course_cells(source)
    marked = [c for c in cells if c.metadata.nbgrader.solution]
    assert sum(c.source.count("### BEGIN SOLUTION") for c in marked) == source.read_text(
        encoding="utf-8"
    ).count("### BEGIN SOLUTION")
    names = [c.metadata.nbgrader.grade_id for c in cells]
    assert len(set(names)) == len(names)


def test_a_teacher_s_own_configuration_stays(tmp_path):
    config = tmp_path / "nbgrader_config.py"
    config.write_text("c = get_config()\n")
    nbgrader_course.write_course(tmp_path, {})
    assert config.read_text() == "c = get_config()\n"


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["05_stable_diffusion"])
def test_nbgrader_gives_solutions_full_points_and_stubs_none(stem, tmp_path, monkeypatch):
    pytest.importorskip(
        "nbgrader", reason="nbgrader is not installed: pip install 'sdlearn[nbgrader]' brings it"
    )
    monkeypatch.setenv(QUICK, "1")
    source = notebooks.SOURCES / f"{stem}.py"
    nbgrader_course.write_course(tmp_path, {stem: notebooks.build(source, "solved")})
    _nbgrader(tmp_path, "generate_assignment", stem, "--create")
    released = (tmp_path / "release" / stem / f"{stem}.ipynb").read_text(encoding="utf-8")
    assert "SOLUTION" not in released
    assert "raise NotImplementedError" in released
    solved = (tmp_path / "source" / stem / f"{stem}.ipynb").read_text(encoding="utf-8")
    for student, text in {"solved": solved, "stubs": released}.items():
        path = tmp_path / "submitted" / student / stem / f"{stem}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    _nbgrader(tmp_path, "autograde", stem, "--create")
    most = sum(c.points for c in checks.CHAPTERS[stem[:2]])
    assert _scores(tmp_path, stem) == {"solved": (most, most), "stubs": (0, most)}


def _nbgrader(folder: Path, *command: str) -> None:
    """Run nbgrader as a teacher does, in an activated environment: it looks for alembic on PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PATH": path}
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _scores(folder: Path, stem: str) -> dict[str, tuple[float, float]]:
    """What nbgrader's gradebook has: points, and points that could be had, by student."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}", "sdlearn") as book:
        return {s.student.id: (s.score, s.max_score) for s in book.assignment_submissions(stem)}
