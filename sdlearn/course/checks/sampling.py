"""Checks of chapter 3: what a step buys and what it costs."""

from __future__ import annotations

import math
from typing import Any

import torch

from sdlearn.course.checks.answers import WrongAnswer, between, call, check, number, same, tensor

RUNS = {20: "guidance asks twice a step: with the prompt and without it"}
RUNS[41] = "DPM-Solver++ needs no question more than its steps"
RUNS[80] = "second order comes from remembering the last answer, not from a second question"


@check(points=1)
def order(answer: Any) -> str:
    """`order(error, error_at_twice_the_steps)`: the slope of the error, in powers of two."""
    uneven = between(0.5, 0.9), between(0.02, 0.19)  # whose order is no whole number
    for error, smaller in ((0.8, 0.1), (0.5, 0.25), uneven):
        got = number(call(answer, error=error, error_at_twice_the_steps=smaller), "the order")
        right = math.log2(error / smaller)
        slips = {
            "that is by how much the error falls: the order is its logarithm to base 2": error
            / smaller,
            "the larger error goes on top, or a better sampler has a negative order": -right,
            "take the logarithm to base 2, as the steps were doubled": math.log(error / smaller),
            "take the logarithm to base 2 and not 10": math.log10(error / smaller),
        }
        if math.isclose(got, round(right)) and not math.isclose(right, round(right)):
            raise WrongAnswer("an order need not be a whole number: do not round it")
        same(got, right, f"the order for {error} and {smaller}", slips)
    return "An order is a promise for many steps; few steps may keep it or not."


@check(points=1)
def unet_runs(answer: Any) -> str:
    """Runs of the U-Net for 20 steps of DPM-Solver++ with guidance."""
    got = number(answer, "unet_runs")
    if got == 40:
        return "Two a step. Guidance doubles the price of every picture."
    raise WrongAnswer(RUNS.get(int(got), f"it is not {got:g}: count the questions of one step"))


@check(points=2)
def slerp(answer: Any) -> str:
    """`slerp(one, other, share)`: between two tensors along the sphere."""
    one, other = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    for share in (0.0, between(0.2, 0.4), 1.0):
        got = tensor(call(answer, one=one, other=other, share=share), (1, 4, 3, 3), "the result")
        slips = {
            "that is the straight line: its middle is too small to be noise": (1 - share) * one
            + share * other,
            "the way runs backwards: share 0 is the first tensor": _slerp(other, one, share),
            "divide by the sine of the whole angle": _slerp(one, other, share)
            * _angle(one, other).sin(),
        }
        same(got, _slerp(one, other, share), f"the point at {share:g}", slips)
    return "The point half-way is as long as the two ends: noise stays noise."


def _angle(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.acos((one * other).sum() / (one.norm() * other.norm()))


def _slerp(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    """Source: Shoemake 1985, Animating rotation with quaternion curves."""
    angle = _angle(one, other)
    mixed = torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * other
    return mixed / angle.sin()
