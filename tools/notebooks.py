"""Builds the learners' notebooks from the sources: `python -m tools.notebooks`; `--check` compares.

`--nbgrader FOLDER` writes the chapters as a course of nbgrader's instead, and no notebook here.

A source, `notebooks/source/NN_name.py`, is a chapter in percent format, with its solutions; it runs
alone, and `notebooks/solved/NN_name.ipynb` is its jupytext pair with outputs (`tools/solved.py`).
Two more notebooks are made of each, the same to the byte every time:

    notebooks/NN_name.ipynb          to learn by oneself: stubs, with the solutions folded away
    notebooks/class/NN_name.ipynb    for a class: stubs, and no solutions

Between `### BEGIN SOLUTION` and `### END SOLUTION` (nbgrader's markers) stands what a learner is to
write; a function's stub raises `NotImplementedError`, an answer's is `...`. The badges are made
here, and the first cell gets what installs the package where it is missing, from the repository's
address in `pyproject.toml`. A cell with a check may raise, until its exercise is done.

`talk.py` is no chapter but slides: it has no exercises, and so no notebook for a class.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "notebooks" / "source"
VARIANTS = {"self-study": ROOT / "notebooks", "class": ROOT / "notebooks" / "class"}
SOLUTION = re.compile(
    r"^(?P<indent>[ ]*)### BEGIN SOLUTION\n(?P<code>.*?)^[ ]*### END SOLUTION\n?", re.M | re.S
)
CHECK = re.compile(r"^checks\.(?P<name>\w+)\(.*\)$", re.M)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
    "colab": {"provenance": [], "toc_visible": True},
}
UNCOMPARED = "nbval-ignore-output"
REASONS = {  # why what a cell prints is not compared with what it printed before: one with each
    "timed": "it says how long something took, or how far it came in a given time",
    "machine": "it says what this machine is",
    "trained": "it depends on weights trained here, whose last digits differ by processor",
    "rounding": "it shows nothing but rounding",
}
COVER = "cover"  # its last picture stands for the chapter
LIVE_SLIDES = {"rise": {"scroll": True, "theme": "white", "transition": "none"}}
START = "from sdlearn.course import start\n\ndevice = start()"  # a source's first cell
# After `git clone` a folder `sdlearn` without an __init__.py is imported as an empty package: it is
# forgotten again. `%pip` raises nothing when it fails, so the shell says it.
INSTALL = """get_ipython().run_line_magic("pip", "install -q '{package}' || echo '{failed}'")"""
SETUP = f"""\
try: from sdlearn.course import start
except ImportError: import sys; sys.modules.pop("sdlearn", None); {INSTALL}
from sdlearn.course import start; device = start()"""
FAILED = (
    "sdlearn could not be installed. Is the internet on? Without one, install it from wheels as "
    "notebooks/README.md says."
)
BADGES = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/{path}) "
    "[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]"
    "(https://www.kaggle.com/kernels/welcome?src=https://github.com/{repository}/blob/main/{path})"
)


def build(source: Path, variant: str) -> str:
    """The text of one notebook: variant "self-study", "class" or "solved"."""
    notebook = jupytext.read(source, fmt="py:percent")
    target = VARIANTS.get(variant, SOURCES) / f"{source.stem}.ipynb"
    badges = _badges(target)
    if not is_chapter(source):
        badges.metadata = {"slideshow": {"slide_type": "skip"}}
    cells = [badges, *notebook.cells]
    first = next(cell for cell in cells if cell.cell_type == "code")
    if first.source != START:
        raise ValueError(f"{source.name}: its first code cell is to be {START!r}")
    first.source = SETUP.format(package=requirement(), failed=FAILED)
    for cell in cells:
        cell.metadata["tags"] = _tags(cell)
    if variant != "solved":
        cells = [made for cell in cells for made in _without_solution(cell, variant)]
    metadata = METADATA if is_chapter(source) else METADATA | LIVE_SLIDES
    book = nbformat.v4.new_notebook(cells=named(cells), metadata=metadata)
    book.nbformat, book.nbformat_minor = 4, 5
    return nbformat.writes(book, version=4) + "\n"


def is_chapter(source: Path) -> bool:
    """Whether a source is a chapter, with exercises; the talk is none."""
    return source.stem[0].isdigit()


def targets(source: Path) -> dict[str, Path]:
    """The notebooks that are made of a source, by variant."""
    variants = VARIANTS if is_chapter(source) else {"self-study": VARIANTS["self-study"]}
    return {variant: folder / f"{source.stem}.ipynb" for variant, folder in variants.items()}


def _badges(target: Path) -> Any:
    path = target.relative_to(ROOT).as_posix()
    return nbformat.v4.new_markdown_cell(BADGES.format(repository=repository(), path=path))


def requirement() -> str:
    """What pip is to install where the package is missing, as pyproject.toml's setting says."""
    where = pyproject()["tool"]["sdlearn"]["install-from"]
    version = re.search(r'__version__ = "(.*?)"', (ROOT / "sdlearn" / "__init__.py").read_text())
    assert version is not None
    addresses = {
        "archive": "sdlearn @ https://github.com/{repository}/archive/refs/tags/v{version}.zip",
        "pypi": "sdlearn=={version}",
    }
    if where not in addresses:
        raise ValueError(
            f'install-from in pyproject.toml is "{where}": give {" or ".join(addresses)}'
        )
    return addresses[where].format(repository=repository(), version=version[1])


