"""The talk: its two lengths, decks that need no network, and what it loads instead of training."""

import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from sdlearn.course.html_figures import static_slider
from sdlearn.course.training import QUICK
from sdlearn.data.licenses import license_of, manifest
from sdlearn.data.png import read_generated
from tools import notebooks, slides

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "notebooks"))
import shipped_pictures  # noqa: E402

BY_LENGTH = pytest.mark.parametrize("cut", slides.CUTS, ids=[cut.name for cut in slides.CUTS])
SHORT = next(cut for cut in slides.CUTS if cut.short)
SHIPPED = sorted(
    path
    for folder in (shipped_pictures.PICTURES, shipped_pictures.METHODS)
    for path in folder.glob("*")
)


def read_talk():
    return nbformat.reads(notebooks.build(slides.SOURCE, "self-study"), as_version=4)


@pytest.fixture(scope="module")
def talk():
    """The talk with a slider as the output of each of its code cells."""
    notebook = read_talk()
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    page = static_slider(lambda eta: picture, "eta", [0, 1]).text
    for cell in notebook.cells:
        if cell.cell_type == "code":
            data = {"text/html": page, "text/plain": "a slider"}
            output = nbformat.v4.new_output("execute_result", data=data, execution_count=1)
            cell.outputs = [output, nbformat.v4.new_output("stream", text="on the way")]
    return notebook


@pytest.fixture(scope="module")
def decks(talk):
    return {cut: slides.deck(talk, cut) for cut in slides.CUTS}


def test_the_committed_talk_is_what_its_source_builds_and_there_is_none_for_a_class():
    (path,) = notebooks.targets(slides.SOURCE).values()
    assert path == ROOT / "notebooks" / "talk.ipynb"
    assert path.read_text(encoding="utf-8") == notebooks.build(slides.SOURCE, "self-study")


@BY_LENGTH
def test_the_seconds_in_the_notes_add_up_to_the_length_of_the_talk(cut):
    assert sum(slides.seconds(read_talk(), cut)) == 60 * cut.minutes


def test_a_slide_without_a_time_is_named():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Hello")])
    notebook.cells[0].metadata = {"slideshow": {"slide_type": "slide"}}
    with pytest.raises(ValueError, match="'# Hello' do not say how long"):
        slides.seconds(notebook, SHORT)


@BY_LENGTH
def test_a_slide_is_one_idea_a_heading_and_at_most_two_sentences_of_text(cut):
    for cells in slides.kept(read_talk(), cut):
        text = [c.source for c in cells if c.cell_type == "markdown"]
        shown = [c for c in cells if slides.slide_type(c) != "notes"]
        words = " ".join(c.source for c in shown if c.cell_type == "markdown").split()
        assert text[0].startswith(("# ", "## ")), text[0]
        assert len(words) <= 30, text[0]


@BY_LENGTH
def test_a_deck_takes_nothing_from_elsewhere(decks, cut):
    deck = decks[cut]
    assert "Reveal.initialize" in deck
    markup = re.sub(r"<(script|style)>.*?</\1>", "", deck, flags=re.S)
    sources = re.findall(
        r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"([^\"]*)", markup
    )
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    styles = "".join(re.findall("<style>(.*?)</style>", deck, re.S))
    assert "@import" not in styles
    assert not re.findall(r"url\(['\"]?(?!data:)", styles)


@BY_LENGTH
def test_a_deck_has_its_sliders_and_notes_and_hides_what_a_room_need_not_read(talk, decks, cut):
    deck = decks[cut]
    number = len(slides.kept(talk, cut))
    assert len(re.findall(r"<section\b", deck)) == 2 * number  # reveal.js nests each
    assert deck.count('<aside class="notes">') == number
    assert len(re.findall(r'<input\b[^>]*type="range"', deck)) >= 5
    assert "WISHES" in deck  # the live cell is for everybody
    assert "clean = to_pixel_values" not in re.sub("<[^>]*>", "", deck)
    assert "on the way" not in deck


def test_the_short_deck_leaves_out_what_is_tagged(decks):
    long, short = (decks[cut] for cut in slides.CUTS)
    for heading in ("Why it runs at home", "Others stay strangers"):
        assert heading in long
        assert heading not in short
    assert "Which one, when?" in short


def test_the_short_talk_can_be_given_live_and_still_runs_every_cell(talk):
    notebook = nbformat.reads(slides.live(talk, SHORT), as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [c.source for c in code] == [c.source for c in talk.cells if c.cell_type == "code"]
    assert not any(cell.outputs for cell in code)
    shown = [c for c in notebook.cells if slides.slide_type(c) == "slide"]
    assert len(shown) == len(slides.kept(talk, SHORT))


@BY_LENGTH
def test_the_handout_says_when_each_slide_begins_and_shows_it(talk, cut):
    page = slides.handout(talk, cut)
    begins = [60 * int(m) + int(s) for m, s in re.findall(r"<h2[^>]*>(\d+):(\d\d) ", page)]
    lengths = slides.seconds(talk, cut)
    assert begins == [sum(lengths[:i]) for i in range(len(lengths))]
    assert "in the short talk." not in page
    assert page.count('sdlearn-slider"') >= 5
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)


def test_every_shipped_picture_says_that_mini_drew_it_and_all_are_small():
    assert SHIPPED
    for path in SHIPPED:
        assert read_generated(path).model.startswith("mini"), path
        with Image.open(path) as image:
            assert "Made by AI" in image.text["Description"]
            assert image.size == (64, 64)
    assert sum(path.stat().st_size for path in SHIPPED) < 300_000
    weights = [p for p in shipped_pictures.ARTEFACTS.rglob("*") if p.is_file()]
    assert sum(path.stat().st_size for path in weights) < 9_000_000


def test_the_artists_behind_the_shipped_pictures_are_named():
    rights = manifest()["data/results/talk"]
    for style in (shipped_pictures.UNKNOWN[0], "micah"):
        assert license_of(style)["author"] in rights["via"]
    by_every_method = license_of(shipped_pictures.BY_EVERY_METHOD.style)["author"]
    assert by_every_method in manifest()["data/results/methods"]["via"]
    for style in (shipped_pictures.KNOWN[0], shipped_pictures.UNKNOWN[0], "micah"):
        assert license_of(style)["author"] in manifest()["data/results/artefacts"]["via"]


@pytest.mark.slow
def test_the_talk_runs_and_its_decks_show_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv(QUICK, "1")
    monkeypatch.setattr(sys, "argv", ["slides.py", "--output", str(tmp_path)])
    slides.main()
    for cut in slides.CUTS:
        deck = (tmp_path / f"{cut.name}.html").read_text(encoding="utf-8")
        assert deck.count("data:image/png;base64,") > 50
        assert "Traceback" not in deck
    assert (tmp_path / "talk-5.ipynb").is_file()
