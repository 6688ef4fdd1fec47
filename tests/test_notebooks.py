"""The notebooks: built from their sources to the byte, and what is in them."""

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from sdlearn.course.training import QUICK

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "notebooks"))
import build  # noqa: E402

SOURCES = sorted(build.SOURCES.glob("[0-9]*.py"))  # the chapters; the talk has tests of its own
STEMS = [source.stem for source in SOURCES]
LOADED = {"07": 2, "08": 2, "09": 1, "10": 1}  # results that a chapter can load
by_chapter = pytest.mark.parametrize("source", SOURCES, ids=STEMS)


def cells(source: Path, variant: str, kind: str) -> list:
    notebook = nbformat.reads(build.build(source, variant), as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


@by_chapter
@pytest.mark.parametrize("variant", build.VARIANTS)
def test_a_committed_notebook_is_what_its_source_builds(source, variant):
    path = build.VARIANTS[variant] / f"{source.stem}.ipynb"
    assert path.read_text(encoding="utf-8") == build.build(source, variant)


@by_chapter
def test_a_class_notebook_gives_no_solution_away(source):
    text = build.build(source, "class")
    assert "SOLUTION" not in text
    assert "<summary>Solution</summary>" not in text
    solutions = build.SOLUTION.findall(source.read_text(encoding="utf-8"))
    assert solutions
    for _, code in solutions:
        assert code.strip() not in "\n".join(cell.source for cell in cells(source, "class", "code"))


@by_chapter
def test_a_notebook_has_no_outputs_and_its_first_cell_is_three_lines(source):
    code = cells(source, "self-study", "code")
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert len(code[0].source.splitlines()) <= 3
    ast.parse(code[0].source)
    assert "device = start()" in code[0].source


@by_chapter
def test_every_check_of_a_chapter_is_asked_in_it_and_exercises_have_hints(source):
    from sdlearn.course import checks

    text = source.read_text(encoding="utf-8")
    asked = re.findall(r"^checks\.(\w+)\(", text, re.M)
    assert asked
    assert sorted(asked) == sorted(c.__name__ for c in checks.CHAPTERS[source.stem[:2]])
    assert 3 <= len(re.findall(r"^# ### Exercise \d", text, re.M)) <= 5
    assert "<summary>Hint</summary>" in text


def test_the_repository_s_address_is_said_once():
    address = f"github.com/{build._repository()}"
    for path in [*build.SOURCES.glob("*.py"), *(ROOT / "sdlearn").rglob("*.py")]:
        assert address not in path.read_text(encoding="utf-8"), path


@pytest.mark.slow
@by_chapter
def test_with_solutions_a_chapter_runs_and_every_answer_is_right(source, tmp_path):
    notebook = nbformat.reads(build.build(source, "solved"), as_version=4)
    _run(notebook, tmp_path)
    shown = [o.data["text/plain"] for c in notebook.cells for o in _results(c)]
    asked = source.read_text(encoding="utf-8").count("\nchecks.")
    assert sum(": right (" in text for text in shown) == asked


@pytest.mark.slow
@by_chapter
def test_with_stubs_and_loaded_results_a_chapter_raises_nothing_else_than_not_implemented(
    source, tmp_path, monkeypatch
):
    monkeypatch.setenv(QUICK, "1")  # the solved one has trained in earnest
    text = build.build(source, "class")
    notebook = nbformat.reads(text.replace("train=True", "train=False"), as_version=4)
    _run(notebook, tmp_path)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {o.ename for o in outputs if o.output_type == "error"} == {"NotImplementedError"}
    printed = "".join(o.text for o in outputs if o.output_type == "stream")
    assert printed.count(" is loaded: ") == text.count("train=True")
    assert text.count("train=True") == LOADED.get(source.stem[:2], 0)


def _run(notebook, folder: Path) -> None:
    """Run all cells; only those tagged `raises-exception` may raise."""
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=180, kernel_name="python3", resources=resources).execute()


def _results(cell) -> list:
    outputs = cell.get("outputs", [])
    return [output for output in outputs if output.output_type == "execute_result"]
