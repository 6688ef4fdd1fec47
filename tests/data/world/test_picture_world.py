"""The picture world: deterministic, true, and split by rule."""

import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from sdlearn.data.world.attributes import (
    Shot,
    _draw,
    attribute_values,
    is_held_out,
    is_held_out_drawing,
    other_view,
    pictures,
    readable,
    sample_attributes,
)
from sdlearn.data.world.drawings import SETS, SUBJECT_SETS
from sdlearn.data.world.people import PEOPLE, SUBJECTS
from sdlearn.data.world.render import draw, render
from sdlearn.data.world.words import GROUND_COLORS, NOUNS, SCENES

DIGEST = (
    "import hashlib;from sdlearn.data.world.attributes import pictures;"
    "from sdlearn.data.world.render import render;h=hashlib.sha256();"
    "[h.update(p.tobytes()) for p in render(pictures(12, seed=3), 32, workers=1)];"
    "print(h.hexdigest())"
)


def test_pictures_are_the_same_in_every_process() -> None:
    """Python's hash of a string differs between processes; a picture must not depend on it."""
    digests = set()
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-c", DIGEST]
        environment = {"PYTHONHASHSEED": hash_seed, "PATH": "", "PYTHONPATH": ":".join(sys.path)}
        run = subprocess.run(command, env=environment, capture_output=True, check=True)
        digests.add(run.stdout)
    assert len(digests) == 1


