"""The checks of chapter 0: right answers pass, wrong ones are told why."""

import pytest
import torch

from sdlearn.course import checks


def repeatable(pipeline, prompt, seed):
    return pipeline(prompt, generator=torch.Generator().manual_seed(seed)).images[0]


def credit(rights):
    if rights["license"] == "CC0-1.0":
        return ""
    return "{author}, {license}, {source}; {changes}".format(**rights)


RIGHT = {
    "repeatable": repeatable,
    "training_bytes": lambda parameters, trained: 4 * parameters + 12 * trained,
    "credit": credit,
}
GENERATOR = torch.Generator().manual_seed(0)  # made once, outside: goes on from call to call
NOT_REPEATABLE = {
    "was not called": lambda pipeline, prompt, seed: 1.0,
    "the first of its images": lambda pipeline, prompt, seed: pipeline(prompt),
    "a list with one picture": lambda pipeline, prompt, seed: pipeline(prompt).images,
    "not NoneType": lambda pipeline, prompt, seed: pipeline(prompt) and None,
    "not the prompt": lambda pipeline, prompt, seed: pipeline("prompt").images[0],
    "the same seed gave two pictures": lambda pipeline, prompt, seed: pipeline(prompt).images[0],
    "make a generator in the function": lambda pipeline, prompt, seed: pipeline(
        prompt, generator=GENERATOR
    ).images[0],
    "the seed is not used": lambda pipeline, prompt, seed: pipeline(
        prompt, generator=torch.Generator().manual_seed(0)
    ).images[0],
}
WRONG_BYTES = {
    "nothing is counted for training": lambda n, m: 4 * n,
    "the rest is just kept": lambda n, m: 16 * n,
    "in memory all the same": lambda n, m: 16 * m,
    "two numbers beside the gradient": lambda n, m: 4 * n + 8 * m,
    "for each trained one are missing": lambda n, m: 4 * (n + m),
    "counted twice": lambda n, m: 4 * n + 16 * m,
    "each takes 4 bytes": lambda n, m: n + 3 * m,
    "are bits": lambda n, m: 8 * (4 * n + 12 * m),
    "4,120,000 are right": lambda n, m: n,
    "should be a number": lambda n, m: "much",
}
WRONG_CREDIT = {
    "artist is not named": "{license}",
    "licence is not named": "{author}",
    "where the original is": "{author}, {license}",
    "what was changed": "{author}, {license}, {source}",
    "CC0 asks for nothing": "{author}, {license}, {source}, {changes}",
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_earns_its_point(name):
    assert getattr(checks, name)(RIGHT[name]).points == 1


@pytest.mark.parametrize("why", NOT_REPEATABLE)
def test_a_picture_that_cannot_be_drawn_again_is_told_why(why):
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.repeatable(NOT_REPEATABLE[why])


@pytest.mark.parametrize("why", WRONG_BYTES)
def test_a_wrong_sum_is_told_what_it_forgot(why):
    def training_bytes(parameters, trained):
        return WRONG_BYTES[why](parameters, trained)

    with pytest.raises(checks.WrongAnswer, match=why):
        checks.training_bytes(training_bytes)


@pytest.mark.parametrize("why", WRONG_CREDIT)
def test_a_credit_that_leaves_something_out_is_told_what(why):
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.credit(lambda rights: WRONG_CREDIT[why].format(**rights))


def test_who_names_authors_under_one_licence_only_is_told_of_another():
    def only_cc_by(rights):
        return credit(rights) if rights["license"] == "CC-BY-4.0" else ""

    with pytest.raises(checks.WrongAnswer, match="MIT licence asks"):
        checks.credit(only_cc_by)
    with pytest.raises(checks.WrongAnswer, match="return text, not list"):
        checks.credit(lambda rights: list(rights.values()))
