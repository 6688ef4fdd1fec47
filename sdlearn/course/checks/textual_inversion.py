"""Checks of chapter 7: one new row, and where it lies."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from sdlearn.course.checks.answers import call, check, number, same, tensor, whole
from sdlearn.course.checks.stand_ins import TextEncoder


@check(points=1)
def keep_old_rows(answer: Any) -> str:
    """`keep_old_rows(gradient, new_id)`: a gradient (V, D) with which only the new row moves."""
    new_id = whole(1, 3)
    gradient = torch.randn(5, 4)
    got = call(answer, gradient=gradient, new_id=new_id)
    expected = torch.zeros_like(gradient)
    expected[new_id] = gradient[new_id]
    without = gradient.clone()
    without[new_id] = 0
    column = torch.zeros_like(gradient)
    column[:, new_id] = gradient[:, new_id]
    after = gradient.clone()
    after[:new_id] = 0
    slips = {
        "the wrong way round: the new row stands still, and all others move": without,
        "that keeps a column: a word is a row, so the id is the first index": column,
        "rows behind the new one move as well: keep a single row": after,
        "nothing moves: the new row has to keep its gradient": torch.zeros_like(gradient),
        "everything moves: set the gradient of all other rows to zero": gradient,
        "the new row's gradient is only to be kept, and not scaled": expected
        / expected.norm().clamp(min=1e-9),
    }
    same(tensor(got, (5, 4), "the gradient"), expected, "the gradient", slips)
    return "No other word can change: that is why Textual Inversion forgets nothing."


@check(points=2)
def nearest_rows(answer: Any) -> str:
    """`nearest_rows(row, table, k)`: ids of the k rows with the largest cosine, largest first."""
    row, table = torch.randn(6), torch.randn(40, 6) * torch.linspace(0.2, 3.0, 40)[:, None]
    k = whole(3, 6)
    got = call(answer, row=row, table=table, k=k)
    if isinstance(got, list | tuple):
        got = torch.tensor([number(i, "an id") for i in got])
    result = tensor(got, (k,), "the ids")
    cosines = F.cosine_similarity(table, row[None])
    slips = {
        "those are the products: divide by the lengths, or long rows win": (table @ row).topk(k)[1],
        "those are the ends with the smallest distance: a cosine compares directions alone": (
            (table - row).norm(dim=1).topk(k, largest=False)[1]
        ),
        "those are the least like it: a larger cosine is nearer": cosines.topk(k, largest=False)[1],
        "the nearest comes first": cosines.topk(k)[1].flip(0),
        "those are the cosines, and the ids are asked for": cosines.topk(k)[0],
        "divide each product by the length of its own row too, not by the one row's alone": (
            (table @ row / row.norm()).topk(k)[1]
        ),
    }
    same(result, cosines.topk(k)[1], "an id", slips, tolerance=0, distinct=True)
    return "A direction says what a word means, and the words around it say it in words."


@check(points=1)
def count_new(answer: Any) -> str:
    """`count_new(text_encoder, num_vectors)`: how many numbers Textual Inversion trains."""
    for width in (whole(5, 9), whole(21, 40)):  # no one number is right for both
        words, vectors = whole(41, 60), whole(2, 4)
        text_encoder = TextEncoder(vocab_size=words, hidden_size=width)
        got = number(call(answer, text_encoder=text_encoder, num_vectors=vectors), "the number")
        slips: dict[str, float] = {
            "that is the whole table: only the rows of the new word train": words * width,
            "that is the table with the new rows: the old ones do not train": (
                (words + vectors) * width
            ),
            "each vector is a row of as many numbers as the text encoder is wide": vectors,
            "every one of the num_vectors has a row of its own": width,
            "a row is as long as the text encoder is wide, not as there are words": vectors * words,
            "a loaded model is frozen, so requires_grad says nothing yet": 0,
        }
        same(got, vectors * width, "the number", slips, tolerance=0)
    return "So few numbers fit into a chat message, and they must say it all."
