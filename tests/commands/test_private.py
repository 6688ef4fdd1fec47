"""Nothing that is written says who trained where: no person's name, host name or absolute path."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sdlearn import cli
from sdlearn.data import write_pictures

PERSON = "ada-lovelace"
HOST = "adas-own-computer"
RUN = ["--max-train-steps", "2", "--train-batch-size", "1", "--checkpointing-steps", "1"]
METHODS = {
    "textual-inversion": [*RUN, "--samples", "1"],
    "dreambooth": [*RUN, "--num-class-images", "1", "--train-text-encoder", "--samples", "1"],
    "dreambooth-lora": [*RUN, "--num-class-images", "1", "--lora-rank", "2", "--samples", "1"],
    "lora": [*RUN, "--samples", "1"],
    "full": [*RUN, "--save-whole-model", "--samples", "1"],
    "imagic": ["--target-prompt", "a toy", "--embedding-steps", "1", "--unet-steps", "1"],
}


@pytest.mark.parametrize("name", METHODS)
def test_no_file_of_a_training_run_says_who_trained_where(
    name, pictures, tiny_folder, tmp_path, monkeypatch, capsys
):
    home = tmp_path / PERSON
    captioned = [replace(picture, text="a person") for picture in pictures]
    write_pictures(home / "pictures", captioned[:1] if name == "imagic" else captioned)
    (home / "model").symlink_to(tiny_folder)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    inner = ["--preview-prompts", "a toy", "--preview-inference-steps", "2"]
    words = ["train", name.removesuffix("-lora"), str(home / "pictures")]
    words += ["--model", str(home / "model"), "--output", str(home / "learnt")]
    words += ["--output-dir", str(home / "run"), "--tensorboard", *METHODS[name]]
    if name != "imagic":
        words += inner
    assert cli.main(words) == 0
    drawn = ["--steps", "2", "--output", str(home / "drawn")]
    loaded = ["--load", str(home / "learnt"), "--model", str(home / "model")]
    assert cli.main(["generate", "" if name == "imagic" else "a toy", *loaded, *drawn]) == 0
    files = [
        path for path in home.rglob("*") if path.is_file() and home / "model" not in path.parents
    ]
    files = [path for path in files if path.parent != home / "pictures"]
    assert len(files) > 5
    for path in files:
        said = f"{path.relative_to(home)}".encode() + path.read_bytes()
        if path.suffix == ".png":
            said += repr(Image.open(path).info).encode()
        for private in (PERSON, HOST, str(tmp_path), str(tiny_folder), str(Path.home())):
            assert private.encode() not in said, f"{path.relative_to(home)} holds {private}"
