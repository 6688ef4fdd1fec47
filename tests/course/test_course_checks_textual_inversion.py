"""The checks of chapter 7: right answers pass, wrong ones are told why."""

import pytest
import torch
from torch.nn import functional as F

from sdlearn.course import checks


def only(gradient, index):
    kept = torch.zeros_like(gradient)
    kept[index] = gradient[index]
    return kept


def keep_old_rows(gradient, new_id):
    return only(gradient, new_id)


def cosines(row, table):
    return F.cosine_similarity(table, row[None])


def nearest_rows(row, table, k):
    return cosines(row, table).topk(k).indices


def count_new(text_encoder, num_vectors):
    return num_vectors * text_encoder.get_input_embeddings().weight.shape[1]


WRONG_GRADIENTS = {
    "wrong way round": lambda g, i: g - only(g, i),
    "keeps a column": lambda g, i: only(g, (slice(None), i)),
    "rows behind": lambda g, i: only(g, slice(i, None)),
    "nothing moves": lambda g, i: torch.zeros_like(g),
    "everything moves": lambda g, i: g,
    "not scaled": lambda g, i: F.normalize(only(g, i), dim=1),
    r"has \(4,\)": lambda g, i: g[i],
}
WRONG_IDS = {
    "long rows win": lambda r, t, k: (t @ r).topk(k).indices,
    "directions alone": lambda r, t, k: (t - r).norm(dim=1).topk(k, largest=False).indices,
    "least like it": lambda r, t, k: cosines(r, t).topk(k, largest=False).indices,
    "comes first": lambda r, t, k: nearest_rows(r, t, k).flip(0),
    "ids are asked for": lambda r, t, k: cosines(r, t).topk(k).values,
    "is off": lambda r, t, k: list(range(k)),
}
WRONG_COUNTS = {
    "whole table": lambda e, n: e.get_input_embeddings().weight.numel(),
    "with the new rows": lambda e, n: (e.config.vocab_size + n) * e.config.hidden_size,
    "as many numbers": lambda e, n: n,
    "a row of its own": lambda e, n: e.config.hidden_size,
    "not as there are words": lambda e, n: n * e.config.vocab_size,
    "is frozen": lambda e, n: sum(p.numel() for p in e.parameters() if p.requires_grad),
}


def test_a_right_answer_passes():
    assert checks.keep_old_rows(keep_old_rows).points == 1
    assert checks.nearest_rows(nearest_rows).points == 2
    assert checks.nearest_rows(lambda row, table, k: nearest_rows(row, table, k).tolist()).points
    assert checks.count_new(count_new).points == 1


@pytest.mark.parametrize("why", WRONG_GRADIENTS)
def test_a_wrong_gradient_is_told_which_rows_move(why):
    def answer(gradient, new_id):
        return WRONG_GRADIENTS[why](gradient, new_id)

    with pytest.raises(checks.WrongAnswer, match=why):
        checks.keep_old_rows(answer)


@pytest.mark.parametrize("why", WRONG_IDS)
def test_wrong_neighbours_are_told_how_they_were_found(why):
    def answer(row, table, k):
        return WRONG_IDS[why](row, table, k)

    with pytest.raises(checks.WrongAnswer, match=why):
        checks.nearest_rows(answer)


@pytest.mark.parametrize("why", WRONG_COUNTS)
def test_a_wrong_count_is_told_what_was_counted(why):
    def answer(text_encoder, num_vectors):
        return WRONG_COUNTS[why](text_encoder, num_vectors)

    with pytest.raises(checks.WrongAnswer, match=why):
        checks.count_new(answer)
