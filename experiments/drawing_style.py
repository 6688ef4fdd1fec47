"""Claim 10: a new drawing style, learnt with all weights and by LoRA, from few and many pictures.

Every model trains for the same number of steps, on captioned pictures of a style that mini has
never seen, a person each. The largest set is as many pictures as the steps see, so that none comes
twice: a run from 5 000 would see no more. Each model then draws the captions of held-out people.

- KID: how far the drawn pictures are from the held-out ones, in the judges' features.
- Learning by heart: the denoising loss on the ten pictures that every model trained on, against
  that on held-out ones; and near-copies, drawn pictures that are nearer to a training picture than
  99 of 100 held-out ones are.
- Colours: whether hair and background are as asked, by a reader that has never seen the style
  either: what it reads in real pictures of it is the best that can be had.

What would explain that more pictures do not help: with so few steps the number of steps, and not
that of pictures, can be what limits; and a style is one thing that all its pictures show, so that
some tens of them can show it all, where a whole world of pictures would need more. What would
explain a LoRA that keeps up: its learning rate is ten times as high, and a style may need no more
than a low rank can hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.bench import Bench, Unit, difference, over_subjects
from experiments.claim import Claim, Finding, all_of, as_json, exceeds
from experiments.drawing_style_runs import (
    BATCH,
    BEFORE,
    FULL,
    GROUP,
    HELD_OUT,
    LORA,
    NUMBERS,
    real_colours,
    run_model,
)
from experiments.figures import axes, bars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {BEFORE: "before", FULL: "all weights", LORA: "LoRA"}
MEASURES = ("kid", "own_loss", "held_out_loss", "copied", "colours")


def run(bench: Bench) -> Finding:
    """Every number of pictures with all weights, the fewest and the most by LoRA."""
    most = bench.size.train_steps * BATCH
    numbers = [*(number for number in NUMBERS if number < most), most]
    held_out = max(2 * GROUP, bench.size.part(HELD_OUT) // GROUP * GROUP)
    wanted = [(BEFORE, 0), *((FULL, n) for n in numbers), (LORA, numbers[0]), (LORA, most)]
    units = [_learnt(bench, method, number, held_out) for method, number in wanted]
    real = bench.work.unit("drawing-style/real", lambda: real_colours(bench, held_out))
    return conclude(units, real)


def _learnt(bench: Bench, method: str, number: int, held_out: int) -> Unit:
    key = f"drawing-style/{method}-{number}"
    return bench.work.unit(key, lambda: run_model(bench, method, number, held_out))


def conclude(units: Sequence[Unit], real: Unit) -> Finding:
    """What the models say together; each unit is one model's, as `run_model` makes it."""
    by_name = {(unit["method"], unit["number"]): unit for unit in units}
    numbers = sorted(number for method, number in by_name if method == FULL)
    few, many = by_name[FULL, numbers[0]], by_name[FULL, numbers[-1]]
    lora = by_name[LORA, numbers[-1]]
    compared = {
        "kid_few_over_many": difference([few], [many], "kid"),
        "kid_lora_over_full": difference([lora], [many], "kid"),
        "own_loss_many_over_few": difference([many], [few], "own_loss"),
        "held_out_loss_few_over_many": difference([few], [many], "held_out_loss"),
    }
    figures = {
        "numbers": numbers,
        "rows": {_label(unit): _row(unit) for unit in units},
        "real_colours": as_json(over_subjects([real], "colours")),
        **{name: as_json(interval) for name, interval in compared.items()},
    }
    agrees = all_of([exceeds(interval) for interval in compared.values()])
    return Finding(figures=figures, agrees=agrees, says=_says(figures))


def draw(figures: Mapping[str, Any]) -> Figure:
    """KID of every model; both losses; and the colours that were asked."""
    figure, parts = axes(3, width=4.8)
    rows = figures["rows"]
    learnt = {name: row for name, row in rows.items() if "own_loss" in row}
    bars(parts[0], {name: row["kid"] for name, row in rows.items()}, "KID to the style (x 1000)")
    losses = {
        f"{name}: {which}": row[key]
        for name, row in learnt.items()
        for which, key in (("its own", "own_loss"), ("new", "held_out_loss"))
    }
    bars(parts[1], losses, "denoising loss (x 1000)")
    colours = {name: row["colours"] for name, row in rows.items()}
    bars(parts[2], colours | {"real pictures": figures["real_colours"]}, "colours as asked (share)")
    return figure


def _label(unit: Unit) -> str:
    return LABELS[unit["method"]] + (f", {unit['number']}" if unit["number"] else "")


def _row(unit: Unit) -> dict[str, Any]:
    found = {name: as_json(over_subjects([unit], name)) for name in MEASURES if name in unit}
    return {**found, "cost": unit["cost"]}


def _says(figures: Mapping[str, Any]) -> str:
    rows, numbers = figures["rows"], figures["numbers"]
    few, many = (rows[f"{LABELS[FULL]}, {n}"] for n in (numbers[0], numbers[-1]))
    before, lora = rows[LABELS[BEFORE]], rows[f"{LABELS[LORA]}, {numbers[-1]}"]

    def value(row: Mapping[str, Any], name: str, digits: int = 1) -> str:
        return f"{row[name]['value']:.{digits}f}"

    kids = [f"{value(rows[f'{LABELS[FULL]}, {n}'], 'kid')} from {n}" for n in numbers]
    return (
        f"KID to held-out pictures of the style (x 1000) is {value(before, 'kid')} before, with "
        f"all weights {', '.join(kids)} pictures, and by LoRA {value(lora, 'kid')} from "
        f"{numbers[-1]}. The model of {numbers[0]} denoises those {numbers[0]} with a loss of "
        f"{value(few, 'own_loss')} and new ones with {value(few, 'held_out_loss')} (x 1000), that "
        f"of {numbers[-1]} with {value(many, 'own_loss')} and {value(many, 'held_out_loss')}; "
        f"near-copies are {few['copied']['value']:.0%} and {many['copied']['value']:.0%} of what "
        f"they draw. Hair and background have the colours asked in {few['colours']['value']:.0%} "
        f"and {many['colours']['value']:.0%} of cases; the reader sees them in "
        f"{figures['real_colours']['value']:.0%} of real pictures."
    )


DRAWING_STYLE = Claim(
    number=10,
    name="drawing-style",
    statement=(
        "The more pictures a drawing style is learnt from, the nearer to it new pictures come and "
        "the less is learnt by heart; and from many pictures all weights learn it better than LoRA."
    ),
    paper=(
        "No paper has a table of it. Waifu Diffusion 1.3, of 680 000 pictures in 10 epochs, is a "
        "single point (its release notes); Hu et al. 2021, arXiv:2106.09685, find LoRA on a par "
        "with training all weights, for language models."
    ),
    run=run,
    draw=draw,
)
