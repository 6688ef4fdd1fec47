"""`sdlearn train`, from a folder of pictures to a picture drawn with what was learnt."""

from pathlib import Path

import pytest
from PIL import Image

from sdlearn import cli
from sdlearn.data import write_pictures


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
    with pytest.raises(SystemExit) as stopped:
        cli.main([*arguments, "--max-train-steps", "0"])
    assert stopped.value.code == 2
    assert "max_train_steps is 0: give at least 1" in " ".join(capsys.readouterr().err.split())
