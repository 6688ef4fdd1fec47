"""Checks of chapter 0: the same picture twice, what training takes, and whom to name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from sdlearn.course.checks.answers import WrongAnswer, call, check, number

PARAMETERS, TRAINED = 1_000_000, 10_000  # of a model that was never built


@check(points=1)
def repeatable(answer: Any) -> str:
    """`repeatable(pipeline, prompt, seed)`: a picture that prompt and seed decide."""
    pipeline = _Pipeline()

    def ask(prompt: str, seed: int) -> Any:
        torch.manual_seed(len(pipeline.prompts))  # whatever a learner's cells drew before
        return call(answer, pipeline=pipeline, prompt=prompt, seed=seed)

    first, again, other = ask("a red bird", 3), ask("a red bird", 3), ask("a red bird", 4)
    if not pipeline.prompts:
        raise WrongAnswer("the pipeline was not called: call it with the prompt")
    if isinstance(first, SimpleNamespace):
        raise WrongAnswer("that is all that the pipeline returns: take the first of its images")
    if isinstance(first, list):
        raise WrongAnswer("that is a list with one picture in it: take the picture")
    if not isinstance(first, float):
        raise WrongAnswer(f"return the picture that was drawn, not {type(first).__name__}")
    if set(pipeline.prompts) != {"a red bird"}:
        raise WrongAnswer(f"the pipeline was asked for {pipeline.prompts[0]!r}, not the prompt")
    if first != again:
        raise WrongAnswer(
            "the same seed gave two pictures: make a generator in the function, "
            "give it the seed, and give it to the pipeline"
        )
    if first == other:
        raise WrongAnswer("seeds 3 and 4 gave the same picture: the seed is not used")
    return "Prompt, seed, settings and model: who knows all four can draw the picture again."


@check(points=1)
def training_bytes(answer: Any) -> str:
    """`training_bytes(parameters, trained)`: float32 weights, gradients and AdamW's moments."""
    got = number(call(answer, parameters=PARAMETERS, trained=TRAINED), "the result")
    right = 4 * PARAMETERS + 12 * TRAINED
    slips = {
        4 * PARAMETERS: "nothing is counted for training: each trained number needs three more",
        16 * PARAMETERS: "only what is trained has a gradient and moments; the rest is just kept",
        16 * TRAINED: "what is not trained is in memory all the same: count all parameters once",
        4 * PARAMETERS + 8 * TRAINED: "AdamW keeps two numbers beside the gradient, not one",
        4 * PARAMETERS + 4 * TRAINED: "AdamW's two numbers for each trained one are missing",
        4 * PARAMETERS + 16 * TRAINED: "the trained numbers themselves are counted twice",
        PARAMETERS + 3 * TRAINED: "those are numbers: each takes 4 bytes",
        8 * right: "those are bits: 8 of them are a byte",
    }
    if got == right:
        return "Few trained numbers cost little beside the weights: that is why LoRA fits."
    if got in slips:
        raise WrongAnswer(slips[int(got)])
    raise WrongAnswer(
        f"for {PARAMETERS:,} parameters, {TRAINED:,} of them trained, that gives {got:,.0f} bytes "
        f"where {right:,} are right"
    )


@check(points=1)
def credit(answer: Any) -> str:
    """`credit(rights)`: what has to be said of a picture, "" where nothing has to."""
    rights = {
        "license": "CC-BY-4.0",
        "author": "Hanako Yamada",
        "source": "https://example.org/kites",
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


class _Pipeline:
    """A stand-in for a pipeline: its "picture" is a number made of prompt and generator."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def __call__(
        self, prompt: Any = None, generator: torch.Generator | None = None, **settings: Any
    ) -> SimpleNamespace:
        self.prompts += [prompt] if isinstance(prompt, str) else list(prompt or ["nothing"])
        return SimpleNamespace(images=[float(torch.rand((), generator=generator))])
