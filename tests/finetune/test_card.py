"""The card of an artefact: what it learnt from, how, and what whoever passes it on must know."""

import json
import re
from dataclasses import replace
from functools import partial

import pytest
from runs import dreambooth

from sdlearn import cli
from sdlearn.data import write_pictures
from sdlearn.data.licenses import license_of
from sdlearn.data.png import read_generated
from sdlearn.finetune import (
    DreamBooth,
    FitConfig,
    FullFineTuning,
    Imagic,
    LoRA,
    TextualInversion,
    fit,
    run,
)
from sdlearn.models import load

SHORT = FitConfig(max_train_steps=2, train_batch_size=1)
METHODS = {
    "lora": partial(LoRA, rank=2),
    "dreambooth": partial(DreamBooth, with_prior_preservation=False),
    "dreambooth-lora": partial(DreamBooth, with_prior_preservation=False, lora_rank=2),
    "textual-inversion": TextualInversion,
    "full": FullFineTuning,
}


@pytest.fixture
def credited(pictures):
    """Two pictures of one author, one of another, one of nobody known."""
    terms = [("CC0-1.0", "Ann", "a.org"), ("CC0-1.0", "Ann", "b.org"), ("CC-BY-4.0", "Bo|b", "")]
    known = [
        replace(picture, license=license, author=author, source=source)
        for picture, (license, author, source) in zip(pictures, terms, strict=False)
    ]
    return [*known, pictures[3]]


@pytest.mark.parametrize("name", METHODS)
def test_a_card_says_whose_pictures_were_learnt_from_how_and_under_which_terms(
    name, tiny, credited, tmp_path
):
    method = METHODS[name](tiny)
    run(fit(method, credited, SHORT))
    method.save(tmp_path / "learnt")
    card = (tmp_path / "learnt" / "README.md").read_text()
    assert "| 2 | CC0-1.0 | Ann | a.org, b.org |" in card
    assert "| 1 | CC-BY-4.0 | Bo/b | not said |" in card
    assert "| 1 | not said | not said | not said |" in card
    assert f"2 optimizer steps of 1 picture at {tiny.image_size} pixels" in card
    assert "CPU cores" in card
    assert "ask that their authors, above, are named" in card
    assert "Of 1 picture no licence is known" in card
    assert f"- {name.removeprefix('dreambooth-')}\n" in card
    assert "--load learnt" in card


def test_an_edit_has_the_time_of_both_stages_on_its_card(tiny, credited, tmp_path):
    edit = Imagic(tiny, target_prompt="a red toy", embedding_steps=2, unet_steps=3)
    steps = list(fit(edit, credited[:1]))
    edit.save(tmp_path)
    made = json.loads((tmp_path / "artefact.json").read_text())["made"]
    assert made["steps"] == 5
    assert made["seconds"] == pytest.approx(sum(step.seconds for step in steps))
    card = (tmp_path / "README.md").read_text()
    assert "sdlearn generate 'a red toy'" in card
    assert "| 1 | CC0-1.0 | Ann | a.org |" in card


def test_class_pictures_stand_on_the_card_as_well(tiny, credited, tmp_path):
    asked = {"class_prompt": "a person", "num_class_images": 2, "class_inference_steps": 1}
    drawn = DreamBooth(tiny, **asked)
    run(fit(drawn, credited, SHORT))
    drawn.save(tmp_path / "drawn")
    words = 'it also saw 2 pictures of "a person" that the model had drawn itself'
    assert words in (tmp_path / "drawn" / "README.md").read_text()
    own = DreamBooth(tiny, class_prompt="a person", own_class_pictures=credited[2:])
    run(fit(own, credited[:1], SHORT))
    own.save(tmp_path / "own")
    card = (tmp_path / "own" / "README.md").read_text()
    assert "it also saw:\n\n| pictures" in card
    assert "| 1 | CC-BY-4.0 | Bo/b |" in card


