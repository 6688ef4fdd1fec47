"""Checks of chapter 12: what a licence allows, what a model remembers, what a picture says."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from sdlearn.course.checks.answers import (
    Unexplained,
    WrongAnswer,
    call,
    check,
    number,
    same,
    tensor,
    whole,
)

LICENSES = {  # licence -> whether it allows selling, and publishing a changed version
    "CC0-1.0": (True, True),
    "CC-BY-4.0": (True, True),
    "CC-BY-SA-4.0": (True, True),
    "CC-BY-NC-4.0": (False, True),
    "CC-BY-ND-4.0": (True, False),
    "CC-BY-NC-ND-4.0": (False, False),
    "MIT": (True, True),
}
TOO_STRICT = {
    "CC-BY-4.0": "BY asks for the artist's name, and forbids nothing",
    "CC-BY-SA-4.0": "SA allows it: what is made of it has to carry the same licence",
    "CC-BY-NC-4.0": "NC speaks of money alone: changed and given away is allowed",
    "CC-BY-ND-4.0": "ND speaks of changes alone: unchanged it may be sold",
}
NOT_A_LICENSE = ("", "All rights reserved", "found on the web")


@check(points=1)
def may_use(answer: Any) -> str:
    """`may_use(license, sell, change)`: whether a licence allows it."""
    for license_, (selling, changing) in LICENSES.items():
        for sell, change in ((False, False), (True, False), (False, True), (True, True)):
            got = _asked(answer, license_, sell, change)
            allowed = (selling or not sell) and (changing or not change)
            if got and not allowed:
                what = "NC: not for money" if sell and not selling else "ND: no changed versions"
                raise WrongAnswer(f"{license_} holds {what}; sell={sell}, change={change} is a no")
            if allowed and not got:
                why = TOO_STRICT.get(license_, "it allows everything")
                raise WrongAnswer(f"{license_} with sell={sell}, change={change} is a yes: {why}")
    for license_ in NOT_A_LICENSE:
        if _asked(answer, license_, False, False):
            raise WrongAnswer(
                f"{license_!r} is no licence that you know: who says nothing keeps all rights, "
                "so the answer is no"
            )
    return "What is not allowed in words is not allowed: no licence is the strictest of all."


@check(points=2)
def nearest(answer: Any) -> str:
    """`nearest(embeds, training_embeds)`: distance and index of each picture's nearest neighbour.

    Embeddings have any length; the distance is 1 - cosine.
    """
    embeds, training = torch.randn(3, 5), torch.randn(4, 5)
    embeds, training = embeds * torch.tensor([[1.0], [4.0], [0.3]]), training * 2
    got = call(answer, embeds=embeds, training_embeds=training)
    if not (isinstance(got, (tuple, list)) and len(got) == 2):
        raise WrongAnswer("return two things: the distances and the indices")
    cosines = F.normalize(embeds, dim=1) @ F.normalize(training, dim=1).T  # (N, M)
    if getattr(got[0], "shape", ()) == (4,):
        raise WrongAnswer("that has one answer for each training picture: take the least of a row")
    distances = tensor(got[0], (3,), "the distances")
    indices = tensor(got[1], (3,), "the indices")
    slips = {
        "those are cosines: the distance is 1 minus it": cosines.amax(1),
        "those are the farthest pictures: a near one has a large cosine": 1 - cosines.amin(1),
        "the rows were not brought to length one, so long ones look near": 1
        - (embeds @ training.T).amax(1),
        "that is the length of the difference, not 1 minus the cosine": torch.cdist(
            embeds, training
        ).amin(1),
    }
    same(distances, 1 - cosines.amax(1), "the distance", slips)
    slips = {"the index is off by one: the first is 0": cosines.argmax(1) + 1.0}
    same(indices, cosines.argmax(1).double(), "the index", slips, tolerance=0)
    return "One matrix product finds the nearest of any number of pictures."


PARAMETERS = (
    "a sign, Seed: 7, on a wall\nNegative prompt: text, blur\n"
    "Steps: 20, Sampler: dpm++, CFG scale: 5.0, Seed: 41, Size: 64x64, Model: mini"
)


@check(points=1)
def read_settings(answer: Any) -> str:
    """`read_settings(parameters)`: a dictionary with prompt, negative_prompt and seed."""
    got = _settings(answer, PARAMETERS)
    seed = got["seed"]
    if isinstance(seed, str):
        raise WrongAnswer("the seed should be a whole number: text draws no picture")
    if number(seed, "the seed") == 7:
        raise WrongAnswer("that seed is a word of the prompt: the settings are in the last line")
    if seed != 41:
        raise WrongAnswer(f"the seed is 41, and not {seed}")
    if "Negative" in str(got["negative_prompt"]):
        raise WrongAnswer("take the words “Negative prompt: ” off")
    if str(got["prompt"]).strip() == "a sign":
        raise WrongAnswer("the prompt was cut at a comma: it is the whole first line")
    expected = {"prompt": "a sign, Seed: 7, on a wall", "negative_prompt": "text, blur"}
    _equal(got, expected)
    without = PARAMETERS.replace("Negative prompt: text, blur\n", "")
    _equal(_settings(answer, without), expected | {"negative_prompt": ""})
    seed, steps = whole(100, 99999), whole(21, 60)  # and once more, with others in another order
    fresh = f"{steps} signs\nNegative prompt: {seed} blurs\nSeed: {seed}, Steps: {steps}, Model: x"
    wanted = {"prompt": f"{steps} signs", "negative_prompt": f"{seed} blurs", "seed": seed}
    _equal(_settings(answer, fresh), wanted)
    return "Two or three lines of text are enough to draw a picture again."


def _asked(answer: Any, license_: str, sell: bool, change: bool) -> bool:
    got = call(answer, license=license_, sell=sell, change=change)
    if not isinstance(got, bool | np.bool_) and str(getattr(got, "dtype", "")) != "torch.bool":
        raise WrongAnswer(f"answer True or False, not {got!r:.60}")
    return bool(got)


def _settings(answer: Any, parameters: str) -> dict[str, Any]:
    got = call(answer, parameters=parameters)
    if not isinstance(got, dict):
        raise WrongAnswer(f"return a dictionary, not {type(got).__name__}")
    for name in ("prompt", "negative_prompt", "seed"):
        if name not in got:
            raise WrongAnswer(f"the dictionary has no {name!r}, only {sorted(got)}")
    return got


def _equal(got: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if got[name] != value:
            raise Unexplained(f"{name} should be {value!r}, and is {got[name]!r:.80}")
