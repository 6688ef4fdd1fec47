"""Claims 1 to 3: what prior preservation does to the class, to diversity and to fidelity.

All three look at the same runs as the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from experiments.bench import Bench, difference, over_subjects
from experiments.claim import Claim, Finding, as_json, exceeds, words
from experiments.figures import axes, bars
from sdlearn.evaluate.compare import BEFORE, DREAMBOOTH, DREAMBOOTH_PRIOR

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.bench import Unit

WITHOUT, WITH = "without prior preservation", "with it"
PAPER = "Ruiz et al. 2022, arXiv:2208.12242, table 3 (Imagen, 15 subjects)"


def _runs(bench: Bench) -> tuple[list[Unit], list[Unit]]:
    """The subjects learnt without and with prior preservation."""
    found = bench.subjects()
    return (
        [bench.learnt(subject, DREAMBOOTH) for subject in found],
        [bench.learnt(subject, DREAMBOOTH_PRIOR) for subject in found],
    )


def run_drift(bench: Bench) -> Finding:
    """PRES of the bare class, before and after both."""
    without, with_it = _runs(bench)
    before = [bench.learnt(subject, BEFORE) for subject in bench.subjects()]
    rows = {
        "before": over_subjects(before, "class_like_subject"),
        WITH: over_subjects(with_it, "class_like_subject"),
        WITHOUT: over_subjects(without, "class_like_subject"),
    }
    more = difference(without, with_it, "class_like_subject")
    shift = {
        WITH: over_subjects(with_it, "class_shift"),
        WITHOUT: over_subjects(without, "class_shift"),
    }
    says = (
        f"Pictures of the bare class come to look like the subject: their likeness is "
        f"{rows[WITHOUT].value:.2f} without prior preservation and {rows[WITH].value:.2f} with it, "
        f"from {rows['before'].value:.2f} before, a difference of {words(more)}. Of the attributes "
        f"that the reader sees in them, {shift[WITHOUT].value:.0%} have shifted without it and "
        f"{shift[WITH].value:.0%} with it."
    )
    figures = {
        "rows": {name: as_json(row) for name, row in rows.items()},
        "difference": as_json(more),
        "class_shift": {name: as_json(row) for name, row in shift.items()},
    }
    return Finding(figures=figures, agrees=exceeds(more), says=says)


def run_diversity(bench: Bench) -> Finding:
    """DIV of a prompt's pictures, and of the bare class."""
    without, with_it = _runs(bench)
    rows = {
        WITH: over_subjects(with_it, "diversity"),
        WITHOUT: over_subjects(without, "diversity"),
        f"class, {WITH}": over_subjects(with_it, "class_diversity"),
        f"class, {WITHOUT}": over_subjects(without, "class_diversity"),
    }
    more = difference(with_it, without, "diversity")
    of_class = difference(with_it, without, "class_diversity")
    says = (
        f"Pictures of one prompt of the subject differ by {rows[WITHOUT].value:.2f} without and "
        f"{rows[WITH].value:.2f} with prior preservation: {words(more)} more with it. In pictures "
        f"of the bare class it counts most, {rows[f'class, {WITHOUT}'].value:.2f} against "
        f"{rows[f'class, {WITH}'].value:.2f}."
    )
    figures = {
        "rows": {name: as_json(row) for name, row in rows.items()},
        "difference": as_json(more),
        "class_difference": as_json(of_class),
    }
    return Finding(figures=figures, agrees=exceeds(more), says=says)


def run_fidelity(bench: Bench) -> Finding:
    """Likeness to the subject, and what was asked and is seen."""
    without, with_it = _runs(bench)
    rows = {
        WITH: over_subjects(with_it, "fidelity"),
        WITHOUT: over_subjects(without, "fidelity"),
    }
    costs = difference(without, with_it, "fidelity")
    prompts = difference(with_it, without, "asked_and_seen")
    says = (
        f"Likeness to the subject is {rows[WITHOUT].value:.2f} without and {rows[WITH].value:.2f} "
        f"with prior preservation at the same number of steps: it costs {words(costs, digits=3)}. "
        f"In return {words(prompts)} more of what was asked is seen."
    )
    figures = {
        "rows": {name: as_json(row) for name, row in rows.items()},
        "difference": as_json(costs),
        "asked_and_seen_difference": as_json(prompts),
    }
    return Finding(figures=figures, agrees=exceeds(costs), says=says)


def draw(figures: Mapping[str, Any], label: str) -> Figure:
    """The rows of any of the three."""
    figure, [ax] = axes()
    bars(ax, figures["rows"], label)
    return figure


DRIFT = Claim(
    number=1,
    name="drift",
    statement="Without prior preservation the class drifts to the subject.",
    paper=f"PRES .664 without, .493 with: {PAPER}.",
    run=run_drift,
    draw=partial(draw, label="class like the subject (PRES, cosine)"),
)
DIVERSITY = Claim(
    number=2,
    name="diversity",
    statement="Without prior preservation diversity falls.",
    paper=f"DIV (by LPIPS) .371 without, .391 with: {PAPER}.",
    run=run_diversity,
    draw=partial(draw, label="difference of pictures of one prompt (DIV)"),
)
FIDELITY = Claim(
    number=3,
    name="prior-fidelity",
    statement="Prior preservation costs a little fidelity.",
    paper=f"DINO .712 without, .684 with: {PAPER}.",
    run=run_fidelity,
    draw=partial(draw, label="like the subject (cosine)"),
)
