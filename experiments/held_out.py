"""Prompts of characters that mini never saw, and how near what it draws comes to the real ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.bench import paired_mean
from experiments.distributions import kid
from sdlearn.data.captions import caption
from sdlearn.evaluate.bootstrap import Interval, bootstrap_mean
from sdlearn.evaluate.mini import model_folder
from sdlearn.evaluate.world import World

if TYPE_CHECKING:
    import torch

    from experiments.bench import Bench

REAL = 256  # real held-out pictures that drawn ones are compared with
LARGER = 1000  # times that KID and losses are, in all figures: as they are they start with 0.00


def held_out_attributes(
    bench: Bench, number: int, names: Collection[str] = ()
) -> list[dict[str, str]]:
    """What is asked of `number` held-out characters: all of it, or only what is in `names`."""
    found = World.of_model(model_folder(bench.model)).held_out(number)
    return [{k: v for k, v in shot.attributes.items() if not names or k in names} for shot in found]


def plain_prompts(asked: Sequence[Mapping[str, str]]) -> list[str]:
    """The plainest caption of each."""
    return [caption(attributes) for attributes in asked]


def real_embeds(bench: Bench) -> torch.Tensor:
    """Real held-out pictures in the judges' self-supervised features, (M, D)."""
    world = World.of_model(model_folder(bench.model))
    chosen = world.held_out(bench.size.part(REAL, least=16))
    return bench.judges.image_embeds(list(world.draw(chosen, workers=1, desc="real pictures")))


def kid_to(embeds: torch.Tensor, real: torch.Tensor) -> float:
    """KID of drawn pictures (N, D) to real ones (M, D), times `LARGER`. Lower is better."""
    return LARGER * kid(embeds, real)[0]


def interval(unit: Mapping[str, Any], name: str) -> Interval:
    """The mean of a figure that a unit has as lists, one for each prompt, with its interval."""
    return bootstrap_mean(unit[name])


def paired(first: Mapping[str, Any], second: Mapping[str, Any], name: str) -> Interval:
    """How much higher a figure is in `first`, picture by picture of the same prompt and seed."""
    return paired_mean(first[name], second[name])
