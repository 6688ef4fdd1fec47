"""Claim 13: the same kind of network in pixels and in latents, trained for the same time.

Chapter 4 trains both for seconds and looks. Here each learns 1 000 creatures for 20, 60 and 180
seconds of processor time, is told four things of held-out ones, and is judged by what it draws.
The time does not hold the VAE's own training, which is paid once for all models that use it; it
stands in the figures as `vae_minutes`. There is one run of each, so the intervals are those of the
pictures, not of the training's luck.

The answer goes by what the reader and CLIP see of what was asked. KID and the Fréchet distance
stand beside it: the judges' features look at the character and hardly see grain, so that pictures
full of it can be as near to the real ones as clean ones.

What would explain that pixels do not lose: in 64 x 64 pixels there is little to save, and the VAE
loses thin lines that a network in pixels may draw. What would explain that they lose by more than
the cost of a step: the decoder draws clean edges and even areas from the start, which a network in
pixels has to learn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from experiments.bench import Bench, Unit
from experiments.claim import Claim, Finding, all_of, as_json, difference_in_words, exceeds
from experiments.figures import axes, curves
from experiments.held_out import interval, paired
from experiments.latent_runs import BATCH, LATENTS, PIXELS, STEPS, Space, run_space
from sdlearn.evaluate.mini import model_folder
from sdlearn.pretrain.model_card import FACTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECONDS = (20, 60, 180)  # of processor time, at full size
MEASURES = {
    "asked_and_seen": "asked and seen (share)",
    "prompt_fit": "like the prompt (CLIP-T)",
    "kid": "KID to real pictures (x 1000)",
}
SPACES = (PIXELS, LATENTS)


def run(bench: Bench) -> Finding:
    """Both for every time."""
    seconds = [s * bench.size.effort for s in SECONDS]
    units = {space.name: [_trained(bench, space, s) for s in seconds] for space in SPACES}
    facts = json.loads((model_folder(bench.model) / FACTS).read_text(encoding="utf-8"))
    minutes = sum(facts["stages"][stage]["minutes"] for stage in ("vae", "decoder"))
    return conclude(seconds, units, minutes)


def _trained(bench: Bench, space: Space, seconds: float) -> Unit:
    key = f"latent/{space.name}-{seconds:g}"
    return bench.work.unit(key, lambda: run_space(bench, space, seconds))


def conclude(seconds: list[float], units: Mapping[str, list[Unit]], vae_minutes: float) -> Finding:
    """What both say together; the units of "pixels" and "latents" are as `run_space` makes them."""
    pixels, latents = units[PIXELS.name][-1], units[LATENTS.name][-1]
    compared_with = {
        "seen_latents_over_pixels": paired(latents, pixels, "asked_and_seen"),
        "fit_latents_over_pixels": paired(latents, pixels, "prompt_fit"),
    }
    kid = paired(pixels, latents, "kid")
    figures = {
        "seconds": seconds,
        "vae_minutes": vae_minutes,
        "kid_pixels_over_latents": as_json(kid),
        "rows": {
            name: {
                **{m: [as_json(interval(unit, m)) for unit in row] for m in MEASURES},
                "frechet": [unit["frechet"] for unit in row],
                "step_seconds": row[-1]["seconds"] / row[-1]["steps"],
                "picture_seconds": row[-1]["picture_seconds"],
                "steps": [unit["steps"] for unit in row],
                "parameters": row[-1]["parameters"],
            }
            for name, row in units.items()
        },
        **{name: as_json(found) for name, found in compared_with.items()},
    }
    agrees = all_of([exceeds(found) for found in compared_with.values()])
    return Finding(figures=figures, agrees=agrees, says=_says(figures))


def _says(figures: Mapping[str, Any]) -> str:
    pixels, latents = figures["rows"][PIXELS.name], figures["rows"][LATENTS.name]
    step, picture = (
        [1000 * row[name] for row in (pixels, latents)]
        for name in ("step_seconds", "picture_seconds")
    )
    return (
        f"A training step takes {step[0]:.0f} ms in pixels and {step[1]:.0f} ms in latents, "
        f"{step[0] / step[1]:.1f} times less, and a picture {picture[0]:.0f} ms and "
        f"{picture[1]:.0f} ms ({picture[0] / picture[1]:.1f} times less, the decoder included). "
        f"After {figures['seconds'][-1]:.0f} seconds of training the reader sees "
        f"{pixels['asked_and_seen'][-1]['value']:.2f} of what was asked in pixels and "
        f"{latents['asked_and_seen'][-1]['value']:.2f} in latents, "
        f"{difference_in_words(figures['seen_latents_over_pixels'])}, and CLIP-T is "
        f"{pixels['prompt_fit'][-1]['value']:.2f} and {latents['prompt_fit'][-1]['value']:.2f}. "
        f"KID (x 1000) is {pixels['kid'][-1]['value']:.1f} and {latents['kid'][-1]['value']:.1f}, "
        f"the Fréchet distance {pixels['frechet'][-1]:.2f} and {latents['frechet'][-1]:.2f}. The "
        f"VAE's own {figures['vae_minutes']:.0f} minutes of training are not counted."
    )


def draw(figures: Mapping[str, Any]) -> Figure:
    """Quality over the time of training, and the milliseconds of a step and a picture."""
    figure, parts = axes(4, width=4.2)
    for ax, (name, label) in zip(parts, MEASURES.items(), strict=False):
        lines = {space: row[name] for space, row in figures["rows"].items()}
        curves(ax, figures["seconds"], lines, ("seconds of training", label))
        ax.set_xscale("log")
        ax.set_xticks(figures["seconds"], [f"{s:g}" for s in figures["seconds"]])
        ax.minorticks_off()
    for place, (space, row) in enumerate(figures["rows"].items()):
        costs = [1000 * row["step_seconds"], 1000 * row["picture_seconds"]]
        found = parts[3].bar([0.4 * place, 1 + 0.4 * place], costs, 0.35, label=space)
        parts[3].bar_label(found, fmt="%.0f")
        found[0].set_color(parts[0].lines[place].get_color())
        found[1].set_color(parts[0].lines[place].get_color())
    parts[3].set_xticks(
        [0.2, 1.2], [f"training step\n({BATCH} pictures)", f"drawn picture\n({STEPS} steps)"]
    )
    parts[3].set_ylabel("milliseconds")
    return figure


LATENT = Claim(
    number=13,
    name="latent",
    statement="At equal training time a network in latents draws better than one in pixels.",
    paper=(
        "Models in pixels (LDM-1) train too slowly, factors of 4 and 8 are best, and 32 loses too "
        "much: Rombach et al. 2021, arXiv:2112.10752, figures 6 and 7, on ImageNet and CelebA-HQ, "
        "at an equal number of training steps."
    ),
    run=run,
    draw=draw,
)
