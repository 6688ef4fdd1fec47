"""Claim 4: DreamBooth is more faithful than Textual Inversion, most of all outside the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from experiments.bench import Bench, difference, over_subjects
from experiments.claim import Claim, Finding, all_of, as_json, exceeds, words
from experiments.figures import axes, bars
from sdlearn.evaluate.bootstrap import Interval
from sdlearn.evaluate.compare import DREAMBOOTH, LABELS, TEXTUAL_INVERSION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDES = {True: "within what mini can express", False: "outside"}


def run(bench: Bench) -> Finding:
    """Both methods on both kinds of subjects."""
    rows, gaps = {}, {}
    for within, side in SIDES.items():
        found = [s for s in bench.subjects() if s.is_known_style == within]
        if not found:
            continue
        units = {r: [bench.learnt(s, r) for s in found] for r in (DREAMBOOTH, TEXTUAL_INVERSION)}
        for recipe, row in units.items():
            rows[f"{LABELS[recipe.name]}, {side}"] = as_json(over_subjects(row, "fidelity"))
        gaps[within] = difference(units[DREAMBOOTH], units[TEXTUAL_INVERSION], "fidelity")
    by_side = {SIDES[within]: as_json(gap) for within, gap in gaps.items()}
    figures: dict[str, Any] = {"rows": rows, "gaps": by_side}
    said = " and ".join(f"{words(gap)} {SIDES[within]}" for within, gap in gaps.items())
    says = f"DreamBooth is more faithful than Textual Inversion by {said}."
    if len(gaps) < 2:
        return Finding(figures=figures, agrees=None, says=f"{says} Two kinds need two subjects.")
    larger = _larger(gaps[False], gaps[True])
    figures["gap_larger_outside"] = as_json(larger)
    says += f" The gap is larger outside by {words(larger)}."
    agrees = all_of([*(exceeds(gap) for gap in gaps.values()), exceeds(larger)])
    return Finding(figures=figures, agrees=agrees, says=says)


def _larger(first: Interval, second: Interval) -> Interval:
    """How much larger one figure is than another of other subjects.

    Both are independent, so the half widths add up as the root of their squares.
    """
    value = first.value - second.value
    below = ((first.value - first.low) ** 2 + (second.high - second.value) ** 2) ** 0.5
    over = ((first.high - first.value) ** 2 + (second.value - second.low) ** 2) ** 0.5
    return Interval(value=value, low=value - below, high=value + over)


def draw(figures: Mapping[str, Any]) -> Figure:
    """Likeness of each method on each kind, and the gaps."""
    figure, [left, right] = axes(2)
    bars(left, figures["rows"], "like the subject (cosine)")
    bars(right, figures["gaps"], "DreamBooth over Textual Inversion (cosine)", zero=True)
    return figure


EXPRESSIBLE = Claim(
    number=4,
    name="expressible",
    statement=(
        "DreamBooth beats Textual Inversion on fidelity, and the gap is larger for subjects "
        "outside what the model can express."
    ),
    paper=(
        "DINO .668 against .569 on Stable Diffusion (Ruiz et al. 2022, arXiv:2208.12242, table 1); "
        "that a frozen model can only find what it can express is an argument of its section 2, "
        "without a figure."
    ),
    run=run,
    draw=draw,
)
