"""What a claim is: a sentence that courses repeat, an experiment, and what the paper measured."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import PLACES, find
from sdlearn.course.results import shipped_result
from sdlearn.evaluate.bootstrap import Interval
from sdlearn.evaluate.report import judges_accuracy, measurement_facts, write_report
from sdlearn.models.registry import PACKAGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.bench import Bench

Result = dict[str, Any]  # what JSON holds


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What an experiment found: figures, what they say, and whether the claim holds here."""

    figures: Mapping[str, Any]  # for the drawing and the page: intervals as `as_json`, lists, names
    agrees: bool | None  # with the claim; None: the intervals leave it open
    says: str  # one to three sentences, with the numbers of `figures`


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One experiment of the course."""

    number: int
    name: str  # on the command line, and of its files
    statement: str  # the claim, as courses make it
    paper: str  # what the paper measured, with its source
    run: Callable[[Bench], Finding]
    draw: Callable[[Mapping[str, Any]], Figure]  # of a finding's figures


def run_claim(name: str, bench: Bench, folder: Path) -> Result:
    """Run a claim; write NAME.json and NAME.png to a folder, complete or not at all."""
    from experiments.figures import save

    claim = find(name)
    finding = claim.run(bench)
    kept = result(claim, bench, finding)
    write_report(kept, folder / f"{name}.json")
    save(claim.draw(finding.figures), folder / f"{name}.png")
    return kept


def shipped_results() -> Iterator[tuple[str, Result | None]]:
    """Yield each claim's name and the result that the course ships, or None."""
    for name in PLACES:
        try:
            yield name, shipped_result(f"claims/{name}")
        except FileNotFoundError:
            yield name, None


def answer(agrees: bool | None) -> str:
    """Say whether a claim holds on mini, in a word or two."""
    return {True: "holds", False: "does not hold", None: "open"}[agrees]


def result(claim: Claim, bench: Bench, finding: Finding) -> Result:
    """All that is kept of a claim's run."""
    return {
        "number": claim.number,
        "claim": claim.name,
        "statement": claim.statement,
        "paper": claim.paper,
        "agrees": finding.agrees,
        "says": finding.says,
        "figures": finding.figures,
        "size": asdict(bench.size),
        "judges": judges_accuracy(bench.model),
        "commit": _commit(),
        **measurement_facts(
            f"python -m experiments {claim.name} --size {size_name(bench.size)}", "cpu"
        ),
    }


def size_name(size: object) -> str:
    """What a size is called on the command line."""
    from experiments.size import SIZES

    return next((name for name, known in SIZES.items() if known == size), "other")


def as_json(interval: Interval) -> dict[str, float]:
    """An interval for a file."""
    return asdict(interval)


def words(interval: Interval | Mapping[str, float], unit: str = "", digits: int = 2) -> str:
    """An interval in a sentence: "0.25 (0.20 to 0.31)"."""
    i = interval if isinstance(interval, Mapping) else asdict(interval)
    rounded = [round(i[key], digits) + 0.0 for key in ("value", "low", "high")]  # no "-0.00"
    value, low, high = (f"{number:.{digits}f}" for number in rounded)
    return f"{value}{unit} ({low} to {high})"


def difference_in_words(interval: Interval | Mapping[str, float], digits: int = 2) -> str:
    """A difference in a sentence: "0.25 (0.20 to 0.31) higher", or lower with the signs negated."""
    i = interval if isinstance(interval, Mapping) else asdict(interval)
    if i["value"] >= 0:
        return f"{words(i, digits=digits)} higher"
    return f"{words(negated(i), digits=digits)} lower"


def negated(interval: Mapping[str, float]) -> dict[str, float]:
    """The interval of a difference the other way round."""
    return {
        "value": -interval["value"],
        "low": -interval["high"],
        "high": -interval["low"],
    }


def exceeds(interval: Interval, bound: float = 0.0) -> bool | None:
    """Whether a figure is above a bound: yes, no, or open where its interval holds the bound."""
    if interval.low > bound:
        return True
    return False if interval.high < bound else None


def all_of(answers: Sequence[bool | None]) -> bool | None:
    """Whether all hold: no if one does not, open if one is open."""
    if any(answer is False for answer in answers):
        return False
    return None if any(answer is None for answer in answers) else True


def _commit() -> str:
    """The commit of the checkout, or of an installed package its version."""
    from sdlearn import __version__

    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=PACKAGE, capture_output=True, text=True
        )
    except OSError:
        return __version__
    return found.stdout.strip() or __version__
