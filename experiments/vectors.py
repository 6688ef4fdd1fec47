"""Claim 6: how many rows of the table a new word of Textual Inversion has.

What would explain another answer than the paper's: mini's text encoder is small and its captions
say nearly all that can differ, so few directions of a word change a picture at all, and further
vectors add places in the sentence rather than detail; and they train for a few hundred steps, the
paper's for thousands. The new rows also take places in the sentence that mini never saw taken, so a
prompt can lose what it asks for before anything is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from experiments.bench import Bench, difference, over_subjects
from experiments.claim import Claim, Finding, all_of, as_json, difference_in_words, exceeds
from experiments.figures import axes, curves
from sdlearn.evaluate.compare import BEFORE, TEXTUAL_INVERSION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.bench import Unit

NUMBERS = (1, 8, 4)  # vectors, the ones first that a small run needs most
MEASURES = {  # name -> what the figure calls it
    "fidelity": "like the subject (cosine)",
    "asked_and_seen": "asked and seen (share)",
    "prompt_fit": "like the prompt (CLIP-T)",
}


def run(bench: Bench) -> Finding:
    """The same subjects with more and more vectors."""
    found = bench.subjects(4)
    numbers = sorted(NUMBERS[: bench.size.part(len(NUMBERS), least=2)])
    units = {
        n: [bench.learnt(s, replace(TEXTUAL_INVERSION, num_vectors=n)) for s in found]
        for n in numbers
    }
    return conclude(units, [bench.learnt(s, BEFORE) for s in found])


def conclude(units: Mapping[int, Sequence[Unit]], before: Sequence[Unit]) -> Finding:
    """With the most vectors instead of one: more likeness, and less of what was asked."""
    numbers = list(units)
    one, most = numbers[0], numbers[-1]
    rows = {name: [as_json(over_subjects(units[n], name)) for n in numbers] for name in MEASURES}
    more = {name: difference(units[most], units[one], name) for name in MEASURES}
    worse = difference(units[one], units[most], "asked_and_seen")
    asis = {name: as_json(over_subjects(before, name)) for name in MEASURES}
    likeness, seen = rows["fidelity"], rows["asked_and_seen"]
    says = (
        f"With {most} vectors instead of {one}, likeness to the subject is "
        f"{difference_in_words(more['fidelity'])} ({likeness[-1]['value']:.2f} against "
        f"{likeness[0]['value']:.2f}; {asis['fidelity']['value']:.2f} before anything was learnt), "
        f"and the share of what was asked that is seen is "
        f"{difference_in_words(more['asked_and_seen'])} "
        f"({seen[-1]['value']:.2f} against {seen[0]['value']:.2f})."
    )
    figures = {
        "numbers": numbers,
        "rows": rows,
        "before": asis,
        "differences": {name: as_json(gap) for name, gap in more.items()},
    }
    agrees = all_of([exceeds(more["fidelity"]), exceeds(worse)])
    return Finding(figures=figures, agrees=agrees, says=says)


def draw(figures: Mapping[str, Any]) -> Figure:
    """Likeness, what was asked and is seen, and CLIP-T, against the number of vectors."""
    figure, parts = axes(len(MEASURES), width=4.6)
    numbers = figures["numbers"]
    for ax, (name, label) in zip(parts, MEASURES.items(), strict=True):
        curves(ax, numbers, {"learnt": figures["rows"][name]}, ("vectors of the new word", label))
        value = figures["before"][name]["value"]
        ax.axhline(value, color="black", linestyle="--", linewidth=1)
        ax.annotate(
            "before", (1, value), (0, 4), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right",
        )  # fmt: skip
        ax.set_xscale("log", base=2)
        ax.set_xticks(numbers, [str(n) for n in numbers])
        ax.minorticks_off()
    return figure


VECTORS = Claim(
    number=6,
    name="vectors",
    statement="One vector edits better, more vectors reproduce better.",
    paper=(
        "Plotted without a table: one vector reproduces about as well as two or three, and its "
        "pictures can be edited considerably better (Gal et al. 2022, arXiv:2208.01618, section 5)."
    ),
    run=run,
    draw=draw,
)
