"""Which eta is chosen, on curves whose answer is known."""

import pytest
from PIL import Image

from sdlearn.finetune.imagic.eta import choose_eta, likeness

ETAS = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
FALLING = [0.9, 0.9, 0.85, 0.8, 0.4, 0.2]  # half of the way down from 0.9 to 0.1 is 0.5


def test_without_an_edit_measure_it_is_the_last_eta_before_too_much_of_the_picture_is_lost():
    choice = choose_eta(ETAS, FALLING, unrelated=0.1)
    assert choice.eta == 0.6
    assert choice.kept == pytest.approx([1, 1, 0.9375, 0.875, 0.375, 0.125])
    assert choice.reason == "70% or more of the picture is kept up to eta 0.6"


@pytest.mark.parametrize(("keep", "eta"), [(1.0, 0.2), (0.9, 0.4), (0.3, 0.8), (0.1, 1.0)])
def test_keep_says_how_much_of_the_picture(keep, eta):
    assert choose_eta(ETAS, FALLING, unrelated=0.1, keep=keep).eta == eta


@pytest.mark.parametrize(("scale", "shift"), [(10.0, -3.0), (0.01, 0.5)])
def test_the_unit_of_a_measure_does_not_matter(scale, shift):
    moved = [scale * value + shift for value in FALLING]
    choice = choose_eta(ETAS, moved, moved[::-1], unrelated=scale * 0.1 + shift)
    assert choice.eta == choose_eta(ETAS, FALLING, FALLING[::-1], unrelated=0.1).eta == 0.6


def test_a_picture_that_is_kept_everywhere_takes_the_largest_eta():
    assert choose_eta(ETAS, [0.9] * 6, unrelated=0.1).eta == 1.0
    assert choose_eta(ETAS, [0.9] * 6, [0.3] * 6, unrelated=0.1).eta == 1.0
    rising = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    assert choose_eta(ETAS, rising, unrelated=0.1).eta == 1.0


def test_a_straight_line_down_is_cut_where_keep_says():
    line = [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]
    assert choose_eta(ETAS, line, unrelated=0.0).eta == 0.2
    assert choose_eta(ETAS, line, unrelated=0.0, keep=0.5).eta == 0.4


def test_a_picture_lost_at_once_stays_at_eta_zero():
    assert choose_eta(ETAS, [0.9, 0.1, 0.1, 0.1, 0.1, 0.1], unrelated=0.1).eta == 0.0


def test_what_comes_back_after_the_picture_was_lost_does_not_count():
    assert choose_eta(ETAS, [0.9, 0.8, 0.2, 0.9, 0.9, 0.9], unrelated=0.1).eta == 0.2


@pytest.mark.parametrize("unrelated", [0.9, 0.95])
def test_a_picture_that_was_never_learnt_says_so(unrelated):
    choice = choose_eta(ETAS, FALLING, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], unrelated=unrelated)
    assert choice.eta == 0.0
    assert choice.reason.endswith("train for more steps, or with a higher learning rate")


def test_among_what_keeps_the_picture_the_strongest_edit_wins():
    choice = choose_eta(ETAS, FALLING, [0.1, 0.1, 0.5, 0.3, 0.9, 0.9], unrelated=0.1)
    assert choice.eta == 0.4
    assert choice.reason.endswith("beyond eta 0.4 the edit grows no stronger")


def test_of_equal_edits_the_one_that_changes_least_wins():
    choice = choose_eta(ETAS, FALLING, [0.0, 0.96, 0.97, 1.0, 1.0, 1.0], unrelated=0.1)
    assert choice.eta == 0.2
    choice = choose_eta(ETAS, FALLING, [0.0, 0.94, 0.96, 1.0, 1.0, 1.0], unrelated=0.1)
    assert choice.eta == 0.4


def test_an_edit_that_only_weakens_is_left_out():
    assert choose_eta(ETAS, FALLING, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], unrelated=0.1).eta == 0.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"etas": [0.1, *ETAS[1:]]}, "do not rise from 0"),
        ({"etas": [0.0, 0.4, 0.4, 0.6, 0.8, 1.0]}, "do not rise from 0"),
        ({"etas": [], "faithfulness": []}, "do not rise from 0"),
        ({"etas": [0.0, 0.2, 0.4, 0.6, float("nan"), 1.0]}, "do not rise from 0"),
        ({"faithfulness": FALLING[1:]}, "faithfulness has 5 values for 6 etas"),
        ({"edit_strength": [0.1]}, "edit_strength has 1 values"),
        ({"faithfulness": [float("nan"), *FALLING[1:]]}, "faithfulness holds a number that is not"),
        ({"unrelated": float("inf")}, "unrelated holds a number that is not finite"),
        ({"keep": 0.0}, "keep is 0.0"),
        ({"keep": 1.5}, "keep is 1.5"),
    ],
)
def test_curves_that_cannot_be_are_refused(changes, words):
    given = {"etas": ETAS, "faithfulness": FALLING, "unrelated": 0.1, **changes}
    with pytest.raises(ValueError, match=words):
        choose_eta(given.pop("etas"), given.pop("faithfulness"), **given)


def test_likeness_is_one_less_the_mean_difference(pictures):
    image = Image.new("RGB", (32, 32), (0, 100, 200))
    others = [image, Image.new("RGB", (64, 64), (0, 100, 200)), Image.new("RGB", (32, 32))]
    assert likeness(image)(others) == pytest.approx([1, 1, 1 - 100 / 255], abs=1e-5)
    black, white = Image.new("RGB", (32, 32)), Image.new("RGB", (32, 32), "white")
    assert likeness(black)([white]) == pytest.approx([0])
    half = Image.new("RGB", (64, 64))
    half.paste("white", (0, 0, 32, 64))
    assert likeness(half)([half.rotate(180), half]) == pytest.approx([0, 1], abs=0.05)
    assert likeness(pictures[0].image)([pictures[0].image.resize((96, 96))])[0] > 0.95
