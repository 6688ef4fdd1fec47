"""One picture a chapter: taken from its solved notebook, and shown in both READMEs and the book."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any

import nbformat

from tools.notebooks import COVER, ROOT, SOURCES, is_chapter

SOLVED = ROOT / "notebooks" / "solved"
COVERS = ROOT / "book" / "images" / "chapters"
PAGES = (ROOT / "README.md", ROOT / "notebooks" / "README.md")
GALLERY = re.compile(
    r"(?<=<!-- pictures, by make solved -->\n).*?(?=<!-- end of pictures -->)", re.S
)
COLUMNS, WIDTH = 3, 260  # pictures in a row, and pixels of each


def cover(notebook: Any) -> bytes | None:
    """The last picture of the cell tagged `cover`, a PNG; None where there is no such cell."""
    for cell in notebook.cells:
        if COVER in cell.metadata.get("tags", []):
            pictures = [
                o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})
            ]
            return base64.b64decode(pictures[-1])
    return None


def chapter_title(source: Path) -> str:
    """What a chapter is called: `3. Sampling`."""
    first = next(s for s in source.read_text(encoding="utf-8").splitlines() if s.startswith("# # "))
    return first.removeprefix("# # ").split(":")[0]


def gallery(page: Path) -> str:
    """A table of the chapters' pictures, which lead to the solved notebooks, for a page."""
    cells = []
    for source in filter(is_chapter, sorted(SOURCES.glob("*.py"))):
        picture, title = COVERS / f"{source.stem}.png", chapter_title(source)
        if picture.is_file():
            here = [
                os.path.relpath(path, page.parent)
                for path in (SOLVED / f"{source.stem}.ipynb", picture)
            ]
            notebook, image = (Path(path).as_posix() for path in here)
            cells.append(
                f'<td align="center"><a href="{notebook}"><img src="{image}" '
                f'width="{WIDTH}" alt="A figure of chapter {title}"><br>{title}</a></td>\n'
            )
    rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    return "<table>\n" + "".join(f"<tr>\n{''.join(row)}</tr>\n" for row in rows) + "</table>\n"


def refresh() -> None:
    """Write every chapter's picture, and both pages' tables of them."""
    COVERS.mkdir(parents=True, exist_ok=True)
    for path in sorted(SOLVED.glob("[0-9]*.ipynb")):
        picture = cover(nbformat.read(path, as_version=4))
        if picture is not None:
            (COVERS / f"{path.stem}.png").write_bytes(picture)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(GALLERY.sub(lambda _: gallery(page), text), encoding="utf-8")  # noqa: B023
