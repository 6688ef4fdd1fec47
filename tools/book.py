"""Makes the book: `python -m tools.book`, or `make book`; `--pdf` makes one PDF of all.

Nothing is run and nothing is fetched: chapters are what notebooks/solved stores. The pages are
gathered in book/_build/pages, Sphinx makes book/_build/html of them (open index.html, from a disk
too) and, for the PDF, one long page that Chromium prints to book/_build/sdlearn.pdf.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from tools import covers, notebooks, slides, solved
from tools.notebooks import ROOT, SOLUTION

BOOK = ROOT / "book"
PAGES, HTML, SINGLE = (BOOK / "_build" / name for name in ("pages", "html", "single"))
PDF = BOOK / "_build" / "sdlearn.pdf"
WRITTEN = ("index.md", "terms.md", "api.md")  # by hand; the others are gathered
COMMANDS = (  # of the program, as they come in its help
    *("demo", "generate", "character", "plan", "pretrain", "evaluate", "grade", "info"),
    *(
        f"train {method}"
        for method in ("full", "textual-inversion", "dreambooth", "lora", "imagic")
    ),
)
LINKS = """<p class="chapter-links">
<a href="https://colab.research.google.com/github/{path}">Open in Colab</a>
<a href="https://www.kaggle.com/kernels/welcome?src=https://github.com/{path}">Open in Kaggle</a>
</p>

{{download}}`Notebook with exercises <../files/learn/{name}>` · \
{{download}}`with solutions and outputs <../files/solved/{name}>`"""
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def gather(pages: Path = PAGES) -> None:
    """Put all pages of the book into one folder, as Sphinx wants them."""
    shutil.rmtree(pages, ignore_errors=True)
    (pages / "notebooks").mkdir(parents=True)
    for name in WRITTEN:
        shutil.copy(BOOK / name, pages)
    shutil.copytree(BOOK / "images", pages / "images")
    shutil.copytree(covers.COVERS, pages / "extra" / "chapters")
    chapters = [source for source in solved.sources() if notebooks.is_chapter(source)]
    for source in chapters:
        text = nbformat.writes(chapter(source), version=4)
        (pages / "notebooks" / f"{source.stem}.ipynb").write_text(text, encoding="utf-8")
        _copy_downloads(source, pages / "files")
    _write(
        pages / "index.md", (BOOK / "index.md").read_text("utf-8").format(chapters=_tiles(chapters))
    )
    _write(pages / "claims.md", (BOOK / "claims.md").read_text(encoding="utf-8"))
    _write(pages / "mini.md", _without_header((ROOT / "data/mini/README.md").read_text("utf-8")))
    _write(pages / "presenting.md", (ROOT / "notebooks/PRESENTING.md").read_text(encoding="utf-8"))
    _write(pages / "teaching.md", _teaching((ROOT / "notebooks/README.md").read_text("utf-8")))
    _write(pages / "command-line.md", command_line())
    _write(pages / "deck.md", (BOOK / "deck.md").read_text("utf-8").format(decks=_decks(pages)))


def chapter(source: Path) -> Any:
    """A chapter's solved notebook as the book shows it: solutions folded, figures described."""
    path = solved.solved_path(source)
    notebook = nbformat.read(path, as_version=4) if path.is_file() else solved.pair(source)
    name = f"{source.stem}.ipynb"
    place = f"{notebooks.repository()}/blob/main/notebooks/{name}"
    links = LINKS.format(path=place, name=name)
    first, *rest = notebook.cells
    shown, heading = [first, nbformat.v4.new_markdown_cell(links)], covers.chapter_title(source)
    for cell, following in zip(rest, [*rest[1:], None], strict=True):
        if cell.cell_type == "code":
            shown += _shown(cell, alternative(heading, following))
        else:
            heading = [heading, *re.findall(r"^#+ (.*)$", cell.source, re.M)][-1]
            shown.append(cell)
    notebook.cells = shown
    return notebook


def _shown(cell: Any, described: str) -> list[Any]:
    """A code cell; one with a solution shows what is to be written, and the solution folded."""
    cell.metadata = {"mystnb": {"image": {"alt": described}}}
    text = cell.source + "\n"
    if not SOLUTION.search(text):
        return [cell]
    stub = nbformat.v4.new_markdown_cell(f"```python\n{notebooks.stubbed(text)}\n```")
    cell.source = SOLUTION.sub(lambda m: m["code"], text).rstrip()
    cell.metadata["tags"] = ["hide-input"]
    cell.metadata["mystnb"] |= {
        "code_prompt_show": "Show the solution",
        "code_prompt_hide": "Hide the solution",
    }
    return [stub, cell]


