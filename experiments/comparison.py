"""The one comparison: every method on the same subjects, prompts, seeds and steps.

Imagic edits one picture and learns no subject, so its claim has a measure of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from experiments.bench import Bench, Unit, over_subjects
from experiments.claim import Claim, Finding, as_json
from experiments.figures import axes, bars
from sdlearn.evaluate.compare import (
    BEFORE,
    DREAMBOOTH,
    DREAMBOOTH_PRIOR,
    FULL,
    LABELS,
    LORA,
    TEXTUAL_INVERSION,
    Recipe,
)
from sdlearn.finetune import FitConfig, fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPES = (BEFORE, TEXTUAL_INVERSION, DREAMBOOTH, DREAMBOOTH_PRIOR, LORA, FULL)
MEASURES = {  # name -> what the table calls it
    "fidelity": "like the subject (cosine)",
    "prompt_fit": "like the prompt (CLIP-T)",
    "asked_and_seen": "asked and seen (share)",
    "class_like_subject": "class like the subject (PRES)",
    "class_drift": "class drift (rise of PRES)",
    "class_shift": "class shift (total variation)",
    "diversity": "difference within a prompt (DIV)",
    "copied": "copies of a training picture (share)",
}
COSTS = ("parameters", "artefact_bytes", "peak_megabytes")
ROUNDS = 5  # times that each recipe has its turn, at full effort
STEPS = 3  # a turn, of which the first warms up and is not counted


def compare(bench: Bench) -> Finding:
    """Train and measure every method on every subject."""
    rows: dict[str, dict[str, Any]] = {}
    seconds = step_seconds(bench, RECIPES)
    for recipe in RECIPES:
        units = [bench.learnt(subject, recipe) for subject in bench.subjects()]
        cost = {name: sum(u["cost"][name] for u in units) / len(units) for name in COSTS}
        rows[recipe.name] = {
            "label": LABELS[recipe.name],
            "cost": {**cost, "seconds": bench.size.train_steps * seconds[recipe.name]},
            **{name: as_json(over_subjects(units, name)) for name in MEASURES},
            "fidelity_by_subject": {
                u["subject"]: sum(u["fidelity"]) / len(u["fidelity"]) for u in units
            },
        }
    learnt = {name: row for name, row in rows.items() if name != BEFORE.name}
    best = max(learnt.values(), key=lambda row: row["fidelity"]["value"])
    least = min(learnt.values(), key=lambda row: row["class_drift"]["value"])
    light = min(learnt.values(), key=lambda row: row["cost"]["artefact_bytes"])
    says = (
        f"{best['label']} is the most faithful ({best['fidelity']['value']:.2f}), "
        f"{least['label']} changes the class least (its likeness to the subject moves by "
        f"{least['class_drift']['value']:+.3f}), and {light['label']} leaves the smallest file "
        f"({light['cost']['artefact_bytes'] / 1000:.0f} kB)."
    )
    return Finding(figures={"rows": rows}, agrees=None, says=says)


def step_seconds(bench: Bench, recipes: Sequence[Recipe]) -> dict[str, float]:
    """Return the median seconds of an optimizer step, by recipe; 0 where nothing is trained.

    Recipes take turns, so that noise hits all alike. Measure with nothing else running. The
    figures are kept like any other.
    """
    key = "timing/" + "+".join(recipe.name for recipe in recipes)
    return bench.work.unit(key, lambda: _time(bench, recipes))


def _time(bench: Bench, recipes: Sequence[Recipe]) -> Unit:
    subject = bench.subjects()[0]
    found: dict[str, list[float]] = {recipe.name: [] for recipe in recipes}
    config = FitConfig(max_train_steps=STEPS, train_batch_size=bench.size.train_batch_size)
    for _ in tqdm(range(bench.size.part(ROUNDS)), desc="timing", unit="round"):
        for recipe in recipes:
            if recipe.method == "before":
                found[recipe.name].append(0.0)
                continue
            prior = bench.prior(subject.class_word) if recipe.prior else []
            method = recipe.make(bench.sd, subject.class_word, prior)
            pictures = recipe.training_pictures(
                subject.pictures(recipe.pictures), subject.class_word
            )
            found[recipe.name] += [s.seconds for s in fit(method, pictures, config)][1:]
    return {name: median(seconds) for name, seconds in found.items()}


def draw(figures: Mapping[str, Any]) -> Figure:
    """Fidelity, prompt fit and drift of each method."""
    rows = figures["rows"].values()
    figure, parts = axes(3, width=5.0)
    for ax, name in zip(parts, ("fidelity", "asked_and_seen", "class_like_subject"), strict=True):
        bars(ax, {row["label"]: row[name] for row in rows}, MEASURES[name])
    for ax in parts[1:]:
        ax.set_yticklabels([])
    return figure


def table(figures: Mapping[str, Any]) -> str:
    """The whole table in Markdown."""
    head = ["method", *MEASURES.values(), "trained parameters", "file", "seconds", "peak memory"]
    lines = [head, ["---"] * len(head)]
    for row in figures["rows"].values():
        cost = row["cost"]
        values = [
            f"{row[n]['value']:.3f} ({row[n]['low']:.3f} to {row[n]['high']:.3f})" for n in MEASURES
        ]
        size = f"{cost['artefact_bytes'] / 1000:,.0f} kB"
        made = [f"{cost['parameters']:,.0f}", size, f"{cost['seconds']:.0f}"]
        lines.append([row["label"], *values, *made, f"{cost['peak_megabytes']:,.0f} MB"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


COMPARISON = Claim(
    number=0,
    name="comparison",
    statement="Every method on the same subjects, prompts, seeds and steps",
    paper=(
        "No paper compares all of them. Ruiz et al. 2022 (arXiv:2208.12242, table 1) have "
        "DreamBooth on Imagen at DINO .696, CLIP-I .812, CLIP-T .306, on Stable Diffusion at "
        ".668, .803, .305, and Textual Inversion on Stable Diffusion at .569, .780, .255."
    ),
    run=compare,
    draw=draw,
)
