"""`sdlearn generate` with what was trained, and what it refuses to draw."""

import io
from pathlib import Path

import pytest
import torch
from conftest import make_scheduler
from PIL import Image

from sdlearn import cli
from sdlearn.data import read_generated
from sdlearn.finetune import DreamBooth, LoRA, TextualInversion
from sdlearn.models import prompts
from sdlearn.models.samplers import SAMPLERS, check_steps, make_sampler


def draw(model: Path, output: Path, *more: str) -> int:
    words = ["generate", "a photo of a <toy>", "--model", str(model), "--output", str(output)]
    return cli.main([*words, "--steps", "2", *more])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--steps", "1001"], "1001 sampler steps are too many: dpm++ takes 999 at most"),
        (["--steps", "1000", "--sampler", "unipc"], "unipc takes 999 at most"),
        (["--steps", "1001", "--sampler", "ddim"], "ddim takes 1000 at most"),
        (["--guidance-scale", "1e38"], "no longer of finite numbers after step"),
    ],
)
def test_what_would_be_drawn_black_is_refused_in_words(more, words, tiny_folder, tmp_path, capsys):
    """Such pictures were written black, with status 0."""
    settings = ["--model", str(tiny_folder), "--output", str(tmp_path / "new" / "a.png"), *more]
    assert cli.main(["generate", "a person", *settings]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "new" / "a.png").exists()


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws_in_as_many_steps_as_it_takes(name):
    noise_scheduler = make_scheduler(num_train_timesteps=20)
    with pytest.raises(ValueError, match="sampler steps are too many") as refused:
        check_steps(21, noise_scheduler, name)
    most = int(str(refused.value).split(" at most")[0].split()[-1])
    sampler, sample = make_sampler(name, noise_scheduler), torch.ones(1, 4, 2, 2)
    sampler.set_timesteps(most)
    for timestep in sampler.timesteps:
        sample = sampler.step(0.1 * sample, timestep, sample).prev_sample
    assert sample.isfinite().all()
    check_steps(most, noise_scheduler, name)
    with pytest.raises(ValueError, match="too many"):
        check_steps(most + 1, noise_scheduler, name)


def test_what_is_loaded_twice_or_for_the_same_part_is_refused(tiny, tiny_folder, tmp_path, capsys):
    """Of two DreamBooths the last one won, without a word."""
    quiet = {"with_prior_preservation": False}
    one, two = (DreamBooth(tiny, **quiet).save(tmp_path / name) for name in ("one", "two"))
    model = ["generate", "a toy", "--model", str(tiny_folder), "--output", str(tmp_path)]
    again = tmp_path / "one" / ".." / "one"
    for second, words in [(two, "both replace the unet: load one"), (again, "is given twice")]:
        assert cli.main([*model, "--load", str(one), "--load", str(second)]) == 2
        assert words in capsys.readouterr().err


def test_words_and_loras_are_loaded_after_the_parts_that_they_go_into(
    tiny, tiny_folder, tmp_path, capsys
):
    """A word before a DreamBooth with text encoder was answered with "another model"."""
    whole = DreamBooth(tiny, with_prior_preservation=False, train_text_encoder=True)
    word = TextualInversion(tiny, placeholder_token="<toy>").save(tmp_path / "word")
    lora, parts = LoRA(tiny, rank=2).save(tmp_path / "lora"), whole.save(tmp_path / "parts")
    drawn = []
    for order in ([parts, lora, word], [word, lora, parts]):
        loaded = [option for path in order for option in ("--load", str(path))]
        assert draw(tiny_folder, tmp_path / "a.png", *loaded) == 0
        drawn.append(Image.open(tmp_path / "a.png").tobytes())
    assert drawn[0] == drawn[1]
    with pytest.raises(ValueError, match="load it before the word"):
        tiny.with_artefact(word).with_artefact(parts)


def test_what_a_prompt_has_too_many_of_is_said(tiny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prompts, "WARNED", set())
    settings = ["--model", str(tiny_folder), "--output", str(tmp_path / "a.png"), "--steps", "1"]
    assert cli.main(["generate", "red " * 24 + "toy", *settings]) == 0
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "sdlearn:" in line]
    words = '"red red toy" is not read: a prompt has 24 tokens at most and this one has 27'
    assert said == f"sdlearn: {words}"
    assert cli.main(["generate", "red " * 22, *settings]) == 0
    assert "is not read" not in capsys.readouterr().err


def test_a_picture_that_sdlearn_did_not_draw_is_never_written_over(tiny_folder, tmp_path, capsys):
    Image.new("RGB", (9, 9)).save(tmp_path / "mine.png")
    assert draw(tiny_folder, tmp_path / "mine.png") == 2
    assert "mine.png is a picture that sdlearn did not draw" in capsys.readouterr().err
    assert Image.open(tmp_path / "mine.png").size == (9, 9)
    for _ in range(2):
        assert draw(tiny_folder, tmp_path / "own.png") == 0


def test_a_drawn_picture_holds_names_and_no_paths(tiny, tiny_folder, tmp_path):
    folder = tmp_path / "Jane Doe" / "style, Seed: 7"
    TextualInversion(tiny).save(folder)
    assert draw(tiny_folder, tmp_path / "a.png", "--load", str(folder)) == 0
    assert read_generated(tmp_path / "a.png").model == "tiny + style, Seed: 7"
    data = (tmp_path / "a.png").read_bytes()
    assert b"Jane" not in data
    assert str(tiny_folder.parent).encode() not in data


def test_numbers_and_words_that_cannot_be_drawn_are_refused_before_anything_is_loaded(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sdlearn.models.load", lambda *_: pytest.fail("loaded"))
    for more, words in (
        (["--number", "1000000000"], "--number is 1000000000: give at most 1000000"),
        (["--guidance-scale", "inf"], "--guidance-scale is inf: give 0 or more"),
        (["--guidance-scale", "nan"], "--guidance-scale is nan: give 0 or more"),
        (["--negative-prompt", "caf\udce9"], "the command holds what is no UTF-8 text"),
        (["--output", str(tmp_path / "\udce9")], "the command holds what is no UTF-8 text"),
    ):
        assert cli.main(["generate", "a person", *more]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "cp1252"])
def test_a_terminal_without_a_sign_never_ends_a_run(encoding, tmp_path, monkeypatch):
    pytest.importorskip("dicebear")
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", out)
    folder = tmp_path / "絵é•"
    assert cli.main(["character", str(folder), "--number", "1", "--size", "32"]) == 0
    out.flush()
    assert b"0000.png: " in out.buffer.getvalue()
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "--help"])
    assert stopped.value.code == 0
