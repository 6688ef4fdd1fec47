"""Checks of chapter 7: one new row, and where it lies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional as F

from sdlearn.course.checks.answers import WrongAnswer, call, check, number, same, tensor


@check(points=1)
def keep_old_rows(answer: Any) -> str:
    """`keep_old_rows(gradient, new_id)`: a gradient (V, D) with which only the new row moves."""
    new_id = 3
    gradient = torch.randn(5, 4)
    got = call(answer, gradient=gradient.clone(), new_id=new_id)
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
    got = call(answer, row=row, table=table, k=4)
    if isinstance(got, (list, tuple)):
        got = torch.tensor([int(i) for i in got])
    result = tensor(got, (4,), "the ids")
    cosines = F.cosine_similarity(table, row[None])
    slips = {
        "those are the products: divide by the lengths, or long rows win": (table @ row).topk(4)[1],
        "those are the ends with the smallest distance: a cosine compares directions alone": (
            (table - row).norm(dim=1).topk(4, largest=False)[1]
        ),
        "those are the least like it: a larger cosine is nearer": cosines.topk(4, largest=False)[1],
        "the nearest comes first": cosines.topk(4)[1].flip(0),
        "those are the cosines, and the ids are asked for": cosines.topk(4)[0],
        "divide each product by the length of its own row too, not by the one row's alone": (
            (table @ row / row.norm()).topk(4)[1]
        ),
    }
    same(result, cosines.topk(4)[1], "an id", slips)
    return "A direction says what a word means, and the words around it say it in words."


@check(points=1)
def count_new(answer: Any) -> str:
    """`count_new(text_encoder, num_vectors)`: how many numbers Textual Inversion trains."""
    table = torch.nn.Embedding(11, 6).requires_grad_(False)
    text_encoder = SimpleNamespace(
        get_input_embeddings=lambda: table,
        parameters=table.parameters,
        config=SimpleNamespace(hidden_size=6, vocab_size=11),
    )
    got = number(call(answer, text_encoder=text_encoder, num_vectors=2), "the number")
    slips = {
        66: "that is the whole table: only the rows of the new word train",
        78: "that is the table with the new rows: the old ones do not train",
        2: "each vector is a row of as many numbers as the text encoder is wide",
        6: "every one of the num_vectors has a row of its own",
        22: "a row is as long as the text encoder is wide, not as there are words",
        0: "a loaded model is frozen, so requires_grad says nothing yet",
    }
    if got != 12:
        raise WrongAnswer(slips.get(int(got), f"{got:.0f} where 12 is right"))
    return "So few numbers fit into a chat message, and they must say it all."
