"""Measures of sets of pictures, on constructed cases whose answer is known."""

import math

import numpy as np
import pytest
import torch

from sdlearn.data.faces import sample_attributes
from sdlearn.data.render import draw
from sdlearn.evaluate import Judges
from sdlearn.evaluate.bootstrap import bootstrap, bootstrap_mean
from sdlearn.evaluate.diversity import diversity, diversity_interval, vendi_score
from sdlearn.evaluate.editing import edit_curve
from sdlearn.evaluate.memorisation import memorisation, nearest_to_another


def turned(*degrees: float) -> torch.Tensor:
    """Features of unit length in two dimensions."""
    angles = torch.tensor(degrees) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.fixture(scope="module")
def judges(toy_folder) -> Judges:
    return Judges.load(toy_folder)


@pytest.fixture(scope="module")
def images():
    return [draw(sample_attributes(0, i), 48, seed=i) for i in range(4)]


def test_the_same_picture_again_and_again_is_not_diverse(judges, images):
    embeds = judges.image_embeds(images[:1] * 5)
    assert diversity(embeds) == pytest.approx(0, abs=1e-6)
    assert vendi_score(embeds) == pytest.approx(1, abs=1e-4)
    assert diversity_interval(embeds).high == pytest.approx(0, abs=1e-6)


def test_two_copies_of_each_of_two_pictures_count_as_two():
    embeds = turned(0, 0, 90, 90)
    assert vendi_score(embeds) == pytest.approx(2, abs=1e-5)
    assert diversity(embeds) == pytest.approx(4 / 6, abs=1e-6)  # four of six pairs are at 1
    assert vendi_score(torch.eye(7)) == pytest.approx(7)


def test_vendi_of_two_pictures_at_60_degrees_is_as_computed_by_hand():
    """Eigenvalues of [[1, .5], [.5, 1]] / 2 are 3/4 and 1/4."""
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert vendi_score(turned(0, 60)) == pytest.approx(math.exp(entropy), abs=1e-5)
    assert diversity(turned(0, 60)) == pytest.approx(0.5, abs=1e-6)


def test_diversity_does_not_count_a_picture_drawn_again_as_a_pair():
    found = diversity_interval(turned(0, 60))
    assert (found.low, found.value, found.high) == pytest.approx((0.5, 0.5, 0.5), abs=1e-6)


def test_one_picture_has_no_diversity_and_none_no_vendi_score():
    with pytest.raises(ValueError, match="at least two of one prompt"):
        diversity(turned(0))
    with pytest.raises(ValueError, match="at least one"):
        vendi_score(turned())


def test_a_picture_learnt_by_heart_is_a_copy_and_a_new_one_is_not():
    training = turned(0, 20, 50)
    found = memorisation(turned(1, 180, 90), training)
    assert found.threshold == pytest.approx(1 - math.cos(math.radians(20)), abs=1e-6)
    assert found.copied == [1.0, 0.0, 0.0]
    assert found.share == pytest.approx(1 / 3)
    nearest = [1 - math.cos(math.radians(d)) for d in (1, 130, 40)]
    torch.testing.assert_close(found.nearest, torch.tensor(nearest), atol=1e-6, rtol=0)


def test_a_training_picture_drawn_again_is_a_copy_of_any_real_subject(judges, images):
    training = judges.image_embeds(images)
    assert memorisation(training, training).share == 1.0
    other = judges.image_embeds([images[0].rotate(180)])
    assert memorisation(other, training).nearest.item() > 0


def test_training_pictures_that_are_there_twice_set_no_threshold():
    torch.testing.assert_close(
        nearest_to_another(turned(0, 0, 90)), torch.ones(3), atol=1e-6, rtol=0
    )
    with pytest.raises(ValueError, match="no two are different"):
        memorisation(turned(10), turned(0, 0))
    with pytest.raises(ValueError, match="no drawn pictures"):
        memorisation(turned(), turned(0, 20))


def test_bootstrap_of_constants_has_no_width():
    found = bootstrap_mean([[0.3] * 4, [0.3] * 2])
    assert (found.low, found.value, found.high) == pytest.approx((0.3, 0.3, 0.3))


def test_bootstrap_follows_the_seed_and_has_the_width_that_theory_gives():
    values = np.random.default_rng(1).normal(size=400).tolist()
    found = bootstrap_mean([values], seed=3)
    assert found == bootstrap_mean([values], seed=3) != bootstrap_mean([values], seed=4)
    width = 2 * 1.96 * np.std(values) / 400**0.5
    assert found.high - found.low == pytest.approx(width, rel=0.1)


def test_groups_vary_as_wholes():
    """Hundred seeds of each of two subjects are no two hundred subjects."""
    found = bootstrap_mean([[0.0] * 100, [1.0] * 100])
    assert (found.low, found.value, found.high) == (0, 0.5, 1)
    assert bootstrap_mean([[0.0] * 9, [1.0]]).value == 0.5


def test_any_statistic_can_be_drawn_again():
    values = np.array([1.0, 2, 3, 4, 100])
    found = bootstrap(lambda places: float(np.median(values[places])), 5)
    assert (found.value, found.low, found.high) == (3, 1, 100)
    with pytest.raises(ValueError, match="at least 1"):
        bootstrap(lambda places: 0.0, 0)
    with pytest.raises(ValueError, match="group without values"):
        bootstrap_mean([[1.0], []])


def test_an_edit_that_is_the_picture_itself_is_entirely_faithful(judges, images):
    curve = edit_curve(judges, {0.0: images[:1] * 2, 1.0: images[2:]}, images[0], "a person")
    assert [edit.eta for edit in curve] == [0.0, 1.0]
    assert curve[0].faithfulness.low == pytest.approx(1, abs=1e-5)
    assert curve[1].faithfulness.value < 1
    text = judges.clip_text_embeds(["a person"])
    expected = (judges.clip_image_embeds(images[2:]) @ text.T).mean().item()
    assert curve[1].edit_strength.value == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="no eta"):
        edit_curve(judges, {}, images[0], "a person")
