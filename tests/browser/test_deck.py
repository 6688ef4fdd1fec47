"""The talk's decks: one file each, opened without a network, with pictures and sliders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sdlearn.course.training import QUICK
from tools import slides

ROOT = Path(__file__).resolve().parents[2]

SLIDER = "section.present input[type=range]"
SHOWN = "section.present .sdlearn-slider img.shown"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("slides")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(QUICK, "1")
        patch.setattr(sys, "argv", ["slides.py", "--output", str(made)])
        slides.main()
    return made


@pytest.mark.parametrize("cut", slides.CUTS, ids=[cut.name for cut in slides.CUTS])
def test_a_deck_works_without_a_network(browser: Any, folder: Path, cut: slides.Cut) -> None:
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 720})
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((folder / f"{cut.name}.html").as_uri())
    pictures, sliders = 0, 0
    for number in range(page.evaluate("Reveal.getTotalSlides()")):
        page.evaluate(f"Reveal.slide({number}, 0, 99)")  # with all its fragments
        inside = page.locator("section.present section.present")
        pictures += inside.locator("img").count()
        height = inside.evaluate("slide => slide.scrollHeight")
        assert height <= 720, inside.inner_text()
        if page.locator(SLIDER).count():
            sliders += 1
            move(page)
    assert pictures > 50
    assert sliders >= 3
    assert errors == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
    context.close()


def move(page: Any) -> None:
    """Move the slide's slider to its end, and see its last picture and value."""
    before, slider = page.locator(SHOWN).get_attribute("src"), page.locator(SLIDER)
    slider.fill(slider.get_attribute("max"))
    assert page.locator(SHOWN).count() == 1
    assert page.locator(SHOWN).get_attribute("src") != before
    last = page.locator("section.present .sdlearn-slider img").last
    assert page.locator("section.present output").inner_text() == last.get_attribute("alt")
