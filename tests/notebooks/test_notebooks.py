"""The notebooks: built from their sources to the byte, and what is in them."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from sdlearn import __version__
from tools import notebooks

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(notebooks.SOURCES.glob("[0-9]*.py"))  # the chapters; the talk has tests of its own
STEMS = [source.stem for source in SOURCES]
by_chapter = pytest.mark.parametrize("source", SOURCES, ids=STEMS)


def cells(source: Path, variant: str, kind: str) -> list:
    notebook = nbformat.reads(notebooks.build(source, variant), as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def first_cell() -> str:
    return cells(SOURCES[0], "self-study", "code")[0].source


def _run_python(arguments: list[str], folder: Path, **environment: str) -> str:
    """What Python prints in `folder`, without this checkout on its path."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@by_chapter
@pytest.mark.parametrize("variant", notebooks.VARIANTS)
def test_a_committed_notebook_is_what_its_source_builds(source, variant):
    path = notebooks.VARIANTS[variant] / f"{source.stem}.ipynb"
    assert path.read_text(encoding="utf-8") == notebooks.build(source, variant)


@by_chapter
def test_a_class_notebook_gives_no_solution_away(source):
    text = notebooks.build(source, "class")
    assert "SOLUTION" not in text
    assert "<summary>Solution</summary>" not in text
    solutions = notebooks.SOLUTION.findall(source.read_text(encoding="utf-8"))
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


def test_the_first_cell_works_beside_a_cloned_folder_of_the_package_s_name(tmp_path):
    """In Colab `git clone` leaves a folder `sdlearn`, which is imported as an empty package."""
    (tmp_path / "sdlearn" / "notebooks").mkdir(parents=True)
    package = tmp_path / "installed" / "sdlearn" / "course"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text("start = lambda: 'the device'")
    code = f"""
import sys
class Shell:
    def run_line_magic(self, name, line):
        assert (name, line.split()[0]) == ("pip", "install")
        sys.path.append({str(package.parents[1])!r})
def get_ipython():
    return Shell()
{first_cell()}
print(device)
"""
    assert _run_python(["-S", "-c", code], tmp_path) == "the device\n"


@pytest.mark.slow
def test_an_install_that_fails_is_told_in_one_sentence(tmp_path):
    code = f"""
import os, sys
from IPython.core.interactiveshell import InteractiveShell
sys.path = [path for path in sys.path if not os.path.isdir(os.path.join(path, "sdlearn"))]
InteractiveShell.instance().run_cell({first_cell()!r})
"""
    nowhere = {
        "https_proxy": "http://127.0.0.1:9",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    printed = re.sub(r"\x1b\[[\d;]*m", "", _run_python(["-c", code], tmp_path, **nowhere))
    assert printed.splitlines().count(notebooks.FAILED) == 1
    assert "ModuleNotFoundError: No module named 'sdlearn'" in printed


@pytest.mark.parametrize(
    ("where", "address"),
    [
        ("archive", "sdlearn @ https://github.com/{}/archive/refs/tags/v{}.zip"),
        ("pypi", "sdlearn=={1}"),
    ],
)
def test_one_setting_says_where_the_package_comes_from(where, address, monkeypatch):
    project = notebooks.pyproject()
    project["tool"]["sdlearn"]["install-from"] = where
    monkeypatch.setattr(notebooks, "pyproject", lambda: project)
    assert notebooks.requirement() == address.format(notebooks.repository(), __version__)


def test_an_unknown_place_to_install_from_is_named(monkeypatch):
    project = notebooks.pyproject()
    project["tool"]["sdlearn"]["install-from"] = "a friend"
    monkeypatch.setattr(notebooks, "pyproject", lambda: project)
    with pytest.raises(ValueError, match='is "a friend": give archive or pypi'):
        notebooks.requirement()


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
    address = f"github.com/{notebooks.repository()}"
    for path in [*notebooks.SOURCES.glob("*.py"), *(ROOT / "sdlearn").rglob("*.py")]:
        assert address not in path.read_text(encoding="utf-8"), path
