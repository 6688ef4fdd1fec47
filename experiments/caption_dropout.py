"""Claim 14: how often captions are left out in training, and what guidance makes of it.

Guidance compares what a model predicts with a prompt and without one, so it has to know both. Mini
was trained with one caption in ten left out and knows both by now; hundreds of steps do not take
that away. So three small U-Nets are trained from nothing instead, alike in everything but the share
of pictures of which they are told nothing. What they are told is a style and a background, see
`labelled`, and they draw at several guidance scales.

- Seen: the share of both that the attribute reader sees as asked.
- KID to held-out real pictures, in the judges' features; diversity of the pictures of one label.
- The loss on held-out pictures, told their label and told nothing.

What would explain a difference: the paper's models train for 400 000 steps, where here half of the
labels left out is half of few lessons lost; and a network that was never told nothing answers as
its first weights happen to say, which can do more or less harm elsewhere. These pictures are small
and coarse, so figures compare with each other only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.bench import Bench, Unit, difference, over_subjects
from experiments.caption_dropout_runs import DROPOUTS, GUIDANCE, run_dropout
from experiments.claim import Claim, Finding, all_of, as_json, exceeds
from experiments.figures import axes, bars, curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sdlearn.evaluate.bootstrap import Interval

MEASURES = {
    "seen": "style and background as asked (share)",
    "kid": "KID to real pictures (x 1000)",
    "diversity": "difference within a label (DIV)",
}
PLAIN, GUIDED = GUIDANCE[0], GUIDANCE[1]  # scales that the answer compares: none, and the least


def run(bench: Bench) -> Finding:
    """Train with each share of dropout, and draw at every guidance scale."""
    return conclude([_trained(bench, dropout) for dropout in DROPOUTS])


def _trained(bench: Bench, dropout: float) -> Unit:
    key = f"caption-dropout/{dropout:g}"
    return bench.work.unit(key, lambda: run_dropout(bench, dropout))


def conclude(units: Sequence[Unit]) -> Finding:
    """What the models say together; each unit is one model's, as `run_dropout` makes it."""
    never, usual, half = units
    compared = {
        "untold_loss_of_never": _more(never, usual, "untold_loss"),
        "guidance_helps": _more(usual, usual, "seen", scales=(GUIDED, PLAIN)),
        "usual_over_never": _more(usual, never, "seen", scales=(GUIDED, GUIDED)),
        "kid_of_half": _more(half, usual, "kid", scales=(GUIDED, GUIDED)),
    }
    rows = {
        _label(unit): {
            "told_loss": as_json(over_subjects([unit], "told_loss")),
            "untold_loss": as_json(over_subjects([unit], "untold_loss")),
            **{
                name: [as_json(over_subjects([_at(unit, scale)], name)) for scale in GUIDANCE]
                for name in MEASURES
            },
        }
        for unit in units
    }
    figures = {
        "guidance": list(GUIDANCE),
        "rows": rows,
        **{name: as_json(interval) for name, interval in compared.items()},
    }
    agrees = all_of([exceeds(interval) for interval in compared.values()])
    return Finding(figures=figures, agrees=agrees, says=_says(figures))


def draw(figures: Mapping[str, Any]) -> Figure:
    """Every measure against guidance, a line a share of dropout; and the two losses."""
    figure, parts = axes(4, width=4.2)
    rows = figures["rows"]
    for ax, (name, label) in zip(parts, MEASURES.items(), strict=False):
        lines = {model: row[name] for model, row in rows.items()}
        curves(ax, figures["guidance"], lines, ("guidance scale", label))
    losses = {
        f"{model}, {told}": row[name]
        for model, row in rows.items()
        for told, name in (("told", "told_loss"), ("told nothing", "untold_loss"))
    }
    bars(parts[3], losses, "denoising loss on new pictures (x 1000)")
    return figure


def _label(unit: Unit) -> str:
    return f"{unit['dropout']:.0%} left out"


def _at(unit: Unit, scale: float) -> Mapping[str, Any]:
    return unit["guided"][f"{scale:g}"]


def _more(first: Unit, second: Unit, name: str, scales: tuple[float, ...] = ()) -> Interval:
    """How much higher a figure is in the first, picture by picture of the same noise."""
    if not scales:
        return difference([first], [second], name)
    return difference([_at(first, scales[0])], [_at(second, scales[1])], name)


def _says(figures: Mapping[str, Any]) -> str:
    never, usual, half = figures["rows"].values()

    def line(row: Mapping[str, Any], name: str, form: str) -> str:
        return ", ".join(format(point["value"], form) for point in row[name])

    scales = ", ".join(f"{scale:g}" for scale in figures["guidance"])
    return (
        f"At guidance {scales} style and background are as asked in {line(never, 'seen', '.0%')} "
        f"with none left out, in {line(usual, 'seen', '.0%')} with one in ten and in "
        f"{line(half, 'seen', '.0%')} with half; KID (x 1000) is {line(never, 'kid', '.1f')}, "
        f"{line(usual, 'kid', '.1f')} and {line(half, 'kid', '.1f')}. Told nothing, they denoise "
        f"new pictures with a loss of {never['untold_loss']['value']:.0f}, "
        f"{usual['untold_loss']['value']:.0f} and {half['untold_loss']['value']:.0f} (x 1000), "
        f"told the label with {never['told_loss']['value']:.0f}, "
        f"{usual['told_loss']['value']:.0f} and {half['told_loss']['value']:.0f}. With one in ten "
        f"left out, pictures of one label differ by {line(usual, 'diversity', '.2f')}."
    )


CAPTION_DROPOUT = Claim(
    number=14,
    name="caption-dropout",
    statement=(
        "Guidance needs captions to be left out at times in training: without that it does harm, "
        "one in ten is enough, and half is too much."
    ),
    paper=(
        "Ho and Salimans 2022, arXiv:2207.12598: a share of 0.1 is about as good as 0.2, and 0.5 "
        "consistently worse (ImageNet 64 x 64); with 0.1, FID is 1.8, 1.55, 12.6 and 26.22 and "
        "Inception Score 53.7, 66.1, 170.1 and 260.2 at w = 0, 0.1, 1 and 4, which are guidance "
        "scales 1, 1.1, 2 and 5. None at all was not tried there."
    ),
    run=run,
    draw=draw,
)