def alternative(heading: str, following: Any) -> str:
    """What a cell's figure shows, for people who cannot see it: the words around it."""
    below = following.source if following is not None and following.cell_type == "markdown" else ""
    text = " ".join(line for line in below.splitlines() if line and not line.startswith(("#", "<")))
    plain = re.sub(r"[*`$\\]", "", text)
    sentence = re.match(r"(.*?[.?!])(?:\s|$)", plain)
    return f"{heading}: {sentence[1]}" if sentence else heading


def command_line() -> str:
    """A page with the program's help, and every command's."""
    parts = ["# The command line\n\nEverything the package does without a notebook.\n"]
    for command in ("", *COMMANDS):
        parts.append(f"## `{' '.join(['sdlearn', *command.split()])}`\n")
        parts.append(f"```text\n{_help(command.split())}\n```\n")
    return "\n".join(parts)


def _help(command: Sequence[str]) -> str:
    plain = {**os.environ, "COLUMNS": "88", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "sdlearn", *command, "--help"],
        capture_output=True,
        check=True,
        cwd=ROOT,
        encoding="utf-8",
        env=plain | {"PYTHONIOENCODING": "utf-8"},
    )
    return done.stdout.strip()


def _tiles(chapters: Sequence[Path]) -> str:
    """The chapters with a picture each, as the first page shows them."""
    tiles = []
    for source in chapters:
        title = covers.chapter_title(source)
        picture = covers.COVERS / f"{source.stem}.png"
        image = f'<img src="chapters/{picture.name}" alt="">' if picture.is_file() else ""
        tiles.append(f'<a href="notebooks/{source.stem}.html">{image}{title}</a>')
    return '<div class="chapters">\n' + "\n".join(tiles) + "\n</div>"


def _decks(pages: Path) -> str:
    """Links to the talk's decks, which are made of its solved notebook."""
    path = solved.solved_path(slides.SOURCE)
    if not path.is_file():
        return "They are in the book as soon as the talk's notebook was run by `make solved`."
    notebook = nbformat.read(path, as_version=4)
    lines = []
    for cut in slides.CUTS:
        _write(pages / "files" / f"{cut.name}.html", slides.deck(notebook, cut))
        lines.append(f"- {{download}}`{cut.minutes} minutes <files/{cut.name}.html>`")
    return "\n".join(lines)


def _copy_downloads(source: Path, folder: Path) -> None:
    learn, solution = folder / "learn", folder / "solved"
    for place in (learn, solution):
        place.mkdir(parents=True, exist_ok=True)
    shutil.copy(notebooks.VARIANTS["self-study"] / f"{source.stem}.ipynb", learn)
    path = solved.solved_path(source)
    text = path.read_text("utf-8") if path.is_file() else nbformat.writes(solved.pair(source))
    _write(solution / f"{source.stem}.ipynb", text)


def _teaching(readme: str) -> str:
    """The teachers' part of the notebooks' README, as a page of its own."""
    return "# For teachers" + readme.split("\n## For teachers", 1)[1]


def _without_header(text: str) -> str:
    """A card without its YAML header."""
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def build(builder: str = "html", target: Path = HTML) -> int:
    """Have Sphinx build the gathered pages; a warning is an error. Returns its exit status."""
    shutil.rmtree(target, ignore_errors=True)
    options = ["-W", "--keep-going", "-q", "-b", builder, "-c", str(BOOK)]
    doctrees = ["-d", str(BOOK / "_build" / f"doctrees-{builder}")]
    command = [sys.executable, "-m", "sphinx", *options, *doctrees, str(PAGES), str(target)]
    return subprocess.run(command, cwd=ROOT).returncode


def print_pdf(page: Path, pdf: Path = PDF) -> None:
    """Have Chromium print a page. Raises FileNotFoundError where there is none on the PATH."""
    chromium = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if chromium is None:
        raise FileNotFoundError("the PDF needs Chromium on the PATH: install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(page.as_uri())
        opened.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        opened.evaluate("window.MathJax?.startup?.promise")
        margins = dict.fromkeys(("top", "bottom", "left", "right"), "16mm")
        opened.pdf(path=pdf, format="A4", margin=margins, print_background=True)
        browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pdf", action="store_true", help="one PDF of all, instead of the pages")
    pdf = parser.parse_args().pdf
    gather()
    status = build("singlehtml", SINGLE) if pdf else build()
    if status:
        return status
    if pdf:
        print_pdf(SINGLE / "index.html")
    print(PDF if pdf else HTML / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
