"""How long a step of each recipe takes, measured in turns, so that noise hits all alike."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from sdlearn.finetune import FitConfig, fit

if TYPE_CHECKING:
    from sdlearn.claims.bench import Bench
    from sdlearn.claims.recipe import Recipe
    from sdlearn.claims.work import Unit

ROUNDS = 5  # times that each recipe has its turn, at full effort
STEPS = 3  # a turn, of which the first warms up and is not counted


def step_seconds(bench: Bench, recipes: Sequence[Recipe]) -> dict[str, float]:
    """The median seconds of an optimizer step, by recipe; 0 where nothing is trained.

    Measure with nothing else running. The figures are kept like any other.
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
            method = recipe.make(bench.sd, subject, prior)
            pictures = recipe.training_pictures(subject)
            found[recipe.name] += [s.seconds for s in fit(method, pictures, config)][1:]
    return {name: median(seconds) for name, seconds in found.items()}
