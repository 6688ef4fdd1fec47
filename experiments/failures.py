"""The failure gallery: what people search for, made on purpose, beside a healthy run.

Each failure has a figure that tells it from the healthy run of the same prompts and seeds. A figure
that does not move says that mini bears what a larger model may not: then the mend is still what is
usual, and the pictures show how little happened. What would explain that: mini is drawn from with
captions that say the expression and the background, so that less is learnt by heart; and its
learning rates are chosen so that a few hundred steps do, which leaves them a good way to go up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments import failure_cases as cases
from experiments.bench import Bench
from experiments.claim import Claim, Finding, all_of, as_json, exceeds
from experiments.failure_cases import opened, row_of
from experiments.overflow import LIMIT
from sdlearn.evaluate.bootstrap import bootstrap_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One outcome, how it is made and told, and what to do."""

    name: str
    search: tuple[str, ...]  # what people type who have it
    metric: str
    higher: bool  # whether the failure is where the metric is higher
    healthy: str  # what the run beside it is
    mend: str
    make: Callable[[Bench], cases.Pair]


DIGITS = 3  # of each figure: differences within a prompt are small
FAILURES: Sequence[Failure] = (
    Failure(
        name="over-trained DreamBooth (5 times the steps)",
        search=("dreambooth overfitting", "always the same picture"),
        metric="difference within a prompt (DIV)",
        higher=False,
        healthy="the usual steps",
        mend="Fewer steps or a lower learning rate; keep checkpoints and take an earlier one.",
        make=cases.over_trained,
    ),
    Failure(
        name="language drift: every person is the subject",
        search=("everyone looks like my subject", "language drift", "class bleeding"),
        metric="class like the subject (PRES, cosine)",
        higher=True,
        healthy="with prior preservation",
        mend="Prior preservation, or a method that leaves the weights alone.",
        make=cases.drift,
    ),
    Failure(
        name="a learning rate ten times too high",
        search=("fried pictures", "noisy results", "loss goes up"),
        metric="asked and seen (share)",
        higher=False,
        healthy="the usual rate",
        mend="A tenth of the learning rate, and a few warm-up steps.",
        make=cases.too_fast,
    ),
    Failure(
        name=f'Textual Inversion from a wrong word ("{cases.WRONG_WORD}" for a person)',
        search=("textual inversion does not look like me", "initializer token"),
        metric="like the subject (cosine)",
        higher=False,
        healthy='from "person"',
        mend="Start from the word of what it is; then more steps, or more vectors.",
        make=cases.wrong_word,
    ),
    Failure(
        name="too few training steps (a tenth)",
        search=("dreambooth has no effect", "learns nothing"),
        metric="like the subject (cosine)",
        higher=False,
        healthy="the usual steps",
        mend="More steps; look at the preview pictures and not at the loss.",
        make=cases.under_trained,
    ),
    Failure(
        name=f"too few sampler steps ({cases.FEW_STEPS})",
        search=("blurry pictures", "unfinished pictures", "how many steps"),
        metric="distance to many steps (RMS of pixels)",
        higher=True,
        healthy="the usual steps",
        mend="About 20 steps; on a large model DDIM takes 50 or more.",
        make=cases.few_sampler_steps,
    ),
    Failure(
        name=f"no caption dropout, drawn at guidance {cases.STRONG:g}",
        search=("guidance makes it worse", "oversaturated", "caption dropout"),
        metric="KID to real pictures (x 1000)",
        higher=True,
        healthy="one caption in ten left out",
        mend="Leave out one caption in ten while it trains, or draw with guidance 1.",
        make=cases.no_dropout,
    ),
    Failure(
        name="fp16 overflow in the decoder",
        search=("black images", "NaN", "SDXL VAE fp16"),
        metric="pictures that are numbers (share)",
        higher=False,
        healthy="the same decoder in float32",
        mend="Decode in float32 or bfloat16, or take a VAE that was made for fp16.",
        make=cases.overflow,
    ),
    Failure(
        name="copied instead of learnt (one picture, no captions)",
        search=("it copies my photo", "same pose every time", "memorised"),
        metric="by name: distance to the learnt (RMS of pixels)",
        higher=False,
        healthy="five pictures with captions",
        mend="Several different pictures, with captions that say what is not the subject.",
        make=cases.copied,
    ),
)


