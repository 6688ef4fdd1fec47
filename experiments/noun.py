"""Claim 8: which class noun stands beside the identifier while DreamBooth trains.

Prompts say after training what they said during it: "sks person", "sks creature", "sks". The
situations asked for, and what counts as the class, stay those of the subject's own class.

What would explain another answer than the paper's: mini knows two classes, and a few hundred steps
on all its weights move it far enough for any noun; its subjects are all heads on plain grounds, so
the wrong class begins near the right one, where a photographed backpack and a dog share nothing.
Captions say the rest of the picture, so that even alone the identifier has little to hold but the
subject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from experiments.bench import Bench, difference, over_subjects
from experiments.claim import Claim, Finding, all_of, as_json, difference_in_words, exceeds
from experiments.figures import axes, bars
from sdlearn.evaluate.compare import BEFORE, DREAMBOOTH, Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.bench import Unit
    from sdlearn.evaluate.compare import Subject

RIGHT, WRONG, NONE, ASIS = "right noun", "wrong noun", "no noun", "before"
OTHER = {"person": "creature", "creature": "person"}
MEASURES = {  # name -> what the figure calls it
    "fidelity": "like the subject (cosine)",
    "asked_and_seen": "asked and seen (share)",
    "class_drift": "drift of the subject's class (PRES)",
}


def with_noun(subject: Subject, which: str) -> Recipe:
    """DreamBooth with the right, a wrong or no noun."""
    if which == RIGHT:
        return DREAMBOOTH
    return replace(DREAMBOOTH, noun=OTHER[subject.class_word] if which == WRONG else "")


def run(bench: Bench) -> Finding:
    """The same subjects with all three."""
    found = bench.subjects(3)
    units = {
        which: [bench.learnt(subject, with_noun(subject, which)) for subject in found]
        for which in (RIGHT, WRONG, NONE)
    }
    return conclude(units | {ASIS: [bench.learnt(subject, BEFORE) for subject in found]})


def conclude(units: Mapping[str, Sequence[Unit]]) -> Finding:
    """It hurts: likeness is lower with the wrong noun and with none than with the right one."""
    rows = {
        which: {name: as_json(over_subjects(some, name)) for name in MEASURES}
        for which, some in units.items()
    }
    less = {
        name: {w: difference(units[w], units[RIGHT], name) for w in (WRONG, NONE)}
        for name in MEASURES
    }
    hurt = [difference(units[RIGHT], units[which], "fidelity") for which in (WRONG, NONE)]
    named = over_subjects(units[WRONG], "named_class_drift")
    likeness, seen, drift = less["fidelity"], less["asked_and_seen"], less["class_drift"]
    says = (
        f"Likeness to the subject, {rows[RIGHT]['fidelity']['value']:.2f} with the right noun, is "
        f"{difference_in_words(likeness[WRONG])} with the wrong one and "
        f"{difference_in_words(likeness[NONE])} with none; "
        f"the share of what was asked that is seen is {difference_in_words(seen[WRONG])} and "
        f"{difference_in_words(seen[NONE])}. The subject's class, which drifts by "
        f"{rows[RIGHT]['class_drift']['value']:.2f} with the right noun, drifts by "
        f"{rows[WRONG]['class_drift']['value']:.2f} with the wrong one and "
        f"{rows[NONE]['class_drift']['value']:.2f} with none, and the class that is wrongly named "
        f"by {named.value:.2f}."
    )
    figures = {
        "rows": rows,
        "named_class_drift": as_json(named),
        "differences": {
            name: {which: as_json(gap) for which, gap in gaps.items()}
            for name, gaps in (("fidelity", likeness), ("asked_and_seen", seen),
                               ("class_drift", drift))
        },
    }  # fmt: skip
    return Finding(figures=figures, agrees=all_of([exceeds(gap) for gap in hurt]), says=says)


def draw(figures: Mapping[str, Any]) -> Figure:
    """Likeness, what was asked and is seen, and drift, with each noun and before."""
    figure, parts = axes(len(MEASURES), width=4.4, height=3.2)
    for ax, (name, label) in zip(parts, MEASURES.items(), strict=True):
        rows = {which: row[name] for which, row in figures["rows"].items()}
        bars(ax, rows, label, zero=name == "class_drift")
    for ax in parts[1:]:
        ax.set_yticklabels([])
    return figure


NOUN = Claim(
    number=8,
    name="noun",
    statement="The wrong class noun, or none, hurts.",
    paper=(
        "DINO .744 with the right noun, .454 with a wrong one, .303 with none; CLIP-I .853, .728, "
        ".607 (Ruiz et al. 2022, arXiv:2208.12242, class-prior ablation, 5 subjects)."
    ),
    run=run,
    draw=draw,
)
