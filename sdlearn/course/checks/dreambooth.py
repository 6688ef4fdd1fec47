"""Checks of chapter 8: two losses, what trains, and what a prompt must say."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import torch

from sdlearn.course.checks.answers import WrongAnswer, call, check, number, same, tensor


@check(points=2)
def prior_preservation_loss(answer: Any) -> str:
    """`prior_preservation_loss(model_pred, target, prior_loss_weight)`: the subject comes first.

    Source: Ruiz et al. 2022, arXiv:2208.12242, eq. 2.
    """
    model_pred, target, weight = torch.randn(6, 4, 2, 2), torch.randn(6, 4, 2, 2), 0.3
    model_pred[3:] *= 2  # so that the halves differ
    got = call(answer, model_pred=model_pred, target=target, prior_loss_weight=weight)
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
        "take means, not sums: a loss should not grow with the size of the batch": squares[:3].sum()
        + weight * squares[3:].sum(),
        "that is the distance and not its square": (model_pred - target)[:3].abs().mean()
        + weight * (model_pred - target)[3:].abs().mean(),
    }
    same(tensor(got, (), "the loss"), subject + weight * prior, "the loss", slips)
    return "One forward pass, two means: what to learn, and what to keep."


@check(points=1)
def count_trained(answer: Any) -> str:
    """`count_trained(sd, train_text_encoder)`: how many numbers DreamBooth changes."""
    unet, text_encoder = _part(torch.nn.Linear(5, 7)), _part(torch.nn.Embedding(3, 4))
    sd = SimpleNamespace(unet=unet, text_encoder=text_encoder, vae=_part(torch.nn.Linear(2, 9)))
    sizes = {name: _size(part) for name, part in vars(sd).items()}
    for with_text in (False, True):
        got = number(call(answer, sd=sd, train_text_encoder=with_text), "the number")
        right = sizes["unet"] + with_text * sizes["text_encoder"]
        slips = {
            0: "a loaded model is frozen, so requires_grad says nothing yet: count all of a part",
            len(list(unet.parameters())) + with_text * len(list(text_encoder.parameters())): (
                "those are tensors: numel() says how many numbers each holds"
            ),
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
    for name in ("expression", "background"):
        if name not in asked:
            raise WrongAnswer(
                f"the {name} changes from picture to picture: say {{{name}}}, "
                "or sks learns a mixture of them all"
            )
    return "Say what changes, and leave to the new word what stays."


def _part(module: torch.nn.Module) -> torch.nn.Module:
    return module.requires_grad_(False)


def _size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