def test_a_card_that_somebody_wrote_stays_and_ours_is_replaced(tiny, credited, tmp_path):
    method = METHODS["lora"](tiny)
    method.save(tmp_path / "own")
    assert "saved without having been trained" in (tmp_path / "own" / "README.md").read_text()
    (tmp_path / "own" / "samples").mkdir()
    (tmp_path / "own" / "samples" / "sample-0.png").write_bytes(b"of before")
    run(fit(method, credited, SHORT))
    method.save(tmp_path / "own")
    assert "| 2 | CC0-1.0 | Ann |" in (tmp_path / "own" / "README.md").read_text()
    assert not (tmp_path / "own" / "samples").exists()
    (tmp_path / "own" / "README.md").write_text("mine")
    method.save(tmp_path / "own")
    assert (tmp_path / "own" / "README.md").read_text() == "mine"


def test_a_resumed_run_counts_the_time_of_all_of_it(tiny, credited, tmp_path):
    config = replace(SHORT, output_dir=tmp_path, checkpointing_steps=1, resume=True)
    first, second = dreambooth(tiny), dreambooth(tiny)
    seconds = [step.seconds for step in fit(first, credited, config)]
    longer = replace(config, max_train_steps=3)
    seconds += [step.seconds for step in fit(second, credited, longer)]
    assert len(seconds) == 3
    assert second.made["steps"] == 3
    assert second.made["seconds"] == pytest.approx(sum(seconds))
    finished = dreambooth(tiny)
    assert not list(fit(finished, credited, longer))
    assert finished.made["seconds"] == pytest.approx(sum(seconds))


@pytest.mark.parametrize("name", ["lora", "dreambooth-lora", "textual-inversion"])
def test_the_line_for_diffusers_opens_it(name, tmp_path, monkeypatch):
    sd = load("mini")
    METHODS[name](sd).save(tmp_path / "learnt")
    line = re.search(r"In diffusers: `(.+)`\.", (tmp_path / "learnt" / "README.md").read_text())[1]
    monkeypatch.chdir(tmp_path)
    pipeline = sd.pipeline()
    exec(line, {"pipeline": pipeline})
    if name == "textual-inversion":
        assert "<my-character>" in pipeline.tokenizer.get_added_vocab()
    else:
        assert pipeline.get_active_adapters() == ["default_0"]


@pytest.mark.parametrize("name", ["lora", "textual-inversion"])
def test_train_draws_samples_for_the_card(name, tiny_folder, credited, tmp_path, capsys):
    write_pictures(tmp_path / "pictures", credited)
    words = ["train", name, str(tmp_path / "pictures"), "--model", str(tiny_folder)]
    words += ["--output", str(tmp_path / "learnt"), "--max-train-steps", "1"]
    words += ["--preview-inference-steps", "1"]
    assert cli.main([*words, "--samples", "-1"]) == 2
    assert "--samples is -1: give 0 or more" in capsys.readouterr().err
    assert cli.main([*words, "--samples", "2"]) == 0
    card = (tmp_path / "learnt" / "README.md").read_text()
    shown = re.findall(r"!\[(.+)\]\((.+)\)", card)
    assert len(shown) == 2
    for prompt, path in shown:
        drawn = read_generated(tmp_path / "learnt" / path)
        assert (drawn.prompt, drawn.model) == (prompt, f"{tiny_folder.name} + learnt")
    assert cli.main([*words, "--samples", "0"]) == 0
    assert not (tmp_path / "learnt" / "samples").exists()
    assert "![" not in (tmp_path / "learnt" / "README.md").read_text()


def test_a_course_character_s_artist_is_named(tiny, tmp_path):
    from sdlearn.data.characters import draw_character

    method = METHODS["lora"](tiny)
    run(fit(method, draw_character("micah", seed=3), SHORT))
    method.save(tmp_path)
    assert (
        f"| 5 | CC-BY-4.0 | {license_of('micah')['author']} |"
        in (tmp_path / "README.md").read_text()
    )