def test_worker_processes_draw_the_same_as_one() -> None:
    shots = pictures(40)
    alone, shared = render(shots, 32, workers=1), render(shots, 32, workers=2)
    assert all(np.array_equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_the_world_is_as_wide_as_it_says() -> None:
    assert len(NOUNS) >= 60
    assert len(SETS) >= 5
    assert len(PEOPLE) >= 10
    assert len(SCENES) == 10
    assert len(GROUND_COLORS) == 10


def test_styles_for_fine_tuning_are_never_in_a_training_picture() -> None:
    shown = {shot.attributes["style"] for shot in pictures(3000)}
    assert shown == {*SETS, *PEOPLE}
    assert not shown & {*SUBJECT_SETS, *SUBJECTS}
    assert {"lorelei", "adventurer"} <= set(SUBJECTS)
    assert "fxemoji" in SUBJECT_SETS


def test_nobody_stands_on_a_ground_of_their_own_colour() -> None:
    shots = pictures(2000)
    for shot in [*shots, *map(other_view, shots)]:
        own = [shot.attributes.get(name) for name in ("color", "other_color", "body_color")]
        assert shot.attributes.get("background", "none") not in own


def test_training_pictures_hold_no_held_out_combination() -> None:
    assert not any(is_held_out(shot.attributes) for shot in pictures(1000))
    assert all(is_held_out(shot.attributes) for shot in pictures(200, held_out=True))


def test_one_noun_in_eight_of_each_set_is_never_drawn() -> None:
    for name in SETS:
        held_out = [noun for noun in NOUNS if is_held_out_drawing(noun, name)]
        assert len(held_out) in (len(NOUNS) // 8, len(NOUNS) // 8 + 1)
    for noun in NOUNS:  # but never by most sets
        assert sum(is_held_out_drawing(noun, name) for name in SETS) <= 1


def test_one_pair_of_noun_and_scene_in_eight_never_meets() -> None:
    pairs = [(noun, scene) for noun in NOUNS for scene in SCENES]
    held_out = 0
    for noun, scene in pairs:
        style = next(name for name in SETS if not is_held_out_drawing(noun, name))
        held_out += is_held_out({"noun": noun, "style": style, "scene": scene})
    assert held_out == pytest.approx(len(pairs) / 8, rel=0.05)


def test_every_share_of_the_world_is_as_it_should_be() -> None:
    rng = random.Random(0)
    drawn = [_draw(rng) for _ in range(4000)]
    people = sum(a["noun"] not in NOUNS for a in drawn) / len(drawn)
    two = sum("other_noun" in a for a in drawn) / len(drawn)
    scenes = sum("scene" in a for a in drawn) / len(drawn)
    assert (people, two, scenes) == pytest.approx((0.4, 0.1, 0.6), abs=0.03)
    places = Counter(a["place"] for a in drawn)
    assert min(places.values()) > 0.25 * len(drawn)


def test_what_is_read_off_a_picture_is_among_the_known_values() -> None:
    values = attribute_values()
    for shot in pictures(500):
        for name, value in readable(shot.attributes).items():
            assert value in values[name], (name, value)


def test_of_two_subjects_the_left_one_is_read_as_left() -> None:
    shown = {"noun": "cat", "other_noun": "dog", "style": "noto", "place": "right"}
    assert readable(shown) == {"style": "noto", "left_noun": "dog", "right_noun": "cat"}


def test_another_view_keeps_the_subject_and_moves_it() -> None:
    for shot in pictures(100):
        view = other_view(shot)
        kept = ("noun", "style", "color", "hair_color", "other_noun", "other_color")
        assert {k: view.attributes.get(k) for k in kept} == {
            k: shot.attributes.get(k) for k in kept
        }
        assert view.who == shot.who
        assert not np.array_equal(_array(shot), _array(view))


def test_a_subject_keeps_its_looks_when_only_its_seed_stays() -> None:
    person = {"noun": "person", "style": "micah", "pattern": "plain", "background": "red"}
    place = {"size": "large", "place": "middle"}
    one, same, other = (
        np.asarray(draw(person | place, 64, seed=1, who=who), dtype=float) for who in (5, 5, 6)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_plain_ground_has_the_named_colour() -> None:
    for name, color in GROUND_COLORS.items():
        shown = {"noun": "cat", "style": "noto", "pattern": "plain", "background": name}
        corner = np.asarray(draw(shown | {"size": "small", "place": "middle"}, 64))[0, 0]
        assert "#{:02x}{:02x}{:02x}".format(*corner) == color.hex


@pytest.mark.parametrize("place", ["left", "right"])
def test_a_subject_stands_where_its_attributes_say(place: str) -> None:
    shown = {"noun": "cat", "style": "noto", "pattern": "plain", "background": "white"}
    for seed in range(5):
        picture = np.asarray(draw(shown | {"size": "small", "place": place}, 64, seed=seed), int)
        columns = np.abs(picture - picture[0, 0]).sum((0, 2))
        middle = (columns * np.arange(64)).sum() / columns.sum()
        assert middle < 29 if place == "left" else middle > 35


def test_a_large_subject_covers_more_than_a_small_one() -> None:
    shown = {"noun": "cat", "style": "noto", "pattern": "plain", "background": "white"}
    areas = []
    for size in ("small", "medium", "large"):
        picture = np.asarray(draw(shown | {"size": size, "place": "middle"}, 64), int)
        areas.append((np.abs(picture - picture[0, 0]).sum(-1) > 60).mean())
    assert areas[0] < areas[1] < areas[2]


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_differs_from_the_others_and_from_its_night(scene: str) -> None:
    shown = {"noun": "cat", "style": "noto", "size": "small", "place": "middle"}
    here = np.asarray(draw(shown | {"scene": scene}, 32), float)
    for other in SCENES:
        if other != scene:
            assert np.abs(here - np.asarray(draw(shown | {"scene": other}, 32), float)).mean() > 8
    if SCENES[scene].has_night:
        night = np.asarray(draw(shown | {"scene": scene, "time": "night"}, 32), float)
        assert night.mean() < here.mean() - 20


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"noun": "cat", "style": "noto", "scene": "moon"}, "scene 'moon' does not exist"),
        ({"noun": "cat", "style": "noto", "scene": "space", "time": "night"}, "has no night"),
        ({"noun": "sofa", "style": "noto", "scene": "room"}, "noto draws no 'sofa'"),
        ({"noun": "cat", "style": "monet", "scene": "room"}, "set 'monet' does not exist"),
        (
            {"noun": "cat", "style": "noto", "color": "plaid", "scene": "room"},
            "color 'plaid' cannot be drawn of cat in noto style",
        ),
        (
            {"noun": "cat", "style": "noto", "pattern": "plain", "background": "beige"},
            "background 'beige' does not exist",
        ),
    ],
)
def test_what_cannot_be_drawn_is_named_with_what_can(attributes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        draw(attributes, 32)


def _array(shot: Shot) -> np.ndarray:
    return np.asarray(draw(shot.attributes, 64, seed=shot.seed, who=shot.who))


def test_a_picture_of_the_world_is_drawn_from_its_index_alone() -> None:
    assert sample_attributes(7, 11) == sample_attributes(7, 11)
    assert sample_attributes(7, 11) != sample_attributes(7, 12)
