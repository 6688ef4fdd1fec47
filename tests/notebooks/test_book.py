"""The book: chapters as they were run, solutions folded, and nothing fetched from elsewhere."""

import re
from pathlib import Path

import nbformat
import pytest

from tools import book, notebooks, solved

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = [source for source in solved.sources() if notebooks.is_chapter(source)]
by_chapter = pytest.mark.parametrize("source", CHAPTERS, ids=[s.stem for s in CHAPTERS])


@by_chapter
def test_a_solution_is_folded_and_named_below_what_is_to_be_written(source):
    cells = book.chapter(source).cells
    folded = [i for i, c in enumerate(cells) if "hide-input" in c.metadata.get("tags", [])]
    assert len(folded) == sum(
        bool(notebooks.SOLUTION.search(cell.source + "\n")) for cell in solved.pair(source).cells
    )
    for i in folded:
        assert cells[i].metadata["mystnb"]["code_prompt_show"] == "Show the solution"
        assert "NotImplementedError" in cells[i - 1].source or "your answer" in cells[i - 1].source
    assert not [cell for cell in cells if "### BEGIN SOLUTION" in cell.source]


@by_chapter
def test_a_chapter_leads_to_the_learner_s_notebook_and_has_both_to_download(source):
    links = book.chapter(source).cells[1].source
    places = re.findall(r"github(?:\.com)?/[\w-]+/[\w-]+/blob/main/(.*?)\"", links)
    assert places == [f"notebooks/{source.stem}.ipynb"] * 2
    assert (ROOT / places[0]).is_file()
    assert re.findall(r"<../files/(.*?)>", links) == [
        f"learn/{source.stem}.ipynb",
        f"solved/{source.stem}.ipynb",
    ]


@by_chapter
def test_a_figure_is_described_by_the_words_around_it(source):
    for cell in book.chapter(source).cells:
        if cell.cell_type == "code":
            assert len(cell.metadata["mystnb"]["image"]["alt"]) > 5


def test_a_figure_s_description_is_its_heading_and_the_sentence_below():
    below = nbformat.v4.new_markdown_cell("**Look along a row.** Then down the last `column`.")
    assert book.alternative("Samplers", below) == "Samplers: Look along a row."
    assert book.alternative("Samplers", None) == "Samplers"


@pytest.mark.slow
def test_the_book_has_every_command_of_the_program():
    offered = re.search(r"\{([\w,-]+)\}", book._help([]))[1].split(",")
    methods = re.search(r"\{([\w,-]+)\}", book._help(["train"]))[1].split(",")
    expected = {*offered, *(f"train {method}" for method in methods)} - {"train"}
    assert expected == set(book.COMMANDS)


@pytest.mark.slow
def test_the_book_is_built_without_a_warning_and_asks_nothing_of_anywhere():
    book.gather()
    assert book.build() == 0
    pages = [p for p in sorted(book.HTML.rglob("*.html")) if "_static" not in p.parts]
    assert {f"{source.stem}.html" for source in CHAPTERS} < {page.name for page in pages}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        asked = re.findall(r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=\"(.*?)\"", text)
        asked += re.findall(r"<link\b[^>]*?rel=\"stylesheet\"[^>]*?href=\"(.*?)\"", text)
        outside = [url for url in asked if re.match(r"(https?:)?//", url)]
        assert not outside, page.name
        for url in asked:
            place = url.split("?")[0].split("#")[0]
            assert url.startswith("data:") or (page.parent / place).is_file(), f"{page.name}: {url}"
    downloads = {path.name for path in (book.HTML / "_downloads").rglob("*.ipynb")}
    assert downloads == {f"{source.stem}.ipynb" for source in CHAPTERS}
    assert "Show the solution" in (book.HTML / "notebooks" / f"{CHAPTERS[5].stem}.html").read_text()
    assert "denois" in (book.HTML / "searchindex.js").read_text(encoding="utf-8")
