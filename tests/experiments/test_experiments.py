"""The frame of the claims: sizes, subjects, what is kept, and what a run at toy size finds."""

import json
import math
import re
from dataclasses import replace

import pytest

from experiments import PLACES, find
from experiments.__main__ import main
from experiments.bench import Work
from experiments.claim import all_of, exceeds
from experiments.size import SMALL, SUBJECTS, Size, subjects
from sdlearn.evaluate.bootstrap import Interval
from sdlearn.evaluate.compare import (
    BEFORE,
    DREAMBOOTH,
    DREAMBOOTH_PRIOR,
    FULL,
    LORA,
    TEXTUAL_INVERSION,
    Recipe,
)

TOY = replace(SMALL, train_steps=1, sampler_steps=1, prior_pictures=2, class_pictures=2)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    from experiments.bench import Bench

    return Bench(tmp_path_factory.mktemp("claims"), TOY)


def test_half_of_the_subjects_are_within_what_mini_can_express():
    assert len(SUBJECTS) == 12
    assert sum(subject.is_known_style for subject in SUBJECTS) == 6
    assert [subject.is_known_style for subject in subjects(4)] == [False, True, False, True]
    assert len({subject.name for subject in SUBJECTS}) == 12


def test_a_number_of_subjects_that_there_are_not_is_refused():
    with pytest.raises(ValueError, match="give 1 to 12"):
        subjects(13)


@pytest.mark.parametrize("field", ["subjects", "train_steps", "seeds", "effort"])
def test_a_size_that_nothing_can_be_measured_with_names_its_field(field):
    with pytest.raises(ValueError, match=f"{field} is 0"):
        Size(**{field: 0})


def test_recipes_that_differ_have_names_that_differ():
    recipes = [BEFORE, FULL, TEXTUAL_INVERSION, DREAMBOOTH, DREAMBOOTH_PRIOR, LORA]
    recipes += [Recipe(method="dreambooth", noun=""), Recipe(method="dreambooth", noun="dog")]
    recipes += [Recipe(method="textual-inversion", num_vectors=2), Recipe(method="lora", rank=2)]
    recipes += [Recipe(method="lora", pictures=2), Recipe(method="lora", times=3.0)]
    assert len({recipe.name for recipe in recipes}) == len(recipes)


def test_training_pictures_call_the_subject_as_prompts_do():
    subject = SUBJECTS[0]
    pictures = subject.pictures()
    for recipe, word in ((DREAMBOOTH, "sks person"), (TEXTUAL_INVERSION, "<my-character>")):
        assert all(word in p.text for p in recipe.training_pictures(pictures, subject.class_word))
    bare = Recipe(method="dreambooth", noun="")
    without = bare.training_pictures(pictures, subject.class_word)
    assert all("sks" in p.text and "person" not in p.text for p in without)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["drift", "--model", "typo", "--output", "OUTPUT"], 'there is no model "typo"'),
        (["drift", "--model", "TINY", "--output", "OUTPUT"], "has no judge"),
        (["--model", "typo"], "--model is for claims that run: give names of claims with it"),
        (["--output", "OUTPUT"], "--output is for claims that run"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_written(
    words, sentence, tiny_folder, tmp_path, capsys
):
    folders = {"OUTPUT": str(tmp_path / "out"), "TINY": str(tiny_folder)}
    assert main([*(folders.get(word, word) for word in words)]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_each_of_its_options_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "python -m experiments" in shown
    assert "name, or folder, of a model with judges beside it" in shown
    assert not re.findall(r"Raises|ValueError", shown)


def test_without_names_the_claims_are_listed_with_what_was_found(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert [line.split(":")[0] for line in shown.splitlines()] == list(PLACES)


def test_a_unit_is_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"figure": [1.0, 2.0]}

    work = Work(tmp_path, {"model": "mini"})
    assert work.unit("a/b", compute) == Work(tmp_path, {"model": "mini"}).unit("a/b", compute)
    assert calls == [1]


def test_a_folder_of_another_size_is_refused(tmp_path):
    Work(tmp_path, {"size": 1})
    with pytest.raises(ValueError, match="of other settings"):
        Work(tmp_path, {"size": 2})


def test_an_interval_that_holds_the_bound_leaves_a_claim_open():
    assert exceeds(Interval(value=1, low=0.5, high=2)) is True
    assert exceeds(Interval(value=-1, low=-2, high=-0.5)) is False
    assert exceeds(Interval(value=0.1, low=-0.5, high=1)) is None
    assert all_of([True, None]) is None
    assert all_of([True, None, False]) is False
    assert all_of([True, True]) is True


def test_an_unknown_claim_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="choose from comparison, drift"):
        find("vibes")


def test_every_claim_has_its_place_and_says_what_it_is_compared_with():
    claims = [find(name) for name in PLACES]
    assert [claim.name for claim in claims] == list(PLACES)
    assert [claim.number for claim in claims] == sorted(claim.number for claim in claims)
    assert all(claim.statement and claim.paper for claim in claims)


def test_a_subject_learnt_at_toy_size_is_measured_and_kept(bench):
    unit = bench.learnt(SUBJECTS[0], DREAMBOOTH)
    assert len(unit["fidelity"]) == TOY.prompts * TOY.seeds
    assert len(unit["class_drift"]) == TOY.class_pictures
    assert unit["cost"]["parameters"] > 1_000_000
    assert all(math.isfinite(x) for x in unit["fidelity"])
    path = bench.work.folder / "units/learnt/lorelei-0/dreambooth.json"
    assert json.loads(path.read_text()) == unit


def test_before_training_the_class_has_not_drifted(bench):
    unit = bench.learnt(SUBJECTS[0], BEFORE)
    assert unit["class_drift"] == [0.0, 0.0]
    assert unit["class_shift"] == [0.0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["comparison", "drift", "expressible"])
def test_a_claim_at_toy_size_writes_its_result_and_its_figure(bench, tmp_path, name):
    from experiments.claim import run_claim

    kept = run_claim(name, bench, tmp_path)
    assert json.loads((tmp_path / f"{name}.json").read_text()) == json.loads(json.dumps(kept))
    assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert kept["size"]["train_steps"] == 1
