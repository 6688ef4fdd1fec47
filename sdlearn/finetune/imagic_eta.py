"""Which eta: the largest edit that keeps the picture.

Imagic's pictures follow the input at small eta and the prompt at large eta. The paper's authors
chose by eye, mostly 0.6 to 0.8. Here two measures look at a row of pictures instead, and a rule
picks one. Which measures is the caller's affair: a judge, or `structure` below, which needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from sdlearn.data.folder import to_pixel_values

if TYPE_CHECKING:
    from PIL import Image

    Measure = Callable[[Sequence[Image.Image]], Sequence[float]]  # pictures -> one number each

SAME_EDIT = 0.05  # of the edit's span: what is closer than this counts as the same edit
WINDOW = 7  # pixels, height and width of SSIM's window, as in scikit-image


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
    keep: float = 0.5,
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


def structure(picture: Image.Image, size: int) -> Measure:
    """Make a measure of how much of a picture's structure others have: 1 is all, 0 none.

    Shapes and edges count; an even change of brightness or colour does not, so that a new colour
    is no loss. Pictures are compared at `size` pixels.
    """
    reference = to_pixel_values(picture, size)

    def measure(images: Sequence[Image.Image]) -> list[float]:
        pixel_values = torch.stack([to_pixel_values(image, size) for image in images])
        return structural_similarity(pixel_values, reference.expand_as(pixel_values)).tolist()

    return measure


def structural_similarity(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Contrast and structure of SSIM, without its brightness: (B, 3, H, W) twice -> (B,).

    Pictures are in [-1, 1], at least 7 x 7; the answer is in [-1, 1], and 1 for the same picture.

    Source: Wang et al. 2004, IEEE TIP 13(4), eqs. 9 and 10, with C3 = C2 / 2 and an even window.
    """
    means = [F.avg_pool2d(x, WINDOW, stride=1) for x in (first, second)]
    variances = [
        F.avg_pool2d(x * x, WINDOW, stride=1) - mean**2
        for x, mean in zip((first, second), means, strict=True)
    ]
    covariance = F.avg_pool2d(first * second, WINDOW, stride=1) - means[0] * means[1]
    c2 = (0.03 * 2) ** 2  # K2 and the range of the values, squared
    return ((2 * covariance + c2) / (variances[0] + variances[1] + c2)).flatten(1).mean(1)


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
    if not etas or etas[0] != 0 or list(etas) != sorted(set(etas)):
        raise ValueError(f"the etas {list(etas)} do not rise from 0: give such as 0, 0.5, 1")
    if not 0 < keep <= 1:
        raise ValueError(f"keep is {keep}: give a share above 0, up to 1")
    measures = {"faithfulness": faithfulness, "edit_strength": edit_strength}
    for name, values in measures.items():
        if values is not None and len(values) != len(etas):
            raise ValueError(f"{name} has {len(values)} values for {len(etas)} etas: give one each")
    for name, values in (*measures.items(), ("unrelated", [unrelated])):
        if values is not None and not all(math.isfinite(value) for value in values):
            raise ValueError(f"{name} holds a number that is not finite: look at that picture")