def run(bench: Bench) -> Finding:
    """Make every failure and its healthy run."""
    pairs = {failure.name: failure.make(bench) for failure in FAILURES}
    return conclude(pairs, cases.overflow_unit(bench))


def conclude(pairs: Mapping[str, cases.Pair], overflow: Mapping[str, Any]) -> Finding:
    """What the figures tell of each failure; `pairs` by its name."""
    shown, rows = [], []
    for failure in FAILURES:
        wrong, healthy = pairs[failure.name]
        sign = 1 if failure.higher else -1
        worse = bootstrap_mean(
            [[sign * (a - b) for a, b in zip(wrong.values, healthy.values, strict=True)]]
        )
        shown.append(exceeds(worse))
        rows.append(
            {
                "name": failure.name,
                "search": list(failure.search),
                "metric": failure.metric,
                "value": as_json(bootstrap_mean([wrong.values])),
                "healthy": as_json(bootstrap_mean([healthy.values])),
                "healthy_is": failure.healthy,
                "worse_by": as_json(worse),
                "shown": shown[-1],
                "mend": failure.mend,
                "pictures": row_of(wrong.images),
                "healthy_pictures": row_of(healthy.images),
            }
        )
    figures = {"failures": rows, "overflow": dict(overflow)}
    return Finding(figures=figures, agrees=all_of(shown), says=_says(figures))


def _says(figures: Mapping[str, Any]) -> str:
    rows, overflow = figures["failures"], figures["overflow"]
    told = [row for row in rows if row["shown"]]
    others = [_compared(row) for row in rows if not row["shown"]]
    says = (
        f"{len(told)} of {len(rows)} failures show in their figure: "
        f"{'; '.join(_compared(row) for row in told)}."
    )
    if others:
        says += f" These do not: {'; '.join(others)}."
    most = max(overflow["largest"].values())
    return (
        f"{says} Mini by itself does not overflow: its largest activation is {most:.0f}, "
        f"{LIMIT / most:.0f} times below what fp16 holds, so the decoder's features were made "
        f"{overflow['times']:.0f} times larger."
    )


def _compared(row: Mapping[str, Any]) -> str:
    value, healthy = row["value"]["value"], row["healthy"]["value"]
    return f"{row['name']}, {row['metric']} {value:.{DIGITS}f} against {healthy:.{DIGITS}f}"


def draw(figures: Mapping[str, Any]) -> Figure:
    """Each failure's pictures beside the healthy run's, with the figure of both and the mend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = figures["failures"]
    figure = Figure(figsize=(9.6, 1.55 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (row, pair) in enumerate(zip(rows, figure.subplots(len(rows), 2), strict=True)):
        titles = (
            f"{place + 1}. {row['name']}\n{row['metric']}: {row['value']['value']:.{DIGITS}f}",
            f"healthy: {row['healthy_is']}\n{row['healthy']['value']:.{DIGITS}f}",
        )
        kept = (row["pictures"], row["healthy_pictures"])
        for ax, pictures, title in zip(pair, kept, titles, strict=True):
            ax.imshow(opened(pictures), interpolation="nearest")
            ax.set_anchor("W")  # rows of fewer pictures start at the left too
            ax.set_title(title, loc="left", fontsize=9)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
        pair[0].set_xlabel(row["mend"], loc="left", fontsize=8)
    return figure


GALLERY = Claim(
    number=15,
    name="failures",
    statement="What goes wrong can be made on purpose, and a figure tells it from a healthy run.",
    paper=(
        "No paper collects them. Ruiz et al. 2022, arXiv:2208.12242, describe overfitting and "
        "language drift (PRES .664 without prior preservation, .493 with it, table 3); Ho and "
        "Salimans 2022, arXiv:2207.12598, caption dropout; that SDXL's VAE overflows in fp16 its "
        "users found, and madebyollin/sdxl-vae-fp16-fix mends."
    ),
    run=run,
    draw=draw,
)
