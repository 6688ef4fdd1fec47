"""Checks of chapter 10: the update, which side moves first, and how many ranks an update needs."""

from __future__ import annotations

from typing import Any

import torch

from sdlearn.course.checks.answers import (
    WrongAnswer,
    between,
    call,
    check,
    number,
    same,
    tensor,
    whole,
)


@check(points=1)
def low_rank_update(answer: Any) -> str:
    """`low_rank_update(down, up, alpha)`: Hu et al. 2021, eq. 3, with its factor."""
    rank, alpha = whole(2, 4), between(4.6, 5.6)
    down, up = torch.randn(rank, 6), torch.randn(6, rank)  # of a square layer
    got = call(answer, down=down, up=up, alpha=alpha)
    if getattr(got, "shape", ()) == (rank, rank):
        raise WrongAnswer("down @ up is a small square of the rank: up comes first, as for vectors")
    product = up @ down
    slips = {
        "alpha is not used: it says how strong the update is": product,
        "divide alpha by the rank, so that a larger rank is no stronger": alpha * product,
        "the rank is the number of rows of down; you divided by its columns": alpha
        / down.shape[1]
        * product,
        "that is rank / alpha, upside down": len(down) / alpha * product,
        "the result is transposed: up @ down is (out, in), as the layer's weight is": (
            alpha / len(down) * product.T
        ),
        "divide by the rank, and not by its square root: that is another method, rsLoRA": alpha
        / len(down) ** 0.5
        * product,
    }
    same(tensor(got, (6, 6), "the update"), alpha / len(down) * product, "the update", slips)
    return "Two thin matrices, one factor: that is all of LoRA."


@check(points=1)
def first_to_move(answer: Any) -> str:
    """Which matrix has a gradient other than zero at the first step, where `up` is zero?"""
    if not isinstance(answer, str):
        raise WrongAnswer(f'answer with a text, such as "both"; this is {type(answer).__name__}')
    given = answer.strip().lower()
    if given == "up":
        return "What passes down is multiplied by up, and up is zero: down waits for one step."
    reasons = {
        "down": "the gradient of down comes back through up, and up is all zeros",
        "both": "one of the two has a gradient of exactly zero: print both",
        "neither": "then nothing would ever be learnt, and yet it is: print both gradients",
    }
    if given not in reasons:
        raise WrongAnswer(f'{answer!r} is none of "up", "down", "both" and "neither"')
    raise WrongAnswer(reasons[given])


@check(points=2)
def rank_for(answer: Any) -> str:
    """`rank_for(singular_values, share)`: the fewest that hold this share of the sum of squares."""
    values, shares = torch.tensor([6.0, 4.0, 3.0, 2.0, 1.0, 0.5]), (0.5, 0.5454, 0.9, 0.97, 1.0)
    squares = values.square()
    got = torch.tensor(
        [number(call(answer, singular_values=values, share=s), "the rank") for s in shares]
    )

    def every(sizes: torch.Tensor) -> torch.Tensor:
        return torch.tensor([_fewest(sizes, share) for share in shares]).double()

    right = every(squares)
    compared = torch.tensor([float((values >= share * values[0]).sum()) for share in shares])
    slips = {
        "take squares: the share is of the sum of their squares": every(values),
        "one too few: with these the share is not reached yet": right - 1,
        "one too many: with one fewer the share is reached already": right + 1,
        "count from the largest down: the small ones come last": every(squares.flip(0)),
        "that compares each value with the largest: add up the squares, from the first on": (
            compared
        ),
    }
    same(got, right, "the rank", slips)
    return "The rest could be cut off, and most of the update would stay."


def _fewest(sizes: torch.Tensor, share: float) -> int:
    reached = sizes.cumsum(0) / sizes.sum() >= share - 1e-6
    return int(reached.int().argmax()) + 1
