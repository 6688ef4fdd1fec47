"""The page of the claims is what the results that ship build: nothing in it is typed by hand."""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from experiments import PLACES, find
from experiments.size import FULL

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book"))
import claims_page as book  # noqa: E402

RESULTS = ROOT / "data/results/claims"


SHIPPED = [name for name in PLACES if (RESULTS / f"{name}.json").exists()]


def test_what_ships_was_run_at_full_size_and_the_page_names_what_was_not():
    assert {path.stem for path in RESULTS.glob("*.json")} == set(SHIPPED)
    assert "comparison" in SHIPPED
    text = book.PAGE.read_text(encoding="utf-8")
    assert all(f"`python -m experiments {name} --size full`" in text for name in PLACES)
    for path in RESULTS.glob("*.json"):
        kept = json.loads(path.read_text(encoding="utf-8"))
        assert kept["size"] == asdict(FULL), path.name
        assert kept["command"] == f"python -m experiments {path.stem} --size full"
        assert {"commit", "hardware", "measured", "versions"} <= set(kept)


def test_the_page_is_what_its_results_build():
    assert book.PAGE.read_text(encoding="utf-8") == book.page(book.read(), book.read_why())


def test_the_page_shows_a_figure_for_each_claim():
    text = book.PAGE.read_text(encoding="utf-8")
    for name in SHIPPED:
        assert f"(images/claims/{name}.png)" in text
        assert (book.IMAGES / f"{name}.png").stat().st_size > 5000


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_result_says_what_the_claim_is_now_and_draws(name):
    kept = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    claim = find(name)
    assert (kept["statement"], kept["paper"], kept["number"]) == (
        claim.statement,
        claim.paper,
        claim.number,
    )
    assert claim.draw(kept["figures"]).axes


def test_what_explains_an_answer_holds_no_figure_of_ours():
    for name, text in book.read_why().items():
        assert name in PLACES
        assert not re.search(r"\d\.\d|\d %", text), f"{name} has a number that no experiment made"
