"""`sdlearn train`, from a folder of pictures to a picture drawn with what was learnt."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from sdlearn import cli
from sdlearn.data import write_pictures
from sdlearn.models import load


def test_training_that_diverges_ends_with_one_sentence_and_writes_nothing(
    folder, tiny_folder, tmp_path, capsys
):
    words = ["train", "lora", str(folder), "--output", str(tmp_path / "learnt")]
    words += ["--model", str(tiny_folder), "--max-train-steps", "1", "--learning-rate", "1e30"]
    assert cli.main(words) == 2
    assert "sdlearn: the update of step 1 made the weights too large" in capsys.readouterr().err
    assert not list((tmp_path / "learnt").iterdir())


@pytest.fixture
def folder(pictures, tmp_path) -> Path:
    write_pictures(tmp_path / "pictures", pictures)
    return tmp_path / "pictures"


def draw(tiny_folder: Path, artefact: str, output: Path) -> bytes:
    words = ["a photo of sks <toy>", "--model", str(tiny_folder), "--steps", "2"]
    loaded = ["--load", artefact] if artefact else []
    assert cli.main(["generate", *words, *loaded, "--output", str(output)]) == 0
    return Image.open(output).tobytes()


@pytest.mark.parametrize(
    "options",
    [
        ["textual-inversion", "--placeholder-token", "<toy>", "--learning-rate", "0.5"],
        ["dreambooth", "--instance-prompt", "a photo of sks", "--num-class-images", "2"],
    ],
)
def test_what_is_trained_is_saved_and_can_be_drawn_with(
    options, folder, tiny_folder, tmp_path, capsys
):
    method, *settings = options
    run = ["--model", str(tiny_folder), "--max-train-steps", "2", "--train-batch-size", "1"]
    output = tmp_path / "learnt"
    assert cli.main(["train", method, str(folder), "--output", str(output), *run, *settings]) == 0
    saved = capsys.readouterr().out.strip()
    assert Path(saved) == output or output in Path(saved).parents
    before = draw(tiny_folder, "", tmp_path / "before.png")
    for artefact in (saved, str(output)):
        assert draw(tiny_folder, artefact, tmp_path / "after.png") != before


def test_a_word_may_be_saved_as_one_file_and_nothing_else(folder, tiny_folder, tmp_path, capsys):
    """A folder of the file's name was made, and the run failed when all its steps were done."""
    file = tmp_path / "new" / "toy.safetensors"
    run = [str(folder), "--output", str(file), "--model", str(tiny_folder)]
    run += ["--max-train-steps", "1", "--train-batch-size", "1"]
    assert cli.main(["train", "textual-inversion", *run]) == 0
    assert capsys.readouterr().out.strip() == str(file)
    assert file.is_file()
    for method, more in [("dreambooth", ["--lora-rank", "2"]), ("lora", [])]:
        run[2] = str(tmp_path / "other.safetensors")
        assert cli.main(["train", method, *run, *more]) == 2
        assert "names one file, and a folder is saved" in capsys.readouterr().err
    (tmp_path / "other.safetensors").mkdir()
    assert cli.main(["train", "textual-inversion", *run]) == 2
    assert "is a folder" in capsys.readouterr().err
    run[2] = str(tiny_folder)
    assert cli.main(["train", "lora", *run]) == 2
    assert "holds a whole model" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["dreambooth", "full"])
def test_a_whole_model_may_be_saved_as_one_file(
    method, folder, tiny_folder, tmp_path, monkeypatch, capsys
):
    file = tmp_path / "new" / "whole.safetensors"
    words = ["train", method, str(folder), "--output", str(file), "--model", str(tiny_folder)]
    words += ["--max-train-steps", "1", "--train-batch-size", "1"]
    plain = ["--no-use-ema", "--lr-warmup-steps", "0"]
    words += ["--no-with-prior-preservation"] if method == "dreambooth" else plain
    assert cli.main(words) == 0
    assert [path.name for path in file.parent.iterdir()] == ["whole.safetensors"]
    before, after = load(tiny_folder), load(file)
    assert not torch.equal(before.unet.conv_in.weight, after.unet.conv_in.weight)
    assert torch.equal(before.vae.decoder.conv_in.weight, after.vae.decoder.conv_in.weight)
    monkeypatch.setattr("sdlearn.training.loop.train", lambda *given: pytest.fail("trained"))
    monkeypatch.setattr("sdlearn.models.load", as_stable_diffusion_2)
    assert cli.main(words) == 2
    assert "Stable Diffusion 2 has other names in a single file" in capsys.readouterr().err


def as_stable_diffusion_2(name, **settings):
    sd = load(name, **settings)
    sd.unet.register_to_config(use_linear_projection=True)
    return sd


def test_previews_of_more_steps_than_there_are_are_refused_before_training(
    folder, tiny_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sdlearn.training.loop.train", lambda *given: pytest.fail("trained"))
    output = ["--output", str(tmp_path / "learnt"), "--output-dir", str(tmp_path / "run")]
    previews = ["--preview-prompts", "a toy", "--preview-inference-steps", "1000"]
    run = [str(folder), "--model", str(tiny_folder), *output, *previews]
    assert cli.main(["train", "lora", *run]) == 2
    assert "1000 sampler steps are too many" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["textual-inversion", "dreambooth", "lora", "full", "imagic"])
def test_a_missing_folder_is_told_before_torch_is_imported(method, tmp_path):
    code = "import sys; from sdlearn.cli import main; status = main(sys.argv[1:])\n"
    code += "print(status, {'torch', 'accelerate', 'diffusers'} & set(sys.modules))"
    words = ["train", method, str(tmp_path / "no"), "--output", str(tmp_path / "learnt")]
    words += ["--target-prompt", "a toy"] if method == "imagic" else []
    arguments = [sys.executable, "-c", code, *words]
    told = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert told.stdout == "2 set()\n"
    assert "there is no" in told.stderr


@pytest.mark.parametrize("method", ["textual-inversion", "dreambooth"])
def test_bad_pictures_outputs_and_models_are_refused_before_anything_is_loaded(
    method, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sdlearn.models.load", lambda name: pytest.fail("loaded"))
    (tmp_path / "file").write_text("")
    for pictures, output, words in [
        (tmp_path / "missing", tmp_path / "learnt", "there is no folder"),
        (folder, tmp_path / "file", "cannot write to the folder"),
    ]:
        assert cli.main(["train", method, str(pictures), "--output", str(output)]) == 2
        assert words in capsys.readouterr().err


def test_values_that_cannot_be_are_refused_with_the_name_of_the_field(folder, tmp_path, capsys):
    arguments = ["train", "dreambooth", str(folder), "--output", str(tmp_path / "learnt")]
    assert cli.main([*arguments, "--max-train-steps", "0"]) == 2
    assert capsys.readouterr().err == "sdlearn: --max-train-steps is 0: give at least 1\n"
