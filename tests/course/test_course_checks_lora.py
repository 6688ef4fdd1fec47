"""The checks of chapter 10: right answers pass, wrong ones are told why."""

import pytest
import torch

from sdlearn.course import checks


def fewest(sizes, share):
    return int((sizes.cumsum(0) / sizes.sum() < share - 1e-6).sum()) + 1


WRONG_UPDATES = {
    "alpha is not used": lambda d, u, a: u @ d,
    "divide alpha by the rank": lambda d, u, a: a * u @ d,
    "divided by its columns": lambda d, u, a: a / d.shape[1] * u @ d,
    "upside down": lambda d, u, a: len(d) / a * u @ d,
    "transposed": lambda d, u, a: (a / len(d) * u @ d).T,
    "rsLoRA": lambda d, u, a: a / len(d) ** 0.5 * u @ d,
    "up comes first": lambda d, u, a: d @ u,
    "is off": lambda d, u, a: u @ d + 1,
    "raised RuntimeError": lambda d, u, a: u + d,
}
WRONG_RANKS = {
    "take squares": lambda s, share: fewest(s, share),
    "one too few": lambda s, share: fewest(s.square(), share) - 1,
    "one too many": lambda s, share: fewest(s.square(), share) + 1,
    "from the largest down": lambda s, share: fewest(s.square().flip(0), share),
    "each value with the largest": lambda s, share: int((s >= share * s[0]).sum()),
    "should be a number": lambda s, share: s,
}
WRONG_SIDES = {"comes back through up": "down", "print both": "both", "ever be learnt": "neither"}


def test_the_right_update_earns_its_point():
    def answer(down, up, alpha):
        return alpha / len(down) * (up @ down)

    assert checks.low_rank_update(answer).points == 1


@pytest.mark.parametrize("why", WRONG_UPDATES)
def test_a_wrong_update_is_told_what_is_wrong_with_it(why):
    wrong = WRONG_UPDATES[why]
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.low_rank_update(lambda down, up, alpha: wrong(down, up, alpha))


def test_the_matrix_that_moves_first_is_the_one_that_starts_at_zero():
    assert checks.first_to_move(" Up ").points == 1


def test_the_answer_of_the_check_is_what_torch_computes():
    down, up = torch.randn(2, 3, requires_grad=True), torch.zeros(3, 2, requires_grad=True)
    (torch.randn(4, 3) @ down.T @ up.T - 1).square().mean().backward()
    assert down.grad.abs().max() == 0
    assert up.grad.abs().max() > 0


@pytest.mark.parametrize("why", WRONG_SIDES)
def test_another_side_is_told_why_it_cannot_be(why):
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.first_to_move(WRONG_SIDES[why])


@pytest.mark.parametrize("answer", ["sideways", 1])
def test_no_side_at_all_is_told_what_to_answer(answer):
    with pytest.raises(checks.WrongAnswer, match=r"none of|answer with a text"):
        checks.first_to_move(answer)


def test_a_right_count_of_ranks_earns_its_points():
    def answer(singular_values, share):
        return fewest(singular_values.square(), share)

    assert checks.rank_for(answer).points == 2


@pytest.mark.parametrize("why", WRONG_RANKS)
def test_a_wrong_count_of_ranks_is_told_what_is_wrong_with_it(why):
    wrong = WRONG_RANKS[why]
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.rank_for(lambda singular_values, share: wrong(singular_values, share))


@pytest.mark.parametrize("check", [checks.low_rank_update, checks.first_to_move, checks.rank_for])
def test_what_is_not_answered_yet_is_no_wrong_answer(check):
    with pytest.raises(NotImplementedError):
        check(...)
