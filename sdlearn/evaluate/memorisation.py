"""Whether a model has learnt a subject, or its pictures by heart.

The rule of `near_copies`, for a handful of pictures of one subject: a drawn picture is a copy if it
is nearer to a training picture than any two of the training pictures are to each other. What shows
the subject anew is about as far from them as they are from one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sdlearn.evaluate.near_copies import near_copies

ROUNDING = 1e-5  # of a cosine in float32: pictures this near are the same


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """How near drawn pictures come to those that were trained on."""

    share: float  # of drawn pictures that are copies, in [0, 1]; lower is better
    threshold: float  # distance below which a picture is a copy, 1 - cosine
    nearest: torch.Tensor  # (N,): each drawn picture's distance to its nearest training picture

    @property
    def copied(self) -> list[float]:
        """1 for each drawn picture that is a copy, else 0."""
        return (self.nearest < self.threshold).float().tolist()


def memorisation(
    embeds: torch.Tensor,
    training_embeds: torch.Tensor,
    subject_embeds: torch.Tensor | None = None,
) -> Memorisation:
    """The share of drawn pictures that are copies of training pictures. Lower is better.

    Args:
        embeds: drawn pictures in self-supervised features, (N, D), unit length.
        training_embeds: the same of the training pictures, (M, D). The threshold is the 0.01
            quantile of their distances to the nearest other one: of few pictures the smallest.
            Those that are the same as another are passed over.
        subject_embeds: (K, D), pictures of the subject that say instead how near is too near,
            where it is learnt from one picture, or where models of several numbers are compared.

    Raises ValueError where no drawn picture is given, or fewer than two different ones to say that.

    Source: our own, after the near-copies of mini; the measure of nearest neighbours is common,
    as in Somepalli et al. 2022, arXiv:2212.03860.
    """
    if not len(embeds):
        raise ValueError("there are no drawn pictures to look at: give at least one")
    real = nearest_to_another(training_embeds if subject_embeds is None else subject_embeds)
    nearest = nearest_distance(embeds, training_embeds)
    share, threshold = near_copies(nearest, real)
    return Memorisation(share=share, threshold=threshold, nearest=nearest)


def nearest_distance(embeds: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Distance of each picture to the nearest of others, (N,): 1 - cosine, in [0, 2]."""
    return (1 - embeds @ others.T).clamp(min=0).amin(1)


def nearest_to_another(embeds: torch.Tensor) -> torch.Tensor:
    """Distance of each picture to the nearest one that is not the same, (M,)."""
    apart = 1 - embeds @ embeds.T  # (M, M)
    nearest = apart.masked_fill(apart < ROUNDING, torch.inf).amin(1) if len(embeds) else apart
    nearest = nearest[nearest.isfinite()]
    if not nearest.numel():
        raise ValueError(
            f"of {len(embeds)} training pictures no two are different, so nothing says how near is "
            "too near: give at least two"
        )
    return nearest
