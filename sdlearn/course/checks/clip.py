"""Checks of chapter 1: cosines, the contrastive loss, recall, and the room in a prompt."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

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

MAX_LENGTH = 77  # tokens that CLIP's text encoder reads, and so Stable Diffusion's


@check(points=1)
def similarities(answer: Any) -> str:
    """`similarities(image_embeds, text_embeds)`: Radford et al. 2021, figure 3."""
    images, texts = 3 * torch.randn(3, 5), 2 * torch.randn(4, 5)
    got = call(answer, image_embeds=images, text_embeds=texts)
    if getattr(got, "shape", ()) == (4, 3):
        raise WrongAnswer("the rows should be the pictures and the columns the texts: transpose")
    unit_images, unit_texts = F.normalize(images, dim=1), F.normalize(texts, dim=1)
    slips = {
        "long vectors get large products: divide each by its length first": images @ texts.T,
        "the texts still have their own lengths": unit_images @ texts.T,
        "the pictures still have their own lengths": images @ unit_texts.T,
        "each vector is a row: its length runs over dim=1, not over the batch": (
            F.normalize(images, dim=0) @ F.normalize(texts, dim=0).T
        ),
        "that divides by the whole matrix's length: each row has its own": (
            images / images.norm() @ (texts / texts.norm()).T
        ),
    }
    result = tensor(got, (3, 4), "the matrix of cosines")
    same(result, unit_images @ unit_texts.T, "a cosine", slips)
    return "Normalise, multiply: every picture is compared with every text at once."


@check(points=2)
def contrastive_loss(answer: Any) -> str:
    """`contrastive_loss(image_embeds, text_embeds, logit_scale)`: Radford et al. 2021, figure 3."""
    images, texts = F.normalize(torch.randn(4, 6), dim=1), F.normalize(torch.randn(4, 6), dim=1)
    log_scale = torch.tensor(between(1.2, 1.8))
    inputs = {"image_embeds": images, "text_embeds": texts, "logit_scale": log_scale}
    got = call(answer, **inputs)
    cosines, own = images @ texts.T, torch.arange(4)
    logits = log_scale.exp() * cosines

    def both(values: torch.Tensor) -> torch.Tensor:
        return (F.cross_entropy(values, own) + F.cross_entropy(values.T, own)) / 2

    slips = {
        "only the pictures look for their captions: add the other direction": (
            F.cross_entropy(logits, own)
        ),
        "only the captions look for their pictures: add the other direction": (
            F.cross_entropy(logits.T, own)
        ),
        "that is the sum of the two directions: take their mean": 2 * both(logits),
        "logit_scale is the logarithm of the scale: take its exp()": both(log_scale * cosines),
        "the scale is not used": both(cosines),
        "the scale multiplies the cosines; you divided by it": both(cosines / log_scale.exp()),
        "cross_entropy takes the softmax itself: give it the logits": both(logits.softmax(1)),
        "the right answer of row i is i, not always the first": (
            F.cross_entropy(logits, 0 * own) + F.cross_entropy(logits.T, 0 * own)
        )
        / 2,
        "a loss goes down as the pairs fit better: the sign is missing": -both(logits),
        "take the mean over the rows, not their sum: a loss should not grow with the batch": (
            4 * both(logits)
        ),
    }
    same(tensor(got, (), "the loss"), both(logits), "the loss", slips)
    for value in inputs.values():
        value.requires_grad_()
    same_gradient(answer, inputs, both(log_scale.exp() * images @ texts.T))
    return "One quiz, asked both ways: that is all that CLIP is trained on."


@check(points=1)
def recall(answer: Any) -> str:
    """`recall(similarity, k)`: the share of rows whose own column is among their k largest."""
    similarity, k = torch.randn(40, 40) + 1.5 * torch.eye(40), whole(3, 5)
    got = number(call(answer, similarity=similarity, k=k), "recall")
    right = _recall(similarity, k)
    slips = {
        "that counts the rows: divide by how many there are": 40 * right,
        "that asks the columns: look for the largest within each row": _recall(similarity.T, k),
        "that is recall at 1: a row may find its own among its k largest": _recall(similarity, 1),
        "topk's largest values are wanted, not the smallest": _recall(-similarity, k),
        "that divides by k as well: a row that finds its own counts as one": right / k,
    }
    same(got, right, "recall", slips, distinct=True)
    return "The same number tells how good a search is, and how hard its collection."


@check(points=1)
def room(answer: Any) -> str:
    """How many tokens of one's own a prompt has room for."""
    got, right = number(answer, "room"), MAX_LENGTH - 2
    if math.isclose(got, right):
        return f"{right} tokens are yours; the start and the end take the other two."
    if math.isclose(got, MAX_LENGTH):
        raise WrongAnswer(f"{MAX_LENGTH} is all there is, with what the tokenizer adds by itself")
    if math.isclose(got, MAX_LENGTH - 1):
        raise WrongAnswer("the tokenizer adds a token at the start and another one at the end")
    if got > MAX_LENGTH:
        raise WrongAnswer(f"a text encoder with {MAX_LENGTH} places cannot take {got:g} tokens")
    raise WrongAnswer(f"there is more room than {got:g}: count what stands around a single word")


def _recall(similarity: torch.Tensor, k: int) -> float:
    own = torch.arange(len(similarity))[:, None]
    return float((similarity.topk(k, dim=1).indices == own).any(1).double().mean())
