"""`sdlearn train full`, from a folder or from archives to a picture drawn with what was learnt."""

import json

import pytest
from test_cli_train import draw

from sdlearn import cli
from sdlearn.data import write_pictures

FAST = ["--max-train-steps", "2", "--train-batch-size", "1", "--learning-rate", "0.01"]


@pytest.fixture
def folder(pictures, tmp_path):
    write_pictures(tmp_path / "pictures", pictures)
    return tmp_path / "pictures"


def train(pictures, tiny_folder, output, *options):
    words = ["train", "full", str(pictures), "--output", str(output), "--model", str(tiny_folder)]
    return cli.main([*words, *FAST, *options])


@pytest.mark.parametrize("where", ["a folder", "a folder as it comes", "archives", "one archive"])
def test_a_style_is_learnt_from_wherever_its_pictures_are(where, folder, tiny_folder, tmp_path):
    options = []
    if where == "a folder as it comes":
        options = ["--no-cache-latents", "--cache-dir", str(tmp_path / "cache")]
    if "archive" in where:
        test_streams = pytest.importorskip("test_streams")
        folder = test_streams.write_archives(tmp_path / "archives", counts=(2, 2))
        folder = folder / "000.tar" if where == "one archive" else folder
    learnt = tmp_path / "learnt"
    assert train(folder, tiny_folder, learnt, *options) == 0
    record = json.loads((learnt / "artefact.json").read_text())
    assert record["method"] == "full"
    assert record["fit"]["lr_scheduler"] == "cosine"
    assert (tmp_path / "cache").exists() == bool(options)
    before = draw(tiny_folder, "", tmp_path / "before.png")
    assert draw(tiny_folder, str(learnt), tmp_path / "after.png") != before


def test_the_loss_on_other_pictures_is_written_to_the_log(folder, tiny_folder, tmp_path):
    options = ["--validation", str(folder), "--output-dir", str(tmp_path / "run")]
    assert train(folder, tiny_folder, tmp_path / "learnt", *options) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    assert "validation_loss" in lines[-1]


def test_what_cannot_be_read_is_said_in_one_sentence(folder, tiny_folder, tmp_path, capsys):
    assert train(tmp_path / "missing", tiny_folder, tmp_path / "learnt") == 2
    assert "there is no folder" in capsys.readouterr().err
    assert train(tmp_path / "missing.tar", tiny_folder, tmp_path / "learnt") == 2
    assert "there is no archive" in capsys.readouterr().err
    (folder / "metadata.jsonl").unlink()
    assert train(folder, tiny_folder, tmp_path / "learnt") == 2
    assert 'has no "text"' in capsys.readouterr().err
    (folder / "0001.png").write_bytes(b"no picture")
    assert train(folder, tiny_folder, tmp_path / "learnt", "--captions", "a person") == 2
    assert "0001.png cannot be read as a picture" in capsys.readouterr().err
