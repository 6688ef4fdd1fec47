"""Builds the notebooks from their sources: `python notebooks/build.py`, or `--check` for CI.

`--nbgrader FOLDER` writes the chapters as a course of nbgrader's instead, and no notebook here.

A source, `notebooks/source/NN_name.py`, is a chapter in percent format, with its solutions. Two
notebooks are made of each, the same to the byte every time:

    notebooks/NN_name.ipynb          to learn by oneself: stubs, with the solutions folded away
    notebooks/class/NN_name.ipynb    for a class: stubs, and no solutions

Between `### BEGIN SOLUTION` and `### END SOLUTION` (nbgrader's markers) stands what a learner is to
write; a function's stub raises `NotImplementedError`, an answer's is `...`. The first cell and the
badges are made here, from the repository's address in `pyproject.toml`.

`talk.py` is no chapter but slides: it has no exercises, and so no notebook for a class.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
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
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
    "colab": {"provenance": [], "toc_visible": True},
}
LIVE_SLIDES = {"rise": {"scroll": True, "theme": "white", "transition": "none"}}
SETUP = """\
try: import sdlearn
except ImportError: get_ipython().run_line_magic("pip", "install -q '{package}'")
from sdlearn.course import start; device = start()"""
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
    badges, setup = _badges(target), _setup()
    if not is_chapter(source):
        badges.metadata = setup.metadata = {"slideshow": {"slide_type": "skip"}}
    cells = [badges, *notebook.cells[:1], setup, *notebook.cells[1:]]
    if variant != "solved":
        cells = [made for cell in cells for made in _without_solution(cell, variant)]
    metadata = METADATA if is_chapter(source) else METADATA | LIVE_SLIDES
    book = nbformat.v4.new_notebook(cells=_named(cells), metadata=metadata)
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
    return nbformat.v4.new_markdown_cell(BADGES.format(repository=_repository(), path=path))


def _setup() -> Any:
    """The cell that makes a notebook work in Colab, on Kaggle and on a laptop."""
    version = re.search(r'__version__ = "(.*?)"', (ROOT / "sdlearn" / "__init__.py").read_text())
    assert version is not None
    address = f"sdlearn @ git+https://github.com/{_repository()}@v{version[1]}"
    return nbformat.v4.new_code_cell(SETUP.format(package=address))


def _repository() -> str:
    """`owner/name`, the one setting from which all addresses are made."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].removeprefix("https://github.com/").rstrip("/")


def _without_solution(cell: Any, variant: str) -> list[Any]:
    """A cell with a stub instead of its solution, and the solution below it, folded away."""
    if cell.cell_type != "code" or not SOLUTION.search(cell.source + "\n"):
        return [cell]
    solution = SOLUTION.sub(lambda m: m["code"], cell.source + "\n").rstrip()
    cell.source = SOLUTION.sub(_stub, cell.source + "\n").rstrip()
    if variant == "class":
        return [cell]
    folded = f"<details><summary>Solution</summary>\n\n```python\n{solution}\n```\n\n</details>"
    return [cell, nbformat.v4.new_markdown_cell(folded)]


def _stub(match: re.Match[str]) -> str:
    """What stands in place of a solution: an answer's name keeps its place, a body raises."""
    answer = re.match(r"\s*(\w+) = ", match["code"])
    if not match["indent"] and answer:
        return f"{answer[1]} = ...  # your answer\n"
    return f'{match["indent"]}raise NotImplementedError("your code here")\n'


def _named(cells: list[Any]) -> list[Any]:
    """Give each cell an id made from what is in it, and drop what jupytext leaves in metadata."""
    seen: dict[str, int] = {}
    for cell in cells:
        kept = {key: cell.metadata.get(key) for key in ("slideshow", "tags")}
        cell.metadata = {key: value for key, value in kept.items() if value}
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
        from nbgrader_course import write_course

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
        print(f"stale: {', '.join(stale)}; run python notebooks/build.py", file=sys.stderr)
        return 1
    print(f"{len(stale)} notebooks written" if not check else "all notebooks are fresh")
    return 0


if __name__ == "__main__":
    sys.exit(main())
