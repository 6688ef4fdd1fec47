"""The checks of chapter 6: right answers pass, wrong ones are told why."""

import pytest

from sdlearn.course import checks


def cut_away(height, width, bucket_height, bucket_width):
    ratio = width * bucket_height / (height * bucket_width)
    return 1 - min(ratio, 1 / ratio)


def training_cost(pictures, epochs, pictures_a_second, gpus, dollars_an_hour):
    return pictures * epochs / pictures_a_second / 3600 * dollars_an_hour


RIGHT = {
    "ema_update": lambda average, weights, decay: weights + decay * (average - weights),
    "cut_away": cut_away,
    "training_cost": training_cost,
}
WRONG = [
    ("ema_update", "wrong way round", lambda average, weights, decay: average.lerp(weights, decay)),
    ("ema_update", "add up to 1", lambda average, weights, decay: decay * average + weights),
    (
        "ema_update",
        "needs its factor",
        lambda average, weights, decay: average + (1 - decay) * weights,
    ),
    ("ema_update", "plain mean", lambda average, weights, decay: (average + weights) / 2),
    (
        "cut_away",
        "share that is kept",
        lambda height, width, bucket_height, bucket_width: (
            1 - cut_away(height, width, bucket_height, bucket_width)
        ),
    ),
    (
        "cut_away",
        "cannot be negative",
        lambda height, width, bucket_height, bucket_width: (
            1 - width * bucket_height / (height * bucket_width)
        ),
    ),
    (
        "cut_away",
        "stands on its head",
        lambda height, width, bucket_height, bucket_width: cut_away(
            height, width, bucket_width, bucket_height
        ),
    ),
    (
        "training_cost",
        "costs its own money",
        lambda pictures, epochs, pictures_a_second, gpus, dollars_an_hour: (
            training_cost(pictures, epochs, pictures_a_second, gpus, dollars_an_hour) / gpus
        ),
    ),
    (
        "training_cost",
        "share the work",
        lambda pictures, epochs, pictures_a_second, gpus, dollars_an_hour: (
            training_cost(pictures, epochs, pictures_a_second, gpus, dollars_an_hour) * gpus
        ),
    ),
    (
        "training_cost",
        "every epoch",
        lambda pictures, epochs, pictures_a_second, gpus, dollars_an_hour: training_cost(
            pictures, 1, pictures_a_second, gpus, dollars_an_hour
        ),
    ),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes(name):
    assert getattr(checks, name)(RIGHT[name]).name == name


@pytest.mark.parametrize(("name", "why", "answer"), WRONG)
def test_a_wrong_answer_is_told_why(name, why, answer):
    with pytest.raises(checks.WrongAnswer, match=why):
        getattr(checks, name)(answer)
