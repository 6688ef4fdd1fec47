"""Whether a model draws what it was asked, or pictures that it was trained on.

A drawn picture is a near-copy if, in self-supervised features, its nearest training picture with
other attributes than were asked for is as close as real pictures hardly ever are: closer than the
`QUANTILE` of the distances from held-out real pictures to their nearest training picture with
other attributes than their own. So 1 % of real pictures would count; a model that copies has more.
Training pictures of just the attributes asked for are left out: those are to be alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import torch

from sdlearn.data.world.attributes import Attributes

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.evaluate.judges import Judges

QUANTILE = 0.01  # share of real pictures that are as close as a near-copy
BLOCK = 256  # pictures held at a time; a training set does not fit into memory


def embed_all(judges: Judges, images: Iterable[Image.Image]) -> torch.Tensor:
    """Self-supervised features (N, D), unit length, of a stream of pictures."""
    stream, rows = iter(images), []
    while block := list(islice(stream, BLOCK)):
        rows.append(judges.image_embeds(block))
    if not rows:
        raise ValueError("there are no pictures to compare with: give at least one")
    return torch.cat(rows)


def nearest_others(
    embeds: torch.Tensor,
    attributes: Sequence[Attributes],
    training_embeds: torch.Tensor,
    training_attributes: Sequence[Attributes],
) -> torch.Tensor:
    """Distance of each picture to the nearest training picture of other attributes, (N,).

    Distances are 1 - cosine, in [0, 2]; infinite where every training picture is of the same.

    Args:
        embeds: (N, D), unit length.
        attributes: what was asked of each of the N pictures.
        training_embeds: (M, D), unit length.
        training_attributes: those of each of the M training pictures.
    """
    distances = 1 - embeds @ training_embeds.T  # (N, M)
    same = torch.tensor([[mine == other for other in training_attributes] for mine in attributes])
    return distances.masked_fill(same, torch.inf).amin(1)


def near_copies(drawn: torch.Tensor, real: torch.Tensor) -> tuple[float, float]:
    """Share of drawn pictures that are near-copies, and the threshold. Lower is better.

    Real pictures would have a share of 0.01.

    Args:
        drawn: distances of drawn pictures, (N,), from `nearest_others`.
        real: the same of held-out real pictures, (M,).
    """
    threshold = torch.quantile(real, QUANTILE, interpolation="lower").item()
    return (drawn < threshold).float().mean().item(), threshold
