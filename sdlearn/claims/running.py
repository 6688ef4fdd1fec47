"""Running a claim, and reading what the course ships of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdlearn.claims import PLACES, find
from sdlearn.claims.claim import Result, result
from sdlearn.models.registry import shipped_path

if TYPE_CHECKING:
    from sdlearn.claims.bench import Bench

SHIPPED = "results/claims"  # below data/


def run_claim(name: str, bench: Bench, folder: Path) -> Result:
    """Run a claim; write NAME.json and NAME.png to a folder, complete or not at all."""
    from sdlearn.claims.figures import save
    from sdlearn.evaluate.report import write_report

    claim = find(name)
    finding = claim.run(bench)
    kept = result(claim, bench, finding)
    write_report(kept, folder / f"{name}.json")
    save(claim.draw(finding.figures), folder / f"{name}.png")
    return kept


def shipped_result(name: str) -> dict[str, Any]:
    """What the course ships of a claim; raises FileNotFoundError where it has not been run."""
    return json.loads(shipped_path(f"{SHIPPED}/{name}.json").read_text(encoding="utf-8"))


def shipped_results() -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Each claim's name and its shipped result, or None."""
    for name in PLACES:
        try:
            yield name, shipped_result(name)
        except FileNotFoundError:
            yield name, None


def answer(agrees: bool | None) -> str:
    """Whether a claim holds on mini, in a word or two."""
    return {True: "holds", False: "does not hold", None: "open"}[agrees]
