"""Ctrl-C and SIGTERM while `sdlearn train` runs."""

import os
import shlex
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from sdlearn import cli
from sdlearn.commands import stopping
from sdlearn.data import write_pictures
from sdlearn.training import loop
from sdlearn.training.checkpoint import checkpoints


@pytest.fixture
def words(pictures, tiny_folder, tmp_path):
    captioned = [replace(picture, text="a person") for picture in pictures]
    write_pictures(tmp_path / "pictures", captioned)
    words = ["train", "textual-inversion", str(tmp_path / "pictures"), "--max-train-steps", "4"]
    return [*words, "--model", str(tiny_folder), "--samples", "0", "--templates", "a {}"]


def signalled(monkeypatch, step, number, times=1):
    """Have a signal come in the middle of a step."""
    train = loop.train

    def interrupted(run):
        loss = run.stage.loss

        def signalling(batch, **models):
            if batch.step == step - 1:
                for _ in range(times):
                    os.kill(os.getpid(), number)
            return loss(batch, **models)

        run.stage.loss = signalling
        return train(run)

    monkeypatch.setattr(loop, "train", interrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("has_folder", [True, False])
def test_a_stopped_training_says_the_command_that_goes_on_with_it(
    number, has_folder, words, tmp_path, capsys, monkeypatch
):
    assert cli.main([*words, "--output", str(tmp_path / "straight")]) == 0
    words += ["--output", str(tmp_path / "learnt")]
    words += ["--output-dir", str(tmp_path / "run")] * has_folder
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        signalled(patch, 2, number)
        assert cli.main(words) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert not list((tmp_path / "learnt").iterdir())
    said, command = capsys.readouterr().err.splitlines()[-2:]
    kept = tmp_path / ("run" if has_folder else "learnt-checkpoints")
    assert said == f"sdlearn: stopped after step 2, which is kept in {kept}: go on with"
    assert [path.name for path in checkpoints(kept)] == ["checkpoint-000002"]
    prog, *again = shlex.split(command)
    assert (prog, again[-1]) == ("sdlearn", "--resume")
    assert cli.main(again) == 0
    one, other = (
        load_file(tmp_path / name / "my-character.safetensors")["<my-character>"]
        for name in ("straight", "learnt")
    )
    assert torch.equal(one, other)


def test_what_is_stopped_twice_ends_at_once(words, tmp_path, capsys, monkeypatch):
    signalled(monkeypatch, 2, signal.SIGINT, times=2)
    run = ["--output-dir", str(tmp_path / "run")]
    assert cli.main([*words, "--output", str(tmp_path / "learnt"), *run]) == 130
    assert capsys.readouterr().err.endswith("sdlearn: stopped\n")
    assert not checkpoints(tmp_path / "run")


def test_an_edit_without_a_folder_says_that_nothing_is_kept(capsys):
    stop = stopping.StoppedRun(3, None, added=True)
    assert "--output-dir" in cli._way_on(stop, ["sdlearn", "train"])
