"""`sdlearn evaluate mini`, on a model of the recipe at toy size."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TOY

from sdlearn import cli
from sdlearn.evaluate.config import EvaluateConfig
from sdlearn.evaluate.mini import evaluate_mini
from sdlearn.evaluate.mini_table import as_table, verdict
from sdlearn.evaluate.near_copies import near_copies, nearest_others
from sdlearn.evaluate.speed import time_picture
from sdlearn.evaluate.world import World
from sdlearn.pretrain import dataset
from sdlearn.pretrain.config import PretrainConfig

SMALL = ["--number", "3", "--steps", "1", "--batch-size", "2", "--workers", "1"]
SMALL += ["--threads", "1"]  # two would wait for each other on a busy machine


@pytest.fixture
def model(toy_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_folder, tmp_path / "mini"))


def test_the_table_is_printed_and_kept_in_the_card(model, capsys):
    assert cli.main(["evaluate", "mini", "--model", str(model), *SMALL]) == 0
    measured = json.loads((model / "measurements.json").read_text(encoding="utf-8"))
    assert measured["table"] in capsys.readouterr().out
    assert measured["table"] in (model / "README.md").read_text(encoding="utf-8")
    assert "Not measured yet" not in (model / "README.md").read_text(encoding="utf-8")
    assert measured["command"] == (
        "sdlearn evaluate mini --number 3 --steps 1 --batch-size 2 --threads 1 --workers 1"
    )
    assert str(model.parent) not in json.dumps(measured)
    figures = measured["figures"]
    assert figures["real_pictures"] == 5
    assert figures["near_copies"]["drawn"] == 2
    assert figures["near_copies"]["training"] == TOY["pictures"]
    assert figures["speed"]["unet_seconds"] > 0
    for row in figures["attributes"].values():
        assert all(0 <= row[column] <= 1 for column in ("en", "ja", "real", "guess"))
    assert figures["attributes"]["style"]["prompts"] == 3


def test_measuring_again_gives_the_same_figures(model):
    config = EvaluateConfig(number=2, steps=1, threads=1, workers=1)
    first, second = (evaluate_mini(config, model)["figures"] for _ in range(2))
    for figures in (first, second):
        del figures["speed"], figures["processor"]
    assert first == second


def test_a_folder_that_cannot_be_written_to_still_gets_its_table(model, monkeypatch, capsys):
    def refuse(measured: dict, folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sdlearn.evaluate.mini.write_measurements", refuse)
    assert cli.main(["evaluate", "mini", "--model", str(model), *SMALL]) == 0
    shown = capsys.readouterr()
    assert "| style |" in shown.out
    assert "the table was only printed" in shown.err
    assert not (model / "measurements.json").exists()


def test_fewer_pictures_never_rewrite_the_card_that_ships(model, monkeypatch, capsys):
    """A quick look with --number 5 used to replace the shipped figures."""
    monkeypatch.setattr("sdlearn.evaluate.mini.shipped_folder", lambda name: model)
    card = (model / "README.md").read_text(encoding="utf-8")
    assert cli.main(["evaluate", "mini", *SMALL]) == 0
    shown = capsys.readouterr()
    assert "| style |" in shown.out
    assert "leave out --number" in shown.err
    assert (model / "README.md").read_text(encoding="utf-8") == card
    assert not (model / "measurements.json").exists()
    assert not EvaluateConfig(all=True, threads=1, batch_size=2).is_smaller


def test_models_that_the_recipe_did_not_make_are_refused(tiny_folder, tmp_path, capsys):
    for folder, words in (
        (tiny_folder, "has no recipe.json"),
        (tmp_path / "no", "no model folder"),
    ):
        assert cli.main(["evaluate", "mini", "--model", str(folder)]) == 2
        assert words in capsys.readouterr().err
    assert cli.main(["evaluate", "mini", "--number", "0"]) == 2
    assert "--number is 0" in capsys.readouterr().err


def test_the_pictures_are_those_of_the_recipe(tmp_path, toy_folder, monkeypatch):
    monkeypatch.setattr(dataset, "HELD_OUT_PICTURES", 4)
    world = World.of_model(toy_folder)
    for held_out, chosen in ((False, world.training(4)), (True, world.held_out(4))):
        data = dataset.world_dataset(PretrainConfig(work=tmp_path, **TOY), held_out=held_out)
        assert [shot.attributes for shot in chosen] == data.attributes[:4]
        for image, pixels in zip(world.draw(chosen, workers=1), data.pixels, strict=False):
            assert (np.asarray(image) == pixels).all()


def test_a_memorised_picture_is_a_near_copy_unless_it_was_asked_for():
    turned = torch.tensor([0.0, 0.5, 1.0])
    training = torch.stack([turned.cos(), turned.sin()], dim=1)
    attributes = [{"hair": "bob"}, {"hair": "bun"}, {"hair": "long"}]
    real = torch.tensor([0.1, 0.2, 0.3])
    copied = nearest_others(training[:1], [{"hair": "bun"}], training, attributes)
    torch.testing.assert_close(copied, torch.zeros(1), atol=1e-6, rtol=0)
    assert near_copies(copied, real) == (1.0, pytest.approx(0.1))
    asked = nearest_others(training[:1], [{"hair": "bob"}], training, attributes)
    torch.testing.assert_close(asked, 1 - turned[1:2].cos())
    assert near_copies(asked, real)[0] == 0.0


def test_pictures_do_not_depend_on_the_batch(tiny):
    prompts = ["a person", "a red person", "a toy"]
    together, alone = (tiny.draw(prompts, num_inference_steps=2, batch_size=n) for n in (3, 1))
    for a, b in zip(together, alone, strict=True):
        assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


def test_timing_leaves_the_threads_as_they_were(tiny, monkeypatch):
    monkeypatch.setattr("sdlearn.evaluate.speed.ROUNDS", 1)
    before = torch.get_num_threads()
    timed = time_picture(tiny, "a person", steps=1, threads=before + 1)
    assert torch.get_num_threads() == before
    assert timed["unet_share"] == timed["unet_seconds"] / timed["seconds"]


def test_verdicts_say_by_how_much():
    assert verdict(0.0, "dB") == "passes"
    assert verdict(0.3, "dB") == "passes"
    assert verdict(-1.25, "points") == "**short by 1.2 points**"


def test_the_table_holds_each_figure_against_its_bar():
    row = {"prompts": 300, "en": 0.9, "ja": 0.84, "real": 0.99, "guess": 0.25}
    figures = {
        "psnr": 27.5,
        "retrieval": {"en": 0.95, "ja": 0.9},
        "retrieval_among": 100,
        "real_pictures": 500,
        "attributes": {"style": row, "hair": row | {"ja": 0.86}},
        "near_copies": {"share": 0.02, "threshold": 0.1, "drawn": 200, "training": 5000},
        "speed": {"seconds": 2.0, "unet_seconds": 1.8, "unet_share": 0.9, "load": 0.1},
        "processor": "2 threads",
    }
    table = as_table(figures, {"number": 300, "steps": 20, "guidance_scale": 5.0})
    assert "| 27.50 dB | 28 dB | **short by 0.5 dB** |" in table
    assert "| 95 % / 90 % | chance 1 % |" in table
    assert "| 4 (2 %) | real pictures 1 % |" in table
    assert "| 2.00 s | 3 s | passes |" in table
    assert "| 90 % | 85 % | passes |" in table
    style = "| style | 300 | 90 % | 84 % | 99 % | 25 % | 97 % "
    assert style + "| **short by 7 points** | **short by 1 points** |" in table
    assert "| hair | 300 | 90 % | 86 % | 99 % | 25 % |  |  | passes |" in table
