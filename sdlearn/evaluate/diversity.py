"""How different the pictures of one prompt are. All embeddings are (N, D), of unit length."""

from __future__ import annotations

import numpy as np
import torch

from sdlearn.evaluate.bootstrap import Interval, bootstrap


def diversity(embeds: torch.Tensor) -> float:
    """DIV: the mean distance of two pictures of one prompt. Higher is better; 0 is all the same.

    1 - cosine over all pairs of different pictures, in [0, 2]. Give the pictures of one prompt, and
    average over prompts. Raises ValueError for fewer than two pictures.

    Source: Ruiz et al. 2022, arXiv:2208.12242, section 4.3 (LPIPS; ours is the judges' encoder, so
    its .391 with prior preservation and .371 without are no marks for ours).
    """
    number = _at_least_two(embeds)
    return (distances(embeds).sum() / (number * (number - 1))).item()


def diversity_interval(embeds: torch.Tensor, *, seed: int = 0) -> Interval:
    """`diversity` with a bootstrap interval over the pictures' seeds.

    A picture that is drawn again twice makes no pair with itself: such a pair would say nothing.
    """
    number = _at_least_two(embeds)
    apart = distances(embeds).numpy()

    def statistic(places: np.ndarray) -> float:
        pairs = places[:, None] != places[None]
        if not pairs.any():
            return float("nan")
        return float(apart[places][:, places][pairs].mean())

    return bootstrap(statistic, number, seed=seed)


def distances(embeds: torch.Tensor) -> torch.Tensor:
    """1 - cosine of all pairs, (N, N), exactly 0 of a picture with itself."""
    apart = (1 - embeds.double() @ embeds.double().T).clamp(min=0)
    return apart.fill_diagonal_(0)


def vendi_score(embeds: torch.Tensor) -> float:
    """How many different pictures there are, in effect. Higher is better, from 1 to N.

    exp of the entropy of the eigenvalues of K / N, with the cosine as kernel K: 1 where all
    pictures are the same, N where all are at right angles, 2 where half are one and half another
    such picture. Of few pictures it can only be small: compare the same number.

    Source: Friedman and Dieng 2022, arXiv:2210.02410, section 3.
    """
    if not len(embeds):
        raise ValueError("there are no pictures to compare: give at least one")
    eigenvalues = torch.linalg.eigvalsh(embeds.double() @ embeds.double().T / len(embeds))
    shares = eigenvalues[eigenvalues > 1e-12]
    return torch.exp(-(shares * shares.log()).sum()).item()


def _at_least_two(embeds: torch.Tensor) -> int:
    if len(embeds) < 2:
        raise ValueError(f"{len(embeds)} picture makes no pair: give at least two of one prompt")
    return len(embeds)
