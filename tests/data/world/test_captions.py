"""Captions say what is true, all of it where asked, and vary."""

import random
import re

import pytest

from sdlearn.data.world.attributes import pictures
from sdlearn.data.world.captions import caption, japanese_words, mentioned
from sdlearn.data.world.words import NOUNS, SCENES, SUBJECT_COLORS

CAT = {"noun": "cat", "style": "noto", "color": "purple", "size": "small", "scene": "beach"}
PAIR = {"noun": "cat", "other_noun": "red-apple", "style": "noto", "place": "left"}


def test_a_thing_in_a_place_is_said_in_plain_words() -> None:
    assert caption(CAT) == "a small purple cat on a beach, noto style"
    assert caption(CAT, "ja") == "noto風の、海辺の小さな紫のネコ"


def test_a_city_at_night_is_said_in_both_languages() -> None:
    shown = {"noun": "cat", "color": "purple", "scene": "city", "time": "night"}
    assert caption(shown) == "a purple cat in a city at night"
    assert caption(shown, "ja") == "夜の街の紫のネコ"


def test_grounds_are_said_with_pattern_and_colour() -> None:
    shown = {"noun": "guitar", "pattern": "striped", "background": "red"}
    assert caption(shown) == "a guitar on a striped red background"
    assert caption(shown, "ja") == "赤いしま模様の背景のギター"


def test_of_two_subjects_the_places_are_said() -> None:
    assert caption(PAIR) == "a cat left of an apple, noto style"
    assert caption(PAIR, "ja") == "noto風の、リンゴの左にいるネコ"


def test_two_subjects_are_never_said_the_wrong_way_round() -> None:
    rng = random.Random(0)
    for place, other in (("left", "right"), ("right", "left")):
        for _ in range(60):
            text = caption(PAIR | {"place": place}, "en", rng)
            assert f"cat {other} of" not in text
            assert f"apple {place} of" not in text
            assert f"cat on the {other}" not in text


def test_an_empty_set_of_attributes_is_a_person() -> None:
    assert caption({}) == "a person"
    assert caption({"background": "red"}) == "a person on a red background"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_captions_vary_and_leave_attributes_out(language: str) -> None:
    rng = random.Random(0)
    for shot in pictures(5, seed=5):
        texts = {caption(mentioned(shot.attributes, rng), language, rng) for _ in range(100)}
        assert len(texts) > 25


def test_some_captions_name_the_subject_alone() -> None:
    rng = random.Random(0)
    attributes = CAT | {"place": "left"}
    texts = [caption(mentioned(attributes, rng), "en", rng) for _ in range(300)]
    bare = [text for text in texts if re.sub("^a (picture|photo|drawing) of ", "", text) == "a cat"]
    assert 5 < len(bare) < 60


@pytest.mark.parametrize("language", [0, 1])
def test_no_two_nouns_or_scenes_are_called_the_same(language: int) -> None:
    for table in (NOUNS, SCENES):
        names = [entry[language] for entry in table.values()]
        assert len(set(names)) == len(names)


def test_every_word_of_a_japanese_caption_is_known_to_the_tokenizers_list() -> None:
    words = sorted(japanese_words(), key=len, reverse=True)
    particles = "のでと、にいるあ"
    for shot in pictures(200):
        text = caption({k: v for k, v in shot.attributes.items() if k != "style"}, "ja")
        for word in words:
            text = text.replace(word, "")
        assert not set(text) - set(particles), text


def test_colours_are_said_as_they_are_drawn() -> None:
    for color in SUBJECT_COLORS:
        assert f" {color} cat" in caption({"noun": "cat", "color": color, "size": "large"})


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ValueError, match="language 'fr' is not one of"):
        caption(CAT, "fr")
