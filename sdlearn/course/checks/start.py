"""Checks of chapter 0: the same picture twice, what training takes, and whom to name."""

from __future__ import annotations

from typing import Any

from sdlearn.course.checks.answers import WrongAnswer, call, check, number, whole
from sdlearn.course.checks.stand_ins import Pipeline


@check(points=1)
def repeatable(answer: Any) -> str:
    """`repeatable(pipeline, prompt, seed)`: a picture that prompt and seed decide."""
    seed, prompt = whole(3, 1000), f"{whole(2, 9)} red birds"
    first, again, other = (
        call(answer, pipeline=Pipeline(), prompt=prompt, seed=s) for s in (seed, seed, seed + 1)
    )
    if type(first).__name__ == "PipelineOutput":
        raise WrongAnswer("that is all that the pipeline returns: take the first of its images")
    if isinstance(first, list):
        raise WrongAnswer("that is a list with one picture in it: take the picture")
    if not isinstance(first, str) or " " not in first:
        raise WrongAnswer(
            f"return the picture that the pipeline drew, not {type(first).__name__}: "
            "either the pipeline was not called, or its picture was lost"
        )
    if (asked := first.split(" ", 1)[1]) != prompt:
        raise WrongAnswer(f"the pipeline was asked for {asked!r}, not the prompt {prompt!r}")
    if first != again:
        raise WrongAnswer(
            "the same seed gave two pictures: make a generator in the function, "
            "give it the seed, and give it to the pipeline"
        )
    if first == other:
        raise WrongAnswer("two seeds gave the same picture: the seed is not used")
    return "Prompt, seed, settings and model: who knows all four can draw the picture again."


@check(points=1)
def training_bytes(answer: Any) -> str:
    """`training_bytes(parameters, trained)`: float32 weights, gradients and AdamW's moments."""
    for n, m in ((1_000_000, 10_000), (whole(10**6, 10**7), whole(10**4, 10**5))):
        got = number(call(answer, parameters=n, trained=m), "the result")
        right = 4 * n + 12 * m
        slips = {
            4 * n: "nothing is counted for training: each trained number needs three more",
            16 * n: "only what is trained has a gradient and moments; the rest is just kept",
            16 * m: "what is not trained is in memory all the same: count all parameters once",
            4 * n + 8 * m: "AdamW keeps two numbers beside the gradient, not one",
            4 * n + 4 * m: "AdamW's two numbers for each trained one are missing",
            4 * n + 16 * m: "the trained numbers themselves are counted twice",
            n + 3 * m: "those are numbers: each takes 4 bytes",
            8 * right: "those are bits: 8 of them are a byte",
            2 * n + 6 * m: "float32 takes 4 bytes, not 2",
            4 * m + 12 * n: "the two are swapped: gradient and moments are of what is trained",
        }
        if got != right:
            raise WrongAnswer(
                slips.get(
                    int(got),
                    f"for {n:,} parameters, {m:,} of them trained, that gives {got:,.0f} bytes "
                    f"where {right:,} are right",
                )
            )
    return "Few trained numbers cost little beside the weights: that is why LoRA fits."


@check(points=1)
def credit(answer: Any) -> str:
    """`credit(rights)`: what has to be said of a picture, "" where nothing has to."""
    rights = {
        "license": "CC-BY-4.0",
        "author": f"Hanako Yamada {whole(1, 99)}",
        "source": f"https://example.org/kites/{whole(1, 9999)}",
        "changes": "made smaller",
    }
    got = _text(call(answer, rights=dict(rights)))
    sentences = {
        "author": "the artist is not named: that is what BY asks for first",
        "license": "the licence is not named, so nobody who sees the picture knows what they may",
        "source": "it is not said where the original is",
        "changes": "it is not said what was changed",
    }
    for name, sentence in sentences.items():
        if rights[name] not in got:
            raise WrongAnswer(sentence)
    other = rights | {"author": "Taro Sato", "license": "MIT"}
    if "Taro Sato" not in _text(call(answer, rights=dict(other))):
        raise WrongAnswer("an MIT licence asks for the author's name as well")
    if _text(call(answer, rights=rights | {"license": "CC0-1.0"})):
        raise WrongAnswer('CC0 asks for nothing: return ""')
    return "Naming an artist is good manners under any licence; under most it is also the price."


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongAnswer(f"return text, not {type(value).__name__}")
    return value
