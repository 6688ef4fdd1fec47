"""The checks of chapter 12: right answers pass, wrong ones are told why."""

import pytest
import torch
from torch.nn import functional as F

from sdlearn.course import checks


def may_use(license, sell, change):
    parts = license.split("-")
    if parts[0] not in ("CC0", "CC", "MIT"):
        return False
    return not (sell and "NC" in parts) and not (change and "ND" in parts)


def nearest(embeds, training_embeds):
    cosines = F.normalize(embeds, dim=1) @ F.normalize(training_embeds, dim=1).T
    return 1 - cosines.amax(1), cosines.argmax(1)


def read_settings(parameters):
    prompt, *middle, last = parameters.split("\n")
    negative = middle[0].removeprefix("Negative prompt: ") if middle else ""
    settings = dict(part.split(": ", 1) for part in last.split(", "))
    return {"prompt": prompt, "negative_prompt": negative, "seed": int(settings["Seed"])}


RIGHT = {"may_use": may_use, "nearest": nearest, "read_settings": read_settings}
WRONG_RIGHTS = {
    "NC: not for money": lambda license, sell, change: True,
    "ND: no changed versions": lambda license, sell, change: not (sell and "NC" in license),
    "no licence that you know": lambda license, sell, change: (
        license not in checks_of_words or may_use(license, sell, change)
    ),
    "forbids nothing": lambda license, sell, change: license == "CC0-1.0",
    "the same licence": lambda license, sell, change: "SA" not in license,
    "changes alone": lambda license, sell, change: (
        may_use(license, sell, change) and "ND" not in license
    ),
    "money alone": lambda license, sell, change: (
        may_use(license, sell, change) and "NC" not in license
    ),
    "answer True or False": lambda license, sell, change: "yes",
}
checks_of_words = ("CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0")
WRONG_NEAREST = {
    "return two things": lambda e, t: nearest(e, t)[0],
    "one answer for each training picture": lambda e, t: nearest(t, e),
    "those are cosines": lambda e, t: (1 - nearest(e, t)[0], nearest(e, t)[1]),
    "the farthest": lambda e, t: (
        1 - (F.normalize(e, dim=1) @ F.normalize(t, dim=1).T).amin(1),
        nearest(e, t)[1],
    ),
    "length one": lambda e, t: (1 - (e @ t.T).amax(1), (e @ t.T).argmax(1)),
    "length of the difference": lambda e, t: torch.cdist(e, t).min(1),
    "the index is off": lambda e, t: (nearest(e, t)[0], nearest(e, t)[1] + 1),
}
WRONG_SETTINGS = {
    "text draws no picture": lambda text: read_settings(text) | {"seed": "41"},
    "word of the prompt": lambda text: (
        read_settings(text) | {"seed": int(text.split("Seed: ")[1].split(",")[0])}
    ),
    "is 41, and not 20": lambda text: read_settings(text) | {"seed": 20},
    "words “Negative prompt: ” off": lambda text: (
        read_settings(text) | {"negative_prompt": text.split("\n")[1]}
    ),
    "cut at a comma": lambda text: read_settings(text) | {"prompt": text.split(",")[0]},
    "negative_prompt should be ''": lambda text: (
        read_settings(text) | {"negative_prompt": "text, blur"}
    ),
    "has no 'seed'": lambda text: {"prompt": "", "negative_prompt": ""},
    "return a dictionary": lambda text: text.split("\n"),
    "raised IndexError": lambda text: text.split("\n")[7],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_earns_its_points(name):
    assert getattr(checks, name)(RIGHT[name]).points >= 1


@pytest.mark.parametrize("why", WRONG_RIGHTS)
def test_a_wrong_reading_of_a_licence_is_told_what_the_licence_says(why):
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.may_use(WRONG_RIGHTS[why])


@pytest.mark.parametrize("why", WRONG_NEAREST)
def test_a_wrong_neighbour_is_told_what_was_measured_instead(why):
    def answer(embeds, training_embeds):
        return WRONG_NEAREST[why](embeds, training_embeds)

    with pytest.raises(checks.WrongAnswer, match=why):
        checks.nearest(answer)


@pytest.mark.parametrize("why", WRONG_SETTINGS)
def test_wrongly_read_settings_are_told_what_was_misread(why):
    with pytest.raises(checks.WrongAnswer, match=why):
        checks.read_settings(lambda parameters: WRONG_SETTINGS[why](parameters))
