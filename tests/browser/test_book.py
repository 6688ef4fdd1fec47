"""The book as a reader opens it from a disk: no request outside, search, two widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools import book

WIDTHS = {"wide": 1400, "phone": 390}  # pixels
PAGES = ("index", "notebooks/05_stable_diffusion", "claims", "command-line", "api", "terms")
PATIENCE = 120_000  # milliseconds


@pytest.fixture(scope="module")
def html() -> Path:
    book.gather()
    assert book.build() == 0
    return book.HTML


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_ask_nothing_of_anywhere_and_fit_the_width(
    browser: Any, html: Path, tmp_path: Path, width: str, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme, offline=True
    )
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in PAGES:
        page.goto((html / f"{name}.html").as_uri(), timeout=PATIENCE)
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width], name
        assert page.locator("html").get_attribute("data-theme") == scheme
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)"), name
        page.screenshot(path=tmp_path / f"{name.replace('/', '-')}.png")
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert errors == []
    context.close()


def test_a_word_is_found_by_search(browser: Any, html: Path) -> None:
    page = browser.new_page()
    page.goto((html / "search.html").as_uri() + "?q=quasi", timeout=PATIENCE)
    found = page.locator("ul.search li a").first
    found.wait_for(timeout=PATIENCE)
    assert "Sampling" in page.locator("ul.search").inner_text()
    page.close()


def test_a_solution_opens_when_it_is_asked_for_and_formulas_are_set(
    browser: Any, html: Path
) -> None:
    page = browser.new_page()
    page.goto((html / "notebooks/02_diffusion.html").as_uri(), timeout=PATIENCE)
    page.locator("mjx-container").first.wait_for(timeout=PATIENCE)
    solution = page.locator("details", has_text="Show the solution").first
    assert solution.get_attribute("open") is None
    solution.locator("summary").click()
    assert solution.get_attribute("open") is not None
    page.close()
