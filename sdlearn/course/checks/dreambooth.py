"""Checks of chapter 8: two losses, what trains, and what a prompt must say."""

from __future__ import annotations

import re
from typing import Any

import torch

from sdlearn.course.checks.answers import (
    WrongAnswer,
    between,
    call,
    check,
    number,
    same,
    same_gradient,
    tensor,
    whole,
)
from sdlearn.course.checks.stand_ins import Parts
from sdlearn.data.characters import STYLES


@check(points=2)
def prior_preservation_loss(answer: Any) -> str:
    """`prior_preservation_loss(model_pred, target, prior_loss_weight)`: the subject comes first.

    Source: Ruiz et al. 2022, arXiv:2208.12242, eq. 2.
    """
    model_pred, target, weight = torch.randn(6, 4, 2, 2), torch.randn(6, 4, 2, 2), between(0.2, 0.8)
    model_pred[3:] *= 2  # so that the halves differ
    inputs = {"model_pred": model_pred, "target": target, "prior_loss_weight": weight}
    got = call(answer, **inputs)
    squares = (model_pred - target).square()
    subject, prior = squares[:3].mean(), squares[3:].mean()
    even, odd = squares[::2].mean(), squares[1::2].mean()
    slips = {
        "that is one mean over all: the class pictures need a mean of their own, with the weight": (
            squares.mean()
        ),
        "the weight belongs to the class pictures, and they are the second half": prior
        + weight * subject,
        "the class pictures are missing: that is training without prior preservation": subject,
        "the weight is not used": subject + prior,
        "the weight shares nothing out: the subject's mean counts 1 whatever it is": (1 - weight)
        * subject
        + weight * prior,
        "the batch is two halves, one after the other, and not every second picture": even
        + weight * odd,
        "the subject is missing: that is the class pictures alone": weight * prior,
        "each half counts by its own mean: the weight multiplies the second, not all of it": weight
        * (subject + prior),
        "the two means are added, not averaged": (subject + weight * prior) / 2,
        "divide by nothing: the weights need not add up to 1": (subject + weight * prior)
        / (1 + weight),
        "take means, not sums: a loss should not grow with the size of the batch": squares[:3].sum()
        + weight * squares[3:].sum(),
        "that is the distance and not its square": (model_pred - target)[:3].abs().mean()
        + weight * (model_pred - target)[3:].abs().mean(),
    }
    same(tensor(got, (), "the loss"), subject + weight * prior, "the loss", slips)
    squares = (model_pred.requires_grad_() - target).square()
    same_gradient(answer, inputs, squares[:3].mean() + weight * squares[3:].mean())
    return "One forward pass, two means: what to learn, and what to keep."


@check(points=1)
def count_trained(answer: Any) -> str:
    """`count_trained(sd, train_text_encoder)`: how many numbers DreamBooth changes."""
    shapes = {"unet": (whole(5, 9), whole(7, 9)), "text_encoder": (whole(3, 4), 4), "vae": (2, 9)}
    sd = Parts(**{name: list(shape) for name, shape in shapes.items()})
    sizes = {name: rows * columns + columns for name, (rows, columns) in shapes.items()}
    for with_text in (False, True):
        got = number(call(answer, sd=sd, train_text_encoder=with_text), "the number")
        right = sizes["unet"] + with_text * sizes["text_encoder"]
        slips = {
            0: "a loaded model is frozen, so requires_grad says nothing yet: count all of a part",
            2 + 2 * with_text: ("those are tensors: numel() says how many numbers each holds"),
            right + sizes["vae"]: "the VAE does not train: it makes codes of any picture already",
            sizes["unet"] + (not with_text) * sizes["text_encoder"]: (
                "the text encoder trains where train_text_encoder is True, and not otherwise"
            ),
            sizes["unet"]: "with train_text_encoder its parameters train as well",
        }
        if got != right:
            raise WrongAnswer(slips.get(int(got), f"{got:.0f} where {right} is right"))
    return "A whole U-Net for one subject: so DreamBooth's file is as large as the model."


@check(points=2)
def instance_prompt(answer: Any) -> str:
    """A template for a subject that is always in the same style and clothes; see the exercise."""
    from matplotlib.colors import CSS4_COLORS

    if not isinstance(answer, str):
        raise WrongAnswer(f"the template should be a text, and is {type(answer).__name__}")
    words = re.findall(r"[a-z]+", re.sub(r"\{\w*\}", " ", answer.lower()))
    asked = re.findall(r"\{(\w*)\}", answer)
    if "sks" not in words:
        raise WrongAnswer("the rare word sks is missing: nothing would carry what is learnt")
    if "creature" not in words:
        raise WrongAnswer("say the class, creature: what is known of creatures need not be learnt")
    if words.index("creature") < words.index("sks"):
        raise WrongAnswer("the rare word stands in front of the class word: sks creature")
    for name in asked:
        if name not in ("style", "color", "expression", "background"):
            raise WrongAnswer(f"the pictures have no {{{name}}}")
    for name in ("style", "color"):
        if name in asked:
            raise WrongAnswer(
                f"{{{name}}} is the same in all pictures, so it belongs to the subject: "
                "what the prompt says, sks need not learn"
            )
    for said in [*CSS4_COLORS, *STYLES, "style", "color", "colour"]:
        if re.search(rf"(?<![\w{{-]){said}(?![\w}}-])", answer.lower()):
            raise WrongAnswer(
                f"“{said}” speaks of what is the same in all pictures, so it belongs to the "
                "subject: what the prompt says, sks need not learn"
            )
    for name in ("expression", "background"):
        if name not in asked:
            raise WrongAnswer(
                f"the {name} changes from picture to picture: say {{{name}}}, "
                "or sks learns a mixture of them all"
            )
    return "Say what changes, and leave to the new word what stays."
