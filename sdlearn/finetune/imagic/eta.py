"""Which eta: the largest edit that keeps the picture.

Imagic's pictures follow the input at small eta and the prompt at large eta. The paper's authors
chose by eye, mostly 0.6 to 0.8. Here two measures look at a row of pictures instead, and a rule
picks one. Which measures is the caller's affair: a judge, or `likeness` below, which needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sdlearn.data.folder import to_pixel_values
from sdlearn.finetune.config import check_etas

if TYPE_CHECKING:
    from PIL import Image

    Measure = Callable[[Sequence[Image.Image]], Sequence[float]]  # pictures -> one number each

SAME_EDIT = 0.05  # of the edit's span: what is closer than this counts as the same edit
LIKENESS_SIDE = 32  # pixels, height and width at which `likeness` looks


@dataclass(frozen=True, kw_only=True)
class EtaChoice:
    """The chosen eta, and what led to it."""

    eta: float
    reason: str  # one sentence
    etas: tuple[float, ...]
    kept: tuple[float, ...]  # of the picture, at each eta; see `choose_eta`
    edit_strength: tuple[float, ...] | None  # as it was measured


def choose_eta(
    etas: Sequence[float],
    faithfulness: Sequence[float],
    edit_strength: Sequence[float] | None = None,
    *,
    unrelated: float,
    keep: float = 0.7,
) -> EtaChoice:
    """Choose the largest edit that keeps the picture.

    1. How much of the picture is kept is its faithfulness on a scale of its own: 1 is as faithful
       as at eta 0, and 0 is `unrelated`, a picture of the prompt from a model that never saw this
       one. So measures of any unit can be used.
    2. An eta keeps the picture if `keep` or more is kept there and at every smaller eta.
    3. Of these etas the one with the strongest edit is taken, and the smallest of those that are
       within 5 % of it, as a larger one would only change more. Where the edit is not measured, or
       is the same at all of them, it is the largest eta.

    Both measures are better when higher. Raises ValueError for etas that do not rise from 0,
    measures of another number, and numbers that are not finite.
    """
    _check(etas, faithfulness, edit_strength, unrelated, keep)
    span = faithfulness[0] - unrelated
    if span <= 0:
        kept, keeping = [0.0] * len(etas), 1
        reason = (
            f"at eta 0 the picture is no more faithful ({faithfulness[0]:.3f}) than one that never "
            f"saw it ({unrelated:.3f}): train for more steps, or with a higher learning rate"
        )
    else:
        kept = [(value - unrelated) / span for value in faithfulness]
        fallen = (index for index, share in enumerate(kept) if share < keep)
        keeping = next(fallen, len(etas))
        reason = f"{keep:.0%} or more of the picture is kept up to eta {etas[keeping - 1]:g}"
    chosen = keeping - 1
    if edit_strength is not None:
        chosen = _strongest(edit_strength[:keeping])
        if chosen < keeping - 1:
            reason += f", and beyond eta {etas[chosen]:g} the edit grows no stronger"
    return EtaChoice(
        eta=etas[chosen],
        reason=reason,
        etas=tuple(etas),
        kept=tuple(kept),
        edit_strength=None if edit_strength is None else tuple(edit_strength),
    )


def likeness(picture: Image.Image) -> Measure:
    """Make a measure of how alike others are to a picture: 1 the same, 0 as far as can be.

    It is 1 less the mean absolute difference at 32 x 32 pixels, so what is where in which colour
    counts, and fine texture does not. An edit is a difference too: `choose_eta` allows for some.
    """
    reference = to_pixel_values(picture, LIKENESS_SIDE)

    def measure(images: Sequence[Image.Image]) -> list[float]:
        pixel_values = torch.stack([to_pixel_values(image, LIKENESS_SIDE) for image in images])
        return (1 - (pixel_values - reference).abs().flatten(1).mean(1) / 2).tolist()

    return measure


def _strongest(edit_strength: Sequence[float]) -> int:
    """The smallest index whose edit is as good as the strongest; the last where all are equal."""
    weakest, strongest = min(edit_strength), max(edit_strength)
    if strongest == weakest:
        return len(edit_strength) - 1
    enough = strongest - SAME_EDIT * (strongest - weakest)
    return next(index for index, value in enumerate(edit_strength) if value >= enough)


def _check(
    etas: Sequence[float],
    faithfulness: Sequence[float],
    edit_strength: Sequence[float] | None,
    unrelated: float,
    keep: float,
) -> None:
    check_etas(etas)
    if not 0 < keep <= 1:
        raise ValueError(f"keep is {keep}: give a share above 0, up to 1")
    measures = {"faithfulness": faithfulness, "edit_strength": edit_strength}
    for name, values in measures.items():
        if values is not None and len(values) != len(etas):
            raise ValueError(f"{name} has {len(values)} values for {len(etas)} etas: give one each")
    for name, values in (*measures.items(), ("unrelated", [unrelated])):
        if values is not None and not all(math.isfinite(value) for value in values):
            raise ValueError(f"{name} holds a number that is not finite: look at that picture")
