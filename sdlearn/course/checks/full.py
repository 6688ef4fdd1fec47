"""Checks of chapter 6: an average of weights, what a bucket cuts off, and what a run costs."""

from __future__ import annotations

from typing import Any

import torch

from sdlearn.course.checks.answers import between, call, check, number, same, tensor, whole


@check(points=1)
def ema_update(answer: Any) -> str:
    """`ema_update(average, weights, decay)`: the exponential moving average of weights."""
    average, weights, decay = torch.randn(3, 2), torch.randn(3, 2), between(0.7, 0.95)
    got = call(answer, average=average, weights=weights, decay=decay)
    slips = {
        "the two are the wrong way round: the average keeps the larger share": (1 - decay) * average
        + decay * weights,
        "the shares must add up to 1, or the average grows": decay * average + weights,
        "the old average needs its factor decay": average + (1 - decay) * weights,
        "that is the plain mean of the two: decay says how much of the old one stays": (
            average + weights
        )
        / 2,
        "that is the new weights alone: nothing is remembered": weights,
    }
    same(
        tensor(got, (3, 2), "the average"),
        decay * average + (1 - decay) * weights,
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
        (whole(300, 900), whole(300, 900), 64 * whole(5, 12), 64 * whole(5, 12)),
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
        what = f"the share of a {height} x {width} picture for a {bucket_height} x {bucket_width}"
        wrong = {sentence: value for value, sentence in slips.items()}
        same(got, right, f"{what} bucket (height x width)", wrong)
    return "With a bucket of like shape, hardly anything is lost."


@check(points=1)
def training_cost(answer: Any) -> str:
    """`training_cost(pictures, epochs, pictures_a_second, gpus, dollars_an_hour)`, in dollars."""
    pictures, epochs, rate = 100 * whole(30, 90), whole(5, 9), between(2.1, 2.9)
    gpus, dollars = whole(3, 4), between(1.1, 1.9)
    settings = {"pictures": pictures, "epochs": epochs, "pictures_a_second": rate}
    got = number(call(answer, **settings, gpus=gpus, dollars_an_hour=dollars), "the cost")
    right = pictures * epochs / rate / 3600 * dollars
    slips = {
        right / gpus: "each GPU costs its own money: more of them are done sooner, and cost as "
        "much more an hour",
        right * gpus: "the GPUs share the work: pictures_a_second is what one of them manages",
        right / epochs: "every epoch sees every picture once more",
        right * 3600: "dollars are for hours, and the rate is for seconds",
        right * 60: "an hour has 3600 seconds, not 60",
        right * rate**2: "divide by pictures_a_second: a faster GPU costs less time",
    }
    same(got, right, "the cost", {sentence: wrong for wrong, sentence in slips.items()})
    return "The number of GPUs does not matter for the price, only for how long you wait."
