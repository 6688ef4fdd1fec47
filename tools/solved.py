"""Runs the sources and stores them with what comes out: `python -m tools.solved`, or `make solved`.

notebooks/solved/NN_name.ipynb is the jupytext pair of notebooks/source/NN_name.py with outputs:
GitHub shows them, the book is built from them, and nbval compares them with what comes out now.
Only what is stale is run: a notebook whose code is not its source's, or that was drawn with another
mini. `--again` runs the fresh ones as well, names (`03_sampling`) choose, and `--check` only says
what is stale.

Stored are text, and pictures of at most 128 colours: no widgets, no progress bars, no warnings. The
last picture of a chapter's cell that is tagged `cover` stands for the chapter elsewhere.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

from tools import covers
from tools.covers import SOLVED
from tools.notebooks import METADATA, ROOT, SOURCES, named

MINI = ROOT / "data" / "mini"
COLORS = 128
KEPT = ("lines_to_next_cell", "slideshow", "tags")  # jupytext's first: blank lines in the source
WIDGET = "application/vnd.jupyter.widget-view+json"
INLINE_PICTURE = re.compile(r"(?<=data:image/png;base64,)[A-Za-z0-9+/=]+")
TIMEOUT = 900  # seconds a cell: this may run on a busy machine


def sources() -> list[Path]:
    """All sources: the chapters and the talk."""
    return sorted(SOURCES.glob("*.py"))


def solved_path(source: Path) -> Path:
    """Where the pair of a source is."""
    return SOLVED / f"{source.stem}.ipynb"


def pair(source: Path) -> Any:
    """The notebook that is a source's pair, without outputs."""
    cells = named(jupytext.read(source, fmt="py:percent").cells, KEPT)
    metadata = {key: METADATA[key] for key in ("kernelspec", "language_info")}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    notebook.metadata["sdlearn"] = {"mini": mini_digest()}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def mini_digest() -> str:
    """What tells one mini from another: of all its weights."""
    digest = hashlib.sha256()
    for path in sorted(MINI.rglob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def difference(source: Path) -> str:
    """In a sentence, in what a solved notebook is not its source's pair; nothing where it is."""
    path, wanted = solved_path(source), pair(source)
    if not path.is_file():
        return f"{path.name} is missing"
    found = nbformat.read(path, as_version=4)
    for number, (ours, theirs) in enumerate(zip(found.cells, wanted.cells, strict=False), start=1):
        if _content(ours) != _content(theirs):
            return f"{path.name}: cell {number} is not its source's: {ours.source[:60]!r}"
    if len(found.cells) != len(wanted.cells):
        return f"{path.name} has {len(found.cells)} cells and its source {len(wanted.cells)}"
    if found.metadata != wanted.metadata:
        return f"{path.name} was drawn with another mini than {MINI.relative_to(ROOT)}"
    return ""


def solve(source: Path, *, again: bool = False) -> float:
    """Write a source's pair with its outputs; return the seconds that running it took.

    Outputs that are there stay, unless `again`, if they are of the same code and mini.
    """
    notebook, path, seconds = pair(source), solved_path(source), 0.0
    kept = nbformat.read(path, as_version=4) if path.is_file() and not again else None
    if kept is not None and _made_by(kept) == _made_by(notebook):
        for cell, before in zip(_code(notebook), _code(kept), strict=True):
            cell.outputs, cell.execution_count = before.outputs, before.execution_count
    else:
        seconds = execute(notebook)
    path.parent.mkdir(exist_ok=True)
    path.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")
    return seconds


def execute(notebook: Any) -> float:
    """Run a notebook in a folder of its own, and keep what is to be stored; return the seconds."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook,
            timeout=TIMEOUT,
            kernel_name="python3",
            resources=resources,
            record_timing=False,
            coalesce_streams=True,
        ).execute()
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = METADATA["language_info"]
    for cell in _code(notebook):
        cell.outputs = shown(cell.outputs)
        reduce_pictures(cell.outputs)
    return time.perf_counter() - begin


def shown(outputs: Sequence[Any]) -> list[Any]:
    """Those of a cell's outputs that are kept: no widgets and progress bars, nothing on stderr."""
    return [o for o in outputs if WIDGET not in o.get("data", {}) and o.get("name") != "stderr"]


def reduce_pictures(outputs: Sequence[Any]) -> None:
    """Make the pictures of outputs small, those within a page as well."""
    for data in (output.get("data", {}) for output in outputs):
        if "image/png" in data:
            data["image/png"] = reduced(data["image/png"])
        if "text/html" in data:
            data["text/html"] = INLINE_PICTURE.sub(lambda m: reduced(m[0]), data["text/html"])


def reduced(png: str) -> str:
    """A PNG in base64 with at most 128 colours, or as it is where that is smaller."""
    file = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(png)), formats=["PNG"]).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)
    return min(base64.b64encode(file.getvalue()).decode(), png.strip(), key=len)


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _content(cell: Any) -> tuple[Any, ...]:
    return cell.cell_type, cell.source, dict(cell.metadata), cell.get("id")


def _made_by(notebook: Any) -> tuple[Any, ...]:
    """What decides what a notebook's outputs are."""
    return notebook.metadata, [cell.source for cell in _code(notebook)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these, as 03_sampling")
    parser.add_argument("--again", action="store_true", help="run what is fresh as well")
    parser.add_argument("--check", action="store_true", help="only name what is stale")
    arguments = parser.parse_args()
    stems = [source.stem for source in sources()]
    unknown = set(arguments.names) - set(stems)
    if unknown:
        parser.error(
            f"there is no source {', '.join(sorted(unknown))}: there are {', '.join(stems)}"
        )
    if arguments.check:
        stale = [said for said in map(difference, sources()) if said]
        print(
            "\n".join([*stale, "run make solved"] if stale else ["all solved notebooks are fresh"])
        )
        return 1 if stale else 0
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    for source in sources():
        chosen = not arguments.names or source.stem in arguments.names
        if chosen and (arguments.again or difference(source)):
            seconds = solve(source, again=arguments.again)
            print(f"{solved_path(source).name}: {seconds:.0f} s", flush=True)
    covers.refresh()
    return 0


if __name__ == "__main__":
    sys.exit(main())