def repository() -> str:
    """`owner/name`, the one setting from which all addresses are made."""
    address = str(pyproject()["project"]["urls"]["Repository"])
    return address.removeprefix("https://github.com/").rstrip("/")


def pyproject() -> dict[str, Any]:
    """The settings of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _tags(cell: Any) -> list[str]:
    """A cell's tags, without those that only `tools/solved.py` and nbval read."""
    tags = [t for t in cell.metadata.get("tags", []) if t not in {UNCOMPARED, COVER, *REASONS}]
    asks = cell.cell_type == "code" and CHECK.search(cell.source)
    return [*tags, "raises-exception"] if asks else tags


def _without_solution(cell: Any, variant: str) -> list[Any]:
    """A cell with a stub instead of its solution, and the solution below it, folded away."""
    if cell.cell_type != "code" or not SOLUTION.search(cell.source + "\n"):
        return [cell]
    solution = SOLUTION.sub(lambda m: m["code"], cell.source + "\n").rstrip()
    cell.source = stubbed(cell.source + "\n")
    if variant == "class":
        return [cell]
    folded = f"<details><summary>Solution</summary>\n\n```python\n{solution}\n```\n\n</details>"
    return [cell, nbformat.v4.new_markdown_cell(folded)]


def stubbed(code: str) -> str:
    """Code with stubs instead of its solutions."""
    return SOLUTION.sub(_stub, code).rstrip()


def _stub(match: re.Match[str]) -> str:
    """What stands in place of a solution: an answer's name keeps its place, a body raises."""
    answer = re.match(r"\s*(\w+) = ", match["code"])
    if not match["indent"] and answer:
        return f"{answer[1]} = ...  # your answer\n"
    return f'{match["indent"]}raise NotImplementedError("your code here")\n'


def named(cells: list[Any], metadata: Sequence[str] = ("slideshow", "tags")) -> list[Any]:
    """Give each cell an id made from what is in it, and leave it these metadata."""
    seen: dict[str, int] = {}
    for cell in cells:
        kept = {key: cell.metadata.get(key) for key in metadata}
        cell.metadata = {key: value for key, value in kept.items() if value not in (None, [])}
        name = hashlib.sha1((cell.cell_type + cell.source).encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell["id"] = name if seen[name] == 1 else f"{name}-{seen[name]}"
    return cells


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare, and name what is stale")
    parser.add_argument("--nbgrader", type=Path, metavar="FOLDER", help="write nbgrader's course")
    arguments = parser.parse_args()
    check = arguments.check
    if arguments.nbgrader:
        from tools.nbgrader_course import write_course

        chapters = {
            s.stem: build(s, "solved") for s in sorted(SOURCES.glob("*.py")) if is_chapter(s)
        }
        print(f"{len(write_course(arguments.nbgrader, chapters))} files written")
        return 0
    stale = []
    for source in sorted(SOURCES.glob("*.py")):
        for variant, path in targets(source).items():
            text = build(source, variant)
            if path.is_file() and path.read_text(encoding="utf-8") == text:
                continue
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if check and stale:
        print(f"stale: {', '.join(stale)}; run make notebooks", file=sys.stderr)
        return 1
    print(f"{len(stale)} notebooks written" if not check else "all notebooks are fresh")
    return 0


if __name__ == "__main__":
    sys.exit(main())
