"""Checks of chapter 6: an average of weights, what a bucket cuts off, and what a run costs."""

from __future__ import annotations

import math
from typing import Any

import torch

from sdlearn.course.checks.answers import WrongAnswer, call, check, number, same, tensor


@check(points=1)
def ema_update(answer: Any) -> str:
    """`ema_update(average, weights, decay)`: the exponential moving average of weights."""
    average, weights, decay = torch.randn(3, 2), torch.randn(3, 2), 0.9
    kept = average.clone()
    got = call(answer, average=average, weights=weights, decay=decay)
    slips = {
        "the two are the wrong way round: the average keeps the larger share": (1 - decay) * kept
        + decay * weights,
        "the shares must add up to 1, or the average grows": decay * kept + weights,
        "the old average needs its factor decay": kept + (1 - decay) * weights,
        "that is the plain mean of the two: decay says how much of the old one stays": (
            kept + weights
        )
        / 2,
    }
    same(
        tensor(got, (3, 2), "the average"),
        decay * kept + (1 - decay) * weights,
        "the average",
        slips,
    )
    return "One line, and what is saved is calmer than any single step."


@check(points=2)
def cut_away(answer: Any) -> str:
    """`cut_away(height, width, bucket_height, bucket_width)`: the share that is cut off."""
    for height, width, bucket_height, bucket_width in (
        (400, 800, 512, 512),
        (900, 300, 640, 384),
        (512, 512, 512, 512),
        (600, 400, 768, 320),
    ):
        sides = {"height": height, "width": width}
        sides |= {"bucket_height": bucket_height, "bucket_width": bucket_width}
        got = number(call(answer, **sides), "the share")
        ratio = width * bucket_height / (height * bucket_width)
        right = 1 - min(ratio, 1 / ratio)
        turned = width * bucket_width / (height * bucket_height)
        slips = {
            min(ratio, 1 / ratio): "that is the share that is kept: what is cut is the rest",
            1 - ratio: "a picture wider than its bucket loses its sides: the share cannot be "
            "negative, so take the ratio or its inverse, whichever is below 1",
            1 - min(turned, 1 / turned): "width over height, for the picture and for the bucket: "
            "one of the two stands on its head",
            1 - bucket_height * bucket_width / (height * width): "sizes do not count, only shapes: "
            "the picture is made larger or smaller until it fills the bucket",
        }
        if math.isclose(got, right, abs_tol=1e-6):
            continue
        for wrong, sentence in slips.items():
            if math.isclose(got, wrong, abs_tol=1e-6):
                raise WrongAnswer(sentence)
        raise WrongAnswer(
            f"of a picture {height} high and {width} wide, {right:.3g} is cut off for a bucket "
            f"{bucket_height} high and {bucket_width} wide, and yours is {got:.3g}"
        )
    return "With a bucket of like shape, hardly anything is lost."


@check(points=1)
def training_cost(answer: Any) -> str:
    """`training_cost(pictures, epochs, pictures_a_second, gpus, dollars_an_hour)`, in dollars."""
    settings = {"pictures": 7200, "epochs": 5, "pictures_a_second": 2.0}
    settings |= {"gpus": 3, "dollars_an_hour": 1.5}
    got = number(call(answer, **settings), "the cost")
    right = 7200 * 5 / 2.0 / 3600 * 1.5
    slips = {
        right / 3: "each GPU costs its own money: three are done in a third of the time, and cost "
        "three times as much an hour",
        right * 3: "the GPUs share the work: pictures_a_second is what one of them manages",
        right / 5: "every epoch sees every picture once more",
        right * 3600: "dollars are for hours, and the rate is for seconds",
        right * 60: "an hour has 3600 seconds, not 60",
        right * 4: "divide by pictures_a_second: a faster GPU costs less time",
    }
    if math.isclose(got, right, rel_tol=1e-6):
        return "The number of GPUs does not matter for the price, only for how long you wait."
    for wrong, sentence in slips.items():
        if math.isclose(got, wrong, rel_tol=1e-6):
            raise WrongAnswer(sentence)
    raise WrongAnswer(f"{got:g} where {right:g} is right")
