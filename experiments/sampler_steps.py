"""Claim 12: how many steps the samplers need, on the same prompts and the same start noises.

The deterministic samplers all follow one equation from noise to picture, so with many steps they
end at the same picture: the converged one, here DPM-Solver++'s of 200 steps. How far a picture of
few steps is from it, in latents, is the sampler's own error. It is 0 for the same latents, and for
two that have nothing in common about 1.4, as scaled latents have a standard deviation of about 1.
DDPM draws noise at every step, and ends elsewhere each time: it is judged by its pictures alone.

- Distance: the root mean square of the difference of latents.
- Asked and seen: of all that a held-out character's prompt names, the share that the reader sees.
- KID to real held-out pictures.

What would explain that DDIM needs no more steps than DPM-Solver++ here: a prompt that names all of
a character leaves little open, and DDIM is exact for data of a single point, where what the model
takes for the picture is the same at every step. DPM-Solver++ and UniPC draw a line through their
last two answers, and guidance makes these jump, so that with few steps they overshoot. Large models
of photographs have far more left to decide on the way. What would explain that a higher order of
quasi-Taylor does not come nearer: its derivatives are ideal ones, of a single point too, and with
more orders it becomes DDIM.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from experiments.bench import Bench, Unit
from experiments.claim import Claim, Finding, all_of, as_json, difference_in_words, exceeds
from experiments.figures import axes, curves
from experiments.held_out import interval, paired
from experiments.sampler_runs import CONVERGED, converged, run_sampler
from sdlearn.evaluate.bootstrap import Interval, bootstrap_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLERS = {
    "dpm++": "DPM-Solver++",
    "unipc": "UniPC",
    "ddim": "DDIM",
    "quasi-taylor-1": "quasi-Taylor 1",
    "quasi-taylor-2": "quasi-Taylor 2",
    "quasi-taylor-3": "quasi-Taylor 3",
    "ddpm": "DDPM",
}
STEPS = (5, 10, 20, 50)
PICTURES = 24
AS_FAR = 0.1  # share of DDIM's distance within which another one's is on a par
MEASURES = ("distance", "asked_and_seen", "kid")


def run(bench: Bench) -> Finding:
    """Every sampler at every number of steps."""
    number = bench.size.part(PICTURES, least=3)
    exact = converged(bench, "dpm++", number)
    other = converged(bench, "ddim", max(1, number // 3))  # that both end at the same picture
    units = {
        (name, steps): bench.work.unit(
            f"sampler-steps/{name}-{steps}", partial(run_sampler, bench, name, steps, exact)
        )
        for name in SAMPLERS
        for steps in STEPS
    }
    apart = (other - exact[: len(other)]).square().flatten(1).mean(1).sqrt().tolist()
    return conclude(units, apart)


def conclude(units: Mapping[tuple[str, int], Unit], apart: list[float]) -> Finding:
    """What the samplers say together.

    Args:
        units: of a sampler's name and its steps, as `run_sampler` makes them.
        apart: how far two samplers' converged pictures are from each other.
    """
    few, some, enough = STEPS[:3]
    margin = AS_FAR * interval(units["ddim", enough], "distance").value
    off = paired(units["quasi-taylor-3", enough], units["ddim", enough], "distance")
    compared_with = {
        "ddim_over_dpm": paired(units["ddim", some], units["dpm++", some], "distance"),
        "ddpm_lost": paired(units["ddim", few], units["ddpm", few], "asked_and_seen"),
        "quasi_taylor_over_ddim": off,
    }
    rows = {
        label: {
            measure: [as_json(interval(units[name, steps], measure)) for steps in STEPS]
            for measure in MEASURES
            if measure in units[name, few]
        }
        for name, label in SAMPLERS.items()
    }
    figures = {
        "steps": list(STEPS),
        "rows": rows,
        "par": margin,
        "converged_apart": as_json(bootstrap_mean([apart])),
        **{name: as_json(found) for name, found in compared_with.items()},
    }
    on_a_par = exceeds(
        Interval(value=margin - off.value, low=margin - off.high, high=margin - off.low)
    )
    agrees = all_of(
        [exceeds(compared_with["ddim_over_dpm"]), exceeds(compared_with["ddpm_lost"]), on_a_par]
    )
    return Finding(figures=figures, agrees=agrees, says=_says(figures))


def _says(figures: Mapping[str, Any]) -> str:
    few, some, enough = figures["steps"][:3]
    rows = figures["rows"]

    def value(label: str, measure: str, steps: int, digits: int = 2) -> str:
        return f"{rows[label][measure][figures['steps'].index(steps)]['value']:.{digits}f}"

    orders = ", ".join(value(f"quasi-Taylor {n}", "distance", enough) for n in (1, 2, 3))
    return (
        f"With {some} steps DDIM is {value('DDIM', 'distance', some)} from the picture of "
        f"{CONVERGED} steps, DPM-Solver++ {value('DPM-Solver++', 'distance', some)} and UniPC "
        f"{value('UniPC', 'distance', some)}: DDIM's distance is "
        f"{difference_in_words(figures['ddim_over_dpm'])} than DPM-Solver++'s. Quasi-Taylor of "
        f"orders 1 to 3 is {orders} away with {enough} steps, where DDIM is "
        f"{value('DDIM', 'distance', enough)} and DPM-Solver++ "
        f"{value('DPM-Solver++', 'distance', enough)}. With {few} steps the reader sees "
        f"{value('DDIM', 'asked_and_seen', few)} of what was asked by DDIM, "
        f"{value('DPM-Solver++', 'asked_and_seen', few)} by DPM-Solver++ and "
        f"{value('DDPM', 'asked_and_seen', few)} by DDPM; with {enough} steps "
        f"{value('DDIM', 'asked_and_seen', enough)}, "
        f"{value('DPM-Solver++', 'asked_and_seen', enough)} and "
        f"{value('DDPM', 'asked_and_seen', enough)}."
    )


def draw(figures: Mapping[str, Any]) -> Figure:
    """Distance, what is seen, and KID over the steps."""
    figure, parts = axes(3, width=4.8)
    labels = {
        "distance": "from the converged picture (latents)",
        "asked_and_seen": "asked and seen (share)",
        "kid": "KID to real pictures (x 1000)",
    }
    for ax, (measure, label) in zip(parts, labels.items(), strict=True):
        rows = {name: row[measure] for name, row in figures["rows"].items() if measure in row}
        curves(ax, figures["steps"], rows, ("sampler steps", label))
        ax.set_xscale("log")
        ax.set_xticks(figures["steps"], [str(steps) for steps in figures["steps"]], minor=False)
        ax.minorticks_off()
        for band in ax.collections:
            band.set_alpha(0.06)  # there are many
        if legend := ax.get_legend():
            legend.remove()
    parts[0].set_yscale("log")
    parts[-1].legend(frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    return figure


SAMPLER_STEPS = Claim(
    number=12,
    name="sampler-steps",
    statement=(
        "DPM-Solver++ comes near the finished picture in fewer steps than DDIM, quasi-Taylor is on "
        "a par with DDIM, and DDPM needs the most."
    ),
    paper=(
        "FID on CIFAR-10 with 10, 20 and 50 steps is 13.36, 6.84 and 4.67 by DDIM, and 41.07, "
        "18.36 and 8.01 by DDPM with its smaller variance (Song et al. 2020, arXiv:2010.02502, "
        "table 1). DPM-Solver++ is almost converged with 20 steps, where DDIM takes 100 to 250 (Lu "
        "et al. 2022, arXiv:2211.01095). Tachibana et al. 2021, arXiv:2112.13339, find "
        "quasi-Taylor better than DDIM or at the same level."
    ),
    run=run,
    draw=draw,
)
