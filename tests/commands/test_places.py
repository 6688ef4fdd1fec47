"""Where commands write: refused before work where it cannot or must not be."""

import errno
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import zeros

from sdlearn import cli
from sdlearn.commands.output import save_or_keep
from sdlearn.data import write_pictures
from sdlearn.finetune import DreamBooth, LoRA
from sdlearn.plan.machine import Machine

SHORT = ["--max-train-steps", "1", "--samples", "0"]


@pytest.fixture
def folder(pictures, tmp_path) -> Path:
    captioned = [replace(picture, text="a person") for picture in pictures]
    write_pictures(tmp_path / "pictures", captioned)
    return tmp_path / "pictures"


@pytest.fixture
def refused(folder, tiny_folder, tmp_path, capsys, monkeypatch):
    """What a command says that must not train."""

    def said(method, *words, output="learnt"):
        monkeypatch.setattr("sdlearn.training.loop.train", None)
        monkeypatch.chdir(tmp_path)
        words = ["train", method, "pictures", "--model", str(tiny_folder), *SHORT, *words]
        assert cli.main([*words, "--output", output]) == 2
        return capsys.readouterr().err

    return said


@pytest.mark.parametrize(
    ("method", "words", "sentence"),
    [
        ("lora", ["--output-dir", "pictures"], "--output-dir pictures holds the pictures to learn"),
        ("lora", ["--output-dir", "pictures/../pictures"], "holds the pictures to learn from"),
        ("dreambooth", ["--class-data-dir", "pictures"], "--class-data-dir pictures holds the"),
        ("lora", ["--rank", "100000"], "the layers here have a rank of at most 64: give no more"),
        ("dreambooth", ["--lora-rank", "65"], "have a rank of at most 64"),
        ("lora", ["--train-batch-size", "1000000"], "--train-batch-size is 1000000: give at most"),
        ("lora", ["--resolution", "100000"], "--resolution is 100000: give at most 4096"),
        ("dreambooth", ["--num-class-images", "1000000000"], "--num-class-images is 1000000000"),
        ("textual-inversion", ["--num-vectors", "1000000000"], "a prompt has room for 22"),
        ("textual-inversion", ["--placeholder-token", "w" * 245], "File name too long"),
        ("lora", ["--samples", "1000000000"], "--samples is 1000000000: give at most"),
    ],
)
def test_what_is_beyond_all_machines_or_among_the_pictures_is_refused(
    method, words, sentence, refused, folder
):
    before = sorted(path.name for path in folder.iterdir())
    assert sentence in refused(method, *words)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_pictures_folder_is_no_output(refused, folder):
    assert "--output pictures holds the pictures to learn from" in refused(
        "lora", output="pictures"
    )


@pytest.mark.parametrize("name", ["README.md", "artefact.json", "learnt_comfyui_a1111.safetensors"])
def test_a_folder_where_a_file_has_to_go_is_named(name, refused, tmp_path):
    (tmp_path / "learnt" / name).mkdir(parents=True)
    assert "is a folder, where a file has to go" in refused("lora")


@pytest.mark.parametrize("name", ["unet", "samples"])
def test_a_file_where_a_folder_has_to_go_is_named(name, refused, tmp_path):
    (tmp_path / "learnt").mkdir()
    (tmp_path / "learnt" / name).touch()
    assert "is a file, where a folder has to go: move it away" in refused("dreambooth")


def test_a_name_that_leaves_no_room_for_that_of_a_file_is_refused(refused):
    assert "File name too long" in refused("lora", output="n" * 240)


def test_a_model_of_somebody_elses_is_never_written_over(refused, tmp_path):
    save_file({"theirs": zeros(1)}, tmp_path / "model.safetensors")
    said = refused("textual-inversion", output="model.safetensors")
    assert "is no file of sdlearn's: give another name" in said
    assert list(load_file(tmp_path / "model.safetensors")) == ["theirs"]


def test_a_full_disk_is_known_before_training(refused, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 10, 10))
    assert "10 bytes" in refused("lora")


def test_a_batch_that_no_memory_holds_is_refused_from_what_plan_knows(refused, monkeypatch):
    small = Machine(name="a small machine", on_cuda=False, memory=10**8)
    monkeypatch.setattr("sdlearn.plan.planning.this_machine", lambda: small)
    said = refused("lora", "--train-batch-size", "8000")
    assert "--train-batch-size is 8000: so many pictures take" in said
    assert "a small machine has 100 MB" in said


@pytest.mark.parametrize("method", [LoRA, DreamBooth])
def test_what_cannot_be_saved_is_kept_elsewhere_and_the_error_says_where(
    method, tiny, tmp_path, monkeypatch
):
    own, save = method(tiny), method.save

    def full(self, path):
        if Path(path).name == "first":
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(self, path)

    monkeypatch.setattr(method, "save", full)
    with pytest.raises(OSError, match="No space left on device; what was learnt is kept in") as e:
        save_or_keep(own, tmp_path / "first")
    kept = Path(str(e.value).rpartition(" kept in ")[2])
    assert kept.is_relative_to(tmp_path)
    assert (kept / "artefact.json").exists()


def test_a_picture_to_edit_is_never_written_over(tiny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sdlearn.training.loop.train", None)
    Image.new("RGB", (64, 64)).save(tmp_path / "sheet.png")
    words = ["train", "imagic", str(tmp_path / "sheet.png"), "--output", str(tmp_path)]
    words += ["--target-prompt", "a person", "--model", str(tiny_folder)]
    assert cli.main(words) == 2
    assert "holds the pictures to learn from" in capsys.readouterr().err
