"""Claims 5 to 8 on constructed units whose answer is known, and at toy size on mini."""

import json
from dataclasses import replace

import pytest
import torch

from experiments import find, noun, pictures, vectors
from experiments.claim import difference_in_words
from experiments.size import SMALL, SUBJECTS
from sdlearn.evaluate.bootstrap import Interval
from sdlearn.evaluate.compare import DREAMBOOTH
from sdlearn.evaluate.memorisation import memorisation

TOY = replace(
    SMALL, prompts=1, train_steps=1, train_batch_size=1, sampler_steps=1, class_pictures=2
)
DREAM, TI = pictures.FIRST, pictures.LAST


def units(fidelity=0.5, asked_and_seen=0.5, copied=0.0, **others):
    """Two subjects of four pictures each; the second is a little higher in everything."""
    figures = {
        "fidelity": fidelity,
        "asked_and_seen": asked_and_seen,
        "copied": copied,
        **dict.fromkeys(("diversity", "nearest", "prompt_fit", "class_drift"), 0.1),
        **others,
    }
    return [
        {name: [value + shift + 0.001 * i for i in range(4)] for name, value in figures.items()}
        for shift in (0.0, 0.01)
    ]


def overfitting(**of_textual_inversion):
    learnt = {"copied": 0.0, "asked_and_seen": 0.9, "diversity": 0.3, "fidelity": 0.6}
    return pictures.conclude_overfitting(
        {
            DREAM: units(copied=0.8, asked_and_seen=0.5, fidelity=0.7),
            TI: units(**(learnt | of_textual_inversion)),
            "before": units(fidelity=0.4),
        }
    )


def by_number(*fidelity):
    return {n: units(fidelity=f) for n, f in zip((1, 5, 10), fidelity, strict=True)}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    from experiments.bench import Bench

    return Bench(tmp_path_factory.mktemp("claims"), TOY)


def test_a_difference_below_zero_is_said_with_its_signs_turned():
    assert (
        difference_in_words(Interval(value=0.25, low=0.2, high=0.31))
        == "0.25 (0.20 to 0.31) higher"
    )
    assert (
        difference_in_words(Interval(value=-0.25, low=-0.31, high=0.1))
        == "0.25 (-0.10 to 0.31) lower"
    )
    assert (
        difference_in_words(Interval(value=0.002, low=-0.004, high=0.01))
        == "0.00 (0.00 to 0.01) higher"
    )


def test_copies_of_one_picture_are_found_by_what_other_pictures_say_is_near():
    def turned(*degrees):
        radians = torch.tensor(degrees, dtype=torch.float32).deg2rad()
        return torch.stack([radians.cos(), radians.sin()], 1)

    found = memorisation(turned(1, 25, 180), turned(0), turned(0, 20, 60))
    assert found.copied == [1.0, 0.0, 0.0]
    assert memorisation(turned(25), turned(0, 30), turned(0, 20, 60)).copied == [1.0]


def test_fewer_copies_and_more_of_what_was_asked_is_less_overfitting():
    found = overfitting()
    assert found.agrees is True
    assert found.figures["fewer_copies"]["value"] == pytest.approx(0.8)
    assert "0.40 (0.40 to 0.40) higher" in found.says
    assert "cannot be overfit" not in found.says


def test_as_many_copies_is_no_less_overfitting():
    assert overfitting(copied=0.9).agrees is False


def test_less_overfitting_of_a_word_that_learnt_nothing_is_said_to_be_just_that():
    assert "What has not been learnt cannot be overfit" in overfitting(fidelity=0.4).says


def test_likeness_that_rises_to_five_pictures_and_hardly_beyond_is_enough():
    found = pictures.conclude_pictures(
        {DREAM: by_number(0.4, 0.7, 0.72), TI: by_number(0.4, 0.5, 0.5)}
    )
    assert found.agrees is True
    steps = found.figures["steps"][DREAM]
    assert steps["to_usual"]["value"] == pytest.approx(0.3)
    assert steps["bend"]["value"] == pytest.approx(0.28)


def test_likeness_that_goes_on_rising_is_not_enough():
    still = {DREAM: by_number(0.4, 0.5, 0.9), TI: by_number(0.4, 0.7, 0.7)}
    assert pictures.conclude_pictures(still).agrees is False


def test_without_more_than_five_pictures_the_claim_is_open():
    some = {who: {n: units() for n in (1, 5)} for who in (DREAM, TI)}
    assert pictures.conclude_pictures(some).agrees is None


@pytest.mark.parametrize(
    ("fidelity", "seen", "agrees"), [(0.7, 0.5, True), (0.7, 0.9, False), (0.4, 0.5, False)]
)
def test_more_vectors_have_to_reproduce_better_and_edit_worse(fidelity, seen, agrees):
    one, eight = units(fidelity=0.5, asked_and_seen=0.8), units(fidelity, seen)
    found = vectors.conclude({1: one, 8: eight}, units(0.3))
    assert found.agrees is agrees
    assert found.figures["differences"]["fidelity"]["value"] == pytest.approx(fidelity - 0.5)


@pytest.mark.parametrize(("without", "agrees"), [(0.3, True), (0.7, False)])
def test_a_wrong_noun_and_none_both_have_to_hurt(without, agrees):
    found = noun.conclude(
        {
            noun.RIGHT: units(0.6),
            noun.WRONG: units(0.4, named_class_drift=0.25),
            noun.NONE: units(without),
            noun.ASIS: units(0.2),
        }
    )
    assert found.agrees is agrees
    assert "wrongly named by 0.26" in found.says


def test_the_wrong_noun_is_that_of_another_class():
    person = SUBJECTS[0]
    assert noun.with_noun(person, noun.RIGHT) == DREAMBOOTH
    assert noun.with_noun(person, noun.WRONG).called(person) == "sks creature"
    assert noun.with_noun(person, noun.NONE).called(person) == "sks"


def test_a_wrongly_named_class_is_measured_beside_the_subjects_own(bench):
    unit = bench.learnt(SUBJECTS[0], noun.with_noun(SUBJECTS[0], noun.WRONG))
    own, named = unit["class_like_subject_before"], unit["named_class_like_subject_before"]
    assert len(unit["named_class_drift"]) == TOY.class_pictures
    assert own != named


@pytest.mark.parametrize("name", ["overfitting", "vectors", "pictures", "noun"])
def test_a_claim_at_toy_size_finds_something_and_draws_it(bench, name):
    claim = find(name)
    finding = claim.run(bench)
    assert json.loads(json.dumps(finding.figures)) == finding.figures
    assert finding.says.endswith(".")
    assert "nan" not in finding.says
    figure = claim.draw(finding.figures)
    assert all(ax.has_data() and (ax.get_xlabel()) for ax in figure.axes)
