"""A subject of one's own: itself in every picture, in different places, and said truly."""

import numpy as np
import pytest

from sdlearn.data.world.characters import draw_character
from sdlearn.data.world.drawings import SUBJECT_SETS
from sdlearn.data.world.people import SUBJECTS


def test_a_thing_stands_in_different_places_and_grounds() -> None:
    pictures = draw_character("fxemoji", 0, size=64, subject="cat", color="blue")
    shown = [picture.attributes for picture in pictures]
    assert len(pictures) == 5
    assert {(a["noun"], a["style"], a["color"]) for a in shown} == {("cat", "fxemoji", "blue")}
    grounds = [a.get("scene") or (a["pattern"], a["background"]) for a in shown]
    assert len(set(grounds)) == 5
    assert len({a["size"] for a in shown}) == 3
    assert len({a["place"] for a in shown}) == 3
    assert all("blue cat" in picture.text for picture in pictures)
    assert all("青いネコ" in (picture.text_ja or "") for picture in pictures)


@pytest.mark.parametrize("style", [*SUBJECT_SETS, *SUBJECTS])
def test_every_style_for_fine_tuning_draws_a_subject_from_a_seed_alone(style: str) -> None:
    for seed in range(3):
        pictures = draw_character(style, seed, 5, 32)
        assert len({picture.image.tobytes() for picture in pictures}) == 5
        assert {picture.license for picture in pictures} <= {"CC0-1.0", "CC-BY-4.0", "Apache-2.0"}


def test_the_same_seed_is_the_same_subject_and_another_one_is_not() -> None:
    once, again = draw_character("lorelei", 3, 2, 64), draw_character("lorelei", 3, 2, 64)
    assert [p.image.tobytes() for p in once] == [p.image.tobytes() for p in again]
    other = draw_character("lorelei", 4, 2, 64)
    assert not np.array_equal(np.asarray(once[0].image), np.asarray(other[0].image))


def test_a_persons_expression_changes_and_the_rest_stays() -> None:
    shown = [picture.attributes for picture in draw_character("lorelei", 0, 4, 32)]
    assert len({a["expression"] for a in shown}) == 4
    changing = {"expression", "size", "place", "scene", "time", "pattern", "background"}
    kept = [{k: v for k, v in a.items() if k not in changing} for a in shown]
    assert all(one == kept[0] for one in kept)


def test_what_is_given_stays_in_all_pictures() -> None:
    pictures = draw_character("adventurer", 1, 4, 32, glasses="round", scene="beach")
    assert {p.attributes["glasses"] for p in pictures} == {"round"}
    assert {p.attributes["scene"] for p in pictures} == {"beach"}
    grounds = draw_character("fxemoji", 1, 4, 32, background="red")
    assert {p.attributes["background"] for p in grounds} == {"red"}


@pytest.mark.parametrize(
    ("style", "arguments", "said"),
    [
        ("monet", {}, "style 'monet' does not exist"),
        ("fxemoji", {"subject": "sofa"}, "fxemoji draws no 'sofa'"),
        ("fxemoji", {"subject": "cat", "hair": "long"}, "hair 'long' cannot be drawn of cat"),
        ("lorelei", {"subject": "cat"}, "lorelei draws a person and no 'cat'"),
        ("lorelei", {"glasses": "pink"}, "glasses 'pink' cannot be drawn of lorelei style"),
        ("fxemoji", {"scene": "beach", "background": "red"}, "a scene or a ground of one colour"),
    ],
)
def test_what_cannot_be_drawn_is_named_with_what_can(
    style: str, arguments: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        draw_character(style, 0, 1, 32, **arguments)
