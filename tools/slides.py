"""Makes the talk's decks: `python -m tools.slides`, or `make slides`.

The talk is run once, and written to outputs/slides:

    talk-10.html, talk-5.html   the two lengths, each one file that needs no network and no kernel
    talk-10-handout.html, ...   the slides with what to say and when, to print
    talk-5.ipynb                the shorter one to present live, its left-out slides skipped

The shorter one leaves out what is tagged `ten-minutes`: a whole slide if the tag is on its first
cell, and otherwise that cell. A slide's notes begin with how long it takes in each.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter, SlidesExporter
from traitlets.config import Config

from tools import notebooks

FOLDER = Path(__file__).resolve().parent
SOURCE = notebooks.SOURCES / "talk.py"
TITLE = "Make the model yours"
LEFT_OUT = "ten-minutes"
TIMES = re.compile(r"\*\*(\d+) seconds(?:; (\d+) in the short talk)?\.\*\*")
REVEAL_FILES = {
    "reveal_css": "dist/reveal.css",
    "reveal_js": "dist/reveal.js",
    "notes_js": "plugin/notes/notes.js",
}


@dataclass(frozen=True)
class Cut:
    """One length of the talk."""

    minutes: int
    short: bool  # without what is left out of the short one

    @property
    def name(self) -> str:
        return f"talk-{self.minutes}"


CUTS = (Cut(10, False), Cut(5, True))


def slide_type(cell: Any) -> str:
    """What a cell is in the deck: "slide", "fragment", "notes", "skip" or "-"."""
    return str(cell.metadata.get("slideshow", {}).get("slide_type", "-"))


def slides(notebook: Any) -> list[list[Any]]:
    """The cells of each slide; those before the first belong to none."""
    found: list[list[Any]] = []
    for cell in notebook.cells:
        if slide_type(cell) in ("slide", "subslide"):
            found.append([cell])
        elif found:
            found[-1].append(cell)
    return found


def kept(notebook: Any, cut: Cut) -> list[list[Any]]:
    """The slides that a cut shows, without the cells that it leaves out or that are skipped."""
    shown = [cells for cells in slides(notebook) if not (cut.short and LEFT_OUT in _tags(cells[0]))]
    return [
        [c for c in cells if slide_type(c) != "skip" and not (cut.short and LEFT_OUT in _tags(c))]
        for cells in shown
    ]


def seconds(notebook: Any, cut: Cut) -> list[int]:
    """How long each slide of a cut takes, as its notes say.

    Raises ValueError for a slide whose notes do not begin with it.
    """
    found = []
    for cells in kept(notebook, cut):
        notes = [c.source for c in cells if slide_type(c) == "notes"]
        times = TIMES.match(notes[0]) if len(notes) == 1 else None
        said = times[2 if cut.short else 1] if times else None
        if said is None:
            raise ValueError(f"the notes of {cells[0].source!r} do not say how long it takes")
        found.append(int(said))
    return found


def deck(notebook: Any, cut: Cut) -> str:
    """A deck as one HTML file, of the talk with its outputs."""
    facts = {"title": TITLE, "seconds": sum(seconds(notebook, cut)), **_reveal()}
    facts["style"] = (FOLDER / "deck" / "deck.css").read_text(encoding="utf-8")
    exporter = _exporter(SlidesExporter, "deck")
    return _export(exporter, [c for cells in kept(notebook, cut) for c in cells], {"deck": facts})


def handout(notebook: Any, cut: Cut) -> str:
    """Each slide with when it begins and what to say, as a plain page to print."""
    cells, at = [], 0
    for shown, length in zip(kept(notebook, cut), seconds(notebook, cut), strict=True):
        heading, *rest = copy.deepcopy(shown)
        title = re.sub(r"^#+ ", "", heading.source)
        heading.source = f"## {at // 60}:{at % 60:02} {title}"
        for cell in rest:
            if slide_type(cell) == "notes":
                cell.source = TIMES.sub(f"{length} seconds.", cell.source)
        cells += [heading, *rest]
        at += length
    body = _export(_exporter(HTMLExporter, "basic"), cells, {})
    style = (FOLDER / "deck" / "handout.css").read_text(encoding="utf-8")
    head = f'<meta charset="utf-8"><title>{TITLE}</title><style>{style}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def live(notebook: Any, cut: Cut) -> str:
    """The talk's notebook for a live cut: everything runs, and what is left out is not shown."""
    shown = {cell["id"] for cells in kept(notebook, cut) for cell in cells}
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell["id"] not in shown:
            cell.metadata["slideshow"] = {"slide_type": "skip"}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook, version=4) + "\n"


def executed(folder: Path) -> Any:
    """The talk with its outputs, run in `folder`."""
    notebook = nbformat.reads(notebooks.build(SOURCE, "self-study"), as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=180, kernel_name="python3", resources=resources).execute()
    return notebook


def _exporter(kind: type, template: str) -> Any:
    """An nbconvert exporter that shows code only where a room is to read it."""
    exporter = kind(
        config=Config({"TagRemovePreprocessor": {"remove_input_tags": {"hide-input"}}}),
        template_name=template,
        extra_template_basedirs=[str(FOLDER)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    exporter.register_preprocessor("nbconvert.preprocessors.TagRemovePreprocessor", enabled=True)
    return exporter


def _export(exporter: Any, cells: list[Any], resources: dict[str, Any]) -> str:
    """Cells as a page, with their results; what they print on the way is for the presenter."""
    notebook = nbformat.v4.new_notebook(cells=copy.deepcopy(cells))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.output_type == "execute_result"]
    return str(exporter.from_notebook_node(notebook, resources=resources)[0])


def _tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _reveal() -> dict[str, str]:
    """reveal.js from the package that ships it; MIT, by Hakim El Hattab and contributors.

    Inside a page's script `<!--` would begin a comment, which `<\\!--` in a string does not.
    """
    folder = files("sphinx_revealjs") / "_static" / "revealjs"
    texts = {name: (folder / path).read_text("utf-8") for name, path in REVEAL_FILES.items()}
    return {name: text.replace("<!--", "<\\!--") for name, text in texts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("outputs/slides"), help="folder")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    notebook = executed(output)
    for cut in CUTS:
        for name, text in (
            (f"{cut.name}.html", deck(notebook, cut)),
            (f"{cut.name}-handout.html", handout(notebook, cut)),
        ):
            (output / name).write_text(text, encoding="utf-8")
            print(output / name)
        if cut.short:
            (output / f"{cut.name}.ipynb").write_text(live(notebook, cut), encoding="utf-8")


if __name__ == "__main__":
    main()
