"""The program: what it prints, what it writes, and how it refuses."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from sdlearn import cli
from sdlearn.data import read_generated

COMMANDS = ["character", "generate", "train", "pretrain", "evaluate", "info"]


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail with one sentence, and return the sentence."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("sdlearn: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)])
def test_help_names_every_command_and_needs_no_torch(words):
    code = "import sys; from sdlearn.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: "
    code += "print('heavy:', {'torch', 'diffusers', 'transformers'} & set(sys.modules))"
    arguments = [sys.executable, "-c", code, *words, "--help"]
    shown = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert "heavy: set()" in shown
    for name in words or COMMANDS:
        assert name in shown


def test_help_shows_the_default_of_every_option(capsys):
    with pytest.raises(SystemExit):
        cli.main(["generate", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in ("sampler steps a picture (default: 20)", "(default: 5.0)", "(default: mini)"):
        assert words in shown


def test_unknown_commands_and_options_exit_with_status_2():
    for arguments in (["paint"], ["generate"], ["generate", "a person", "--colour", "red"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        assert stopped.value.code == 2


@pytest.mark.parametrize("words", [["pretrain", "--help"], ["info"]])
def test_output_that_nobody_reads_ends_quietly(words):
    read, write = os.pipe()
    os.close(read)
    arguments = [sys.executable, "-m", "sdlearn", *words]
    ended = subprocess.run(arguments, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_info_shows_versions_device_and_models(capsys):
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    for words in ("sdlearn 0.", "torch 2.", "device: ", "mini", "sd15"):
        assert words in shown


def generate(tiny_folder: Path, *arguments: str) -> int:
    model = ["--model", str(tiny_folder), "--steps", "2"]
    return cli.main(["generate", "a photo of a person", *model, *arguments])


def test_generated_pictures_say_how_they_were_drawn(tiny_folder, tmp_path, capsys):
    options = [
        "--seed",
        "3",
        "--negative-prompt",
        "赤い",
        "--output",
        str(tmp_path / "new" / "a.png"),
    ]
    assert generate(tiny_folder, *options) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'new' / 'a.png'}\n"
    generated = read_generated(tmp_path / "new" / "a.png")
    assert (generated.prompt, generated.negative_prompt) == ("a photo of a person", "赤い")
    assert (generated.seed, generated.steps, generated.guidance_scale) == (3, 2, 5.0)
    assert generated.model == tiny_folder.name
    assert Image.open(tmp_path / "new" / "a.png").size == (32, 32)


def test_each_picture_of_a_series_is_the_same_when_drawn_alone(tiny_folder, tmp_path, capsys):
    generate(tiny_folder, "--seed", "5", "--number", "3", "--output", str(tmp_path))
    generate(tiny_folder, "--seed", "7", "--output", str(tmp_path / "alone.png"))
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["seed-5.png", "seed-6.png", "seed-7.png", "alone.png"]
    drawn = [Image.open(tmp_path / name).tobytes() for name in names]
    assert drawn[2] == drawn[3]
    assert len(set(drawn[:3])) == 3


def test_earlier_pictures_in_the_folder_are_kept(tiny_folder, tmp_path):
    for _ in range(2):
        generate(tiny_folder, "--output", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"seed-0.png", "seed-0-2.png"}


def test_the_size_is_height_times_width(tiny_folder, tmp_path):
    assert generate(tiny_folder, "--size", "32x48", "--output", str(tmp_path / "a.png")) == 0
    assert Image.open(tmp_path / "a.png").size == (48, 32)


def test_sizes_that_do_not_fit_the_model_are_refused(tiny_folder, tmp_path, capsys):
    sentence = error_of(
        ["generate", "x", "--model", str(tiny_folder), "--size", "12", "--output", str(tmp_path)],
        capsys,
    )
    assert "multiple" in sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "100"], "--size 100 cannot be drawn: give multiples of 8"),
        (["--size", "0"], "cannot be drawn"),
        (["--size", "8x"], "--size 8x is no size"),
        (["--size", "8x8x8"], "is no size"),
        (["--number", "0"], "--number is 0"),
        (["--steps", "-1"], "--steps is -1"),
        (["--seed", "-1"], "--seed is -1"),
        (["--guidance-scale", "nan"], "--guidance-scale is nan"),
        (["--load", "missing"], "--load missing: there is no such file"),
        (["--output", "a.jpg"], "pictures are written as .png"),
        (["--output", "a.png", "--number", "2"], "names one file for 2 pictures"),
        (["--output", "file/below"], "cannot write to the folder"),
        (["--output", "folder.png"], "is a folder"),
    ],
)
def test_what_cannot_work_is_refused_before_a_model_is_loaded(
    arguments, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sdlearn.models.load", lambda name: pytest.fail("loaded"))
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    assert words in error_of(["generate", "a person", *arguments], capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image-size", "63"], "--image-size 63 must be a multiple"),
        (["--work", "file/below"], "cannot write to the folder"),
        (["--output", "file/below/mini"], "cannot write to the folder"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_before_anything_is_drawn(
    arguments, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert words in error_of(["pretrain", *arguments], capsys)


def test_unknown_models_are_refused_with_the_known_names(tmp_path, capsys):
    arguments = ["generate", "a person", "--model", "nix", "--output", str(tmp_path)]
    assert '"mini"' in error_of(arguments, capsys)


def test_debug_shows_the_traceback(capsys):
    with pytest.raises(ValueError, match="--number is 0"):
        cli.main(["generate", "a person", "--number", "0", "--debug"])


def test_a_defect_is_not_passed_off_as_a_mistake_of_the_user(monkeypatch):
    monkeypatch.setattr("sdlearn.commands.info.Info.run", lambda self: int("no number"))
    with pytest.raises(ValueError, match="invalid literal"):
        cli.main(["info"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "`sdlearn plan`"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "--gradient-checkpointing"),
        (SafetensorError("Error while deserializing header"), "deserializing header): copy"),
    ],
)
def test_full_memory_and_broken_weights_are_said_in_one_sentence(error, words, monkeypatch, capsys):
    monkeypatch.setattr("sdlearn.commands.info.Info.run", Mock(side_effect=error))
    assert words in error_of(["info"], capsys)
    with pytest.raises(type(error)):
        cli.main(["info", "--debug"])


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ZeroDivisionError()])
def test_other_errors_keep_their_tracebacks(error, monkeypatch):
    monkeypatch.setattr("sdlearn.commands.info.Info.run", Mock(side_effect=error))
    with pytest.raises(type(error)):
        cli.main(["info"])


def test_stopping_from_the_keyboard_leaves_no_traceback(monkeypatch, capsys):
    def interrupted(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sdlearn.commands.info.Info.run", interrupted)
    assert cli.main(["info"]) == 130
    assert capsys.readouterr().err == "sdlearn: stopped\n"
