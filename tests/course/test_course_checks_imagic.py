"""The checks of chapter 9: right answers pass, wrong ones are told why."""

import itertools

import pytest
import torch

from sdlearn.course import checks
from sdlearn.finetune import choose_eta

WRONG_EMBEDDINGS = {
    "ends are swapped": lambda t, o, eta: eta * o + (1 - eta) * t,
    "away from the prompt": lambda t, o, eta: o + eta * (o - t),
    "no e_opt should be left": lambda t, o, eta: eta * t + o,
    "the way goes on": lambda t, o, eta: o + min(eta, 1) * (t - o),
    "whatever it is": lambda t, o, eta: (t + o) / 2,
    "should have shape": lambda t, o, eta: t[0],
    "is off": lambda t, o, eta: o + eta**2 * (t - o),
}
WRONG_SHARES = {
    "by chance": lambda f, u: f / f[0],
    "below the line": lambda f, u: f - u,
    "the least of these": lambda f, u: (f - f.min()) / (f[0] - f.min()),
    "what is lost": lambda f, u: 1 - (f - u) / (f[0] - u),
    "a perfect copy": lambda f, u: (f - u) / (1 - u),
    "is off": lambda f, u: f * u,
}


def anywhere(etas, kept, keep):
    return max(eta for eta, share in zip(etas, kept, strict=True) if share >= keep)


def first_fall(etas, kept, keep):
    return next((e for e, share in zip(etas, kept, strict=True) if share < keep), etas[-1])


def strictly(etas, kept, keep):
    pairs = zip(etas, kept, strict=True)
    return [eta for eta, _ in itertools.takewhile(lambda pair: pair[1] > keep, pairs)][-1]


def closest(etas, kept, keep):
    return min(zip(etas, kept, strict=True), key=lambda pair: abs(pair[1] - keep))[0]


WRONG_ETAS = {
    "came back by chance": anywhere,
    "the one before it": first_fall,
    "compare with >=": strictly,
    "edits nothing": lambda etas, kept, keep: 0.0,
    "may keep too little": closest,
    "and not 0.2": lambda etas, kept, keep: 0.2,
    "should be a number": lambda etas, kept, keep: None,
}


def test_the_right_embedding_earns_its_point():
    def answer(e_tgt, e_opt, eta):
        return torch.lerp(e_opt, e_tgt, eta)

    assert checks.interpolate_embeddings(answer).points == 1


@pytest.mark.parametrize("why", WRONG_EMBEDDINGS)
def test_a_wrong_embedding_is_told_what_is_wrong_with_it(why):
    wrong = WRONG_EMBEDDINGS[why]
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.interpolate_embeddings(lambda e_tgt, e_opt, eta: wrong(e_tgt, e_opt, eta))


def test_the_right_share_earns_its_point():
    def answer(faithfulness, unrelated):
        return (faithfulness - unrelated) / (faithfulness[0] - unrelated)

    assert checks.kept_share(answer).points == 1


@pytest.mark.parametrize("why", WRONG_SHARES)
def test_a_wrong_share_is_told_what_is_wrong_with_it(why):
    wrong = WRONG_SHARES[why]
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.kept_share(lambda faithfulness, unrelated: wrong(faithfulness, unrelated))


def test_the_package_s_own_rule_is_a_right_answer():
    def answer(etas, kept, keep):
        return choose_eta(etas, kept, unrelated=0.0, keep=keep).eta

    assert checks.largest_edit(answer).points == 2


@pytest.mark.parametrize("why", WRONG_ETAS)
def test_a_wrong_eta_is_told_what_is_wrong_with_it(why):
    wrong = WRONG_ETAS[why]
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.largest_edit(lambda etas, kept, keep: wrong(etas, kept, keep))


@pytest.mark.parametrize(
    "check", [checks.interpolate_embeddings, checks.kept_share, checks.largest_edit]
)
def test_what_is_not_answered_yet_is_no_wrong_answer(check):
    with pytest.raises(NotImplementedError):
        check(...)
