"""Checks of chapter 9: the embedding in between, how much is kept, and which eta to take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from sdlearn.course.checks.answers import (
    Unexplained,
    WrongAnswer,
    between,
    call,
    check,
    number,
    same,
    tensor,
)

Rows = tuple[tuple[float, ...], ...]
ETAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
KEPT: Rows = (  # of the picture, at each of ETAS
    (1.0, 0.95, 0.8, 0.73, 0.69, 0.1),
    (1.0, 0.9, 0.5, 0.75, 0.3, 0.2),  # falls below, and comes back
    (1.0, 0.7, 0.6, 0.5, 0.4, 0.3),  # just as much as asked
    (1.0, 0.99, 0.98, 0.97, 0.9, 0.8),  # never falls below
)
KEEP = 0.7


@check(points=1)
def interpolate_embeddings(answer: Any) -> str:
    """`interpolate_embeddings(e_tgt, e_opt, eta)`: Kawar et al. 2022, eq. 3."""
    e_tgt, e_opt, etas = (
        torch.randn(1, 3, 4),
        torch.randn(1, 3, 4),
        (0.0, between(0.2, 0.4), 1.0, 1.2),
    )
    rows = [
        tensor(call(answer, e_tgt=e_tgt, e_opt=e_opt, eta=eta), (1, 3, 4), "the embedding")
        for eta in etas
    ]

    def every(formula: Callable[[float], torch.Tensor]) -> torch.Tensor:
        return torch.cat([formula(eta) for eta in etas])

    slips = {
        "the ends are swapped: eta 0 is the picture's embedding, e_opt, and 1 the prompt's": every(
            lambda eta: eta * e_opt + (1 - eta) * e_tgt
        ),
        "that goes from e_opt away from the prompt: the difference is e_tgt - e_opt": every(
            lambda eta: e_opt + eta * (e_opt - e_tgt)
        ),
        "at eta 1 no e_opt should be left: it needs the factor 1 - eta": every(
            lambda eta: eta * e_tgt + e_opt
        ),
        "that stops at 1: beyond it the way goes on": every(
            lambda eta: e_opt + min(eta, 1.0) * (e_tgt - e_opt)
        ),
        "eta is not used: that is the middle, whatever it is": every(
            lambda eta: (e_tgt + e_opt) / 2
        ),
    }
    right = every(lambda eta: eta * e_tgt + (1 - eta) * e_opt)
    same(torch.cat(rows), right, "the embedding", slips)
    return "One line, and the whole of stage C."


@check(points=1)
def kept_share(answer: Any) -> str:
    """`kept_share(faithfulness, unrelated)`: 1 as at eta 0, 0 as a picture that has not seen it."""
    unrelated = between(0.3, 0.4)  # the first one, of eta 0, is not always the largest
    faithfulness = torch.tensor([between(0.8, 0.9), between(0.92, 0.97), between(0.5, 0.7), 0.2])
    got = call(answer, faithfulness=faithfulness, unrelated=unrelated)
    first, last = faithfulness[0], faithfulness.min()
    right = (faithfulness - unrelated) / (first - unrelated)
    slips = {
        "an unrelated picture is alike too, by chance: take that off first": faithfulness / first,
        "take `unrelated` off below the line as well, or eta 0 does not come out as 1": (
            faithfulness - unrelated
        ),
        "0 is the unrelated picture, and not the least of these": (faithfulness - last)
        / (first - last),
        "that is what is lost, and asked for is what is kept": 1 - right,
        "1 is the picture at eta 0, the first one, and not the most alike of them": (
            faithfulness - unrelated
        )
        / (faithfulness.max() - unrelated),
        "1 is the picture at eta 0, and not a perfect copy": (faithfulness - unrelated)
        / (1 - unrelated),
    }
    same(tensor(got, (4,), "the shares"), right, "the share", slips)
    return "A measure with its own zero and its own one can be compared between pictures."


@check(points=2)
def largest_edit(answer: Any) -> str:
    """`largest_edit(etas, kept, keep)`: the last eta up to which each one keeps enough."""
    low = between(0.3, 0.5)
    fresh = (1.0, *(round(low + step, 4) for step in (0.4, 0.3, -0.1, 0.2, -0.2)))
    _judge_edits(answer, KEPT, KEEP)
    for keep in (low, round(low + 0.25, 4), round(low + 0.3, 4)):
        _judge_edits(answer, (fresh,), keep)
    return "The largest edit that keeps the picture: a rule, where the paper chose by eye."


def _judge_edits(answer: Any, rows: Rows, keep: float) -> None:
    """Compare the chosen eta of each row of kept shares."""

    def chosen(allowed: Callable[[Sequence[float]], list[bool]]) -> list[float]:
        pairs = [zip(ETAS, allowed(kept), strict=True) for kept in rows]
        return [max((eta for eta, fine in row if fine), default=0.0) for row in pairs]

    def unbroken(kept: Sequence[float], strict: bool = False) -> list[bool]:
        enough = [share > keep if strict else share >= keep for share in kept]
        return [all(enough[: place + 1]) for place in range(len(enough))]

    got = torch.tensor(
        [
            number(call(answer, etas=list(ETAS), kept=list(row), keep=keep), "the eta")
            for row in rows
        ]
    )
    right = chosen(unbroken)
    slips: dict[str, list[float]] = {
        "an eta after the first fall does not count: there another picture came back by chance": (
            chosen(lambda kept: [share >= keep for share in kept])
        ),
        "that is the first eta that keeps too little: the one before it was asked for": [
            ETAS[min(ETAS.index(eta) + 1, len(ETAS) - 1)] for eta in right
        ],
        "an eta that keeps just as much as asked is still good: compare with >=": chosen(
            lambda kept: unbroken(kept, strict=True)
        ),
        "that keeps most and edits nothing: take the largest eta that keeps enough": [0.0]
        * len(rows),
        "that is the eta closest to the share asked for, and it may keep too little": [
            min(zip(ETAS, kept, strict=True), key=lambda pair: abs(pair[1] - keep))[0]
            for kept in rows
        ],
    }
    for sentence, wrong in slips.items():
        if wrong != right and torch.allclose(got, torch.tensor(wrong)):
            raise WrongAnswer(sentence)
    for given, eta, kept in zip(got.tolist(), right, rows, strict=True):
        if not math.isclose(given, eta, abs_tol=1e-4):
            asked = f"with etas {list(ETAS)}, kept {list(kept)} and keep {keep}"
            raise Unexplained(f"{asked} it is {eta}, and not {given:.4g}")
