"""Claims 5 and 7: what a subject can be learnt from, when there are few pictures of it.

A copy is drawn nearer to a picture that was learnt from than any two of the subject's five usual
ones are to each other: the same bound whatever the number. The judges' features look at the
character above all, so a copy may have the ground and the expression that were asked for: whether
it is a picture by heart, what was asked and is seen tells. Likeness is to those five as well, so
from one picture it is nearly all to pictures that were never seen, and from ten to half of those
that were. Every number has the same optimizer steps, so fewer pictures are seen more often each.
The fewer there are, the fewer there are to be near to, which lowers the copies of few. Of the model
before, what lies near one of the usual five does so by chance.

What would explain another answer than the papers': mini's characters are drawn, so one picture
already says what every other shows of them, which of a photographed dog it does not; and captions
here say the expression and the background, so that even of one picture little else is left for the
new word. Textual Inversion trains a few rows for a few hundred steps, its paper one for thousands:
a word that has learnt little of the subject copies nothing, draws what was asked, and gains nothing
from more pictures. That is why its likeness stands beside its copies everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from experiments.bench import Bench, difference, over_subjects
from experiments.claim import Claim, Finding, all_of, as_json, difference_in_words, exceeds
from experiments.figures import axes, bars, curves
from sdlearn.evaluate.bootstrap import Interval, bootstrap_mean
from sdlearn.evaluate.compare import BEFORE, DREAMBOOTH, LABELS, PICTURES, TEXTUAL_INVERSION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.bench import Unit

FEW = 1  # pictures, of claim 5: what is learnt by heart is clearest from a single one
NUMBERS = (PICTURES, FEW, 10)  # of claim 7, the ones first that a small run needs most
MOST_SUBJECTS = 3  # of those a full run has: each is learnt anew for every number
WHO = {LABELS[recipe.name]: recipe for recipe in (DREAMBOOTH, TEXTUAL_INVERSION)}
FIRST, LAST, ASIS = LABELS[DREAMBOOTH.name], LABELS[TEXTUAL_INVERSION.name], "before"
MEASURES = {  # name -> what the figure calls it
    "copied": "copies of a picture learnt from (share)",
    "asked_and_seen": "asked and seen (share)",
    "diversity": "difference within a prompt (DIV)",
    "fidelity": "like the subject (cosine)",
}


def run_overfitting(bench: Bench) -> Finding:
    """Both methods from few pictures."""
    found = bench.subjects(MOST_SUBJECTS)
    units = {
        who: [bench.learnt(subject, replace(recipe, pictures=FEW)) for subject in found]
        for who, recipe in WHO.items()
    }
    return conclude_overfitting(units | {ASIS: [bench.learnt(s, BEFORE) for s in found]})


def conclude_overfitting(units: Mapping[str, Sequence[Unit]]) -> Finding:
    """Less overfit: fewer copies, more of what was asked, and more difference within a prompt."""
    rows = {
        who: {name: as_json(over_subjects(some, name)) for name in (*MEASURES, "nearest")}
        for who, some in units.items()
    }
    copies = difference(units[FIRST], units[LAST], "copied")
    asked = difference(units[LAST], units[FIRST], "asked_and_seen")
    differ = difference(units[LAST], units[FIRST], "diversity")
    likeness = difference(units[LAST], units[FIRST], "fidelity")
    learnt = difference(units[LAST], units[ASIS], "fidelity")
    says = (
        f"Learnt from one picture, {rows[FIRST]['copied']['value']:.0%} of what DreamBooth draws "
        f"lies nearer to it than the subject's own pictures to each other, and "
        f"{rows[LAST]['copied']['value']:.0%} of what Textual Inversion does; with the latter the "
        f"share of what was asked that is seen is {difference_in_words(asked)}, and the difference "
        f"within a prompt {difference_in_words(differ)}. Its likeness to the subject is "
        f"{difference_in_words(likeness)}: {rows[LAST]['fidelity']['value']:.2f} against "
        f"{rows[FIRST]['fidelity']['value']:.2f}"
    )
    says += f", from {rows[ASIS]['fidelity']['value']:.2f} before anything was learnt."
    if not exceeds(learnt):
        says += " What has not been learnt cannot be overfit."
    figures = {
        "pictures": FEW,
        "rows": rows,
        "fewer_copies": as_json(copies),
        "asked_and_seen_difference": as_json(asked),
        "diversity_difference": as_json(differ),
        "fidelity_difference": as_json(likeness),
        "learnt": as_json(learnt),
    }
    agrees = all_of([exceeds(copies), exceeds(asked), exceeds(differ)])
    return Finding(figures=figures, agrees=agrees, says=says)


def run_pictures(bench: Bench) -> Finding:
    """Both methods from more and more pictures."""
    found = bench.subjects(MOST_SUBJECTS)
    numbers = sorted(NUMBERS[: bench.size.part(len(NUMBERS), least=2)])
    return conclude_pictures(
        {
            who: {
                n: [bench.learnt(subject, replace(recipe, pictures=n)) for subject in found]
                for n in numbers
            }
            for who, recipe in WHO.items()
        }
    )


def conclude_pictures(units: Mapping[str, Mapping[int, Sequence[Unit]]]) -> Finding:
    """Enough: likeness rises up to the usual number, and by less from there to the largest."""
    numbers = list(units[FIRST])
    least, most = numbers[0], numbers[-1]
    rows, steps, said, near, answers = {}, {}, [], [], []
    for who, by in units.items():
        rows[who] = {
            name: [as_json(over_subjects(by[n], name)) for n in numbers] for name in MEASURES
        }
        usual = {name: row[numbers.index(PICTURES)]["value"] for name, row in rows[who].items()}
        up = difference(by[PICTURES], by[least], "fidelity")
        steps[who] = {"to_usual": as_json(up)}
        sentence = (
            f"{usual['fidelity']:.2f} with {who}, {difference_in_words(up)} than from {least}"
        )
        if most > PICTURES:
            on = difference(by[most], by[PICTURES], "fidelity")
            bend = _bend(by[least], by[PICTURES], by[most])
            steps[who] |= {"from_usual": as_json(on), "bend": as_json(bend)}
            sentence += f", and from {most} {difference_in_words(on)} again"
            answers += [exceeds(up), exceeds(bend)]
        said.append(sentence)
        copies = rows[who]["copied"][0]["value"]
        near.append(f"{copies:.0%} and {usual['copied']:.0%} with {who}")
    says = (
        f"Learnt from {PICTURES} pictures, likeness to the subject is {'; '.join(said)}. Of what "
        f"is drawn after {least} and after {PICTURES}, {' and '.join(near)} lie nearer to a "
        f"picture learnt from than the subject's own to each other."
    )
    figures = {"numbers": numbers, "rows": rows, "steps": steps}
    return Finding(figures=figures, agrees=all_of(answers) if answers else None, says=says)


def _bend(least: Sequence[Unit], usual: Sequence[Unit], most: Sequence[Unit]) -> Interval:
    """How much more likeness the first pictures add than the later ones, picture by picture."""
    return bootstrap_mean(
        [
            [2 * b - a - c for a, b, c in zip(*(u["fidelity"] for u in three), strict=True)]
            for three in zip(least, usual, most, strict=True)
        ]
    )


def draw_overfitting(figures: Mapping[str, Any]) -> Figure:
    """Copies, what was asked, difference and likeness of both methods, and of the model before."""
    figure, parts = axes(len(MEASURES), width=3.6, height=3.0)
    for ax, (name, label) in zip(parts, MEASURES.items(), strict=True):
        bars(ax, {who: row[name] for who, row in figures["rows"].items()}, label)
    for ax in parts[1:]:
        ax.set_yticklabels([])
    return figure


def draw_pictures(figures: Mapping[str, Any]) -> Figure:
    """Likeness, what was asked and copies against the number of pictures."""
    names = ("fidelity", "asked_and_seen", "copied")
    figure, parts = axes(len(names), width=4.6)
    numbers = figures["numbers"]
    for ax, name in zip(parts, names, strict=True):
        lines = {who: row[name] for who, row in figures["rows"].items()}
        curves(ax, numbers, lines, ("pictures learnt from", MEASURES[name]))
        ax.set_xscale("log")
        ax.set_xticks(numbers, [str(n) for n in numbers])
        ax.minorticks_off()
    return figure


OVERFITTING = Claim(
    number=5,
    name="overfitting",
    statement="From few pictures, Textual Inversion overfits less than DreamBooth.",
    paper=(
        "No paper measured it. Ruiz et al. 2022 (arXiv:2208.12242) show overfitting to the "
        "training pictures as a way in which DreamBooth fails, without a figure; that Textual "
        "Inversion is hard to overfit is what courses say."
    ),
    run=run_overfitting,
    draw=draw_overfitting,
)
ENOUGH = Claim(
    number=7,
    name="pictures",
    statement="Three to five pictures are enough: fewer are too few, and more add little.",
    paper=(
        "DreamBooth from 1 to 5 pictures: DINO .494, .515, .596, .604, .597 for a backpack, .798, "
        ".851, .871, .876, .864 for a dog (Ruiz et al. 2022, arXiv:2208.12242, table 5). Textual "
        "Inversion from 1 to 25: best at about 5, beyond which editing gets worse, plotted without "
        "a table (Gal et al. 2022, arXiv:2208.01618, appendix B)."
    ),
    run=run_pictures,
    draw=draw_pictures,
)
