"""`sdlearn train lora`, `train dreambooth --lora-rank` and `generate --load ... --scale ...`."""

from pathlib import Path

import pytest
from PIL import Image
from test_cli import error_of

from sdlearn import cli
from sdlearn.data import read_generated, write_pictures


@pytest.fixture
def folder(pictures, tmp_path) -> Path:
    write_pictures(tmp_path / "pictures", pictures)
    return tmp_path / "pictures"


def train(method: str, folder: Path, output: Path, tiny_folder: Path, *options: str) -> Path:
    run = ["--max-train-steps", "2", "--train-batch-size", "2", "--learning-rate", "0.1"]
    words = ["train", method, str(folder), "--output", str(output), "--model", str(tiny_folder)]
    assert cli.main([*words, *run, *options]) == 0
    return output


def draw(tiny_folder: Path, output: Path, *options: object) -> bytes:
    words = ["a photo of a person", "--model", str(tiny_folder), "--steps", "2"]
    assert cli.main(["generate", *words, "--output", str(output), *map(str, options)]) == 0
    return Image.open(output).tobytes()


def test_loras_are_trained_and_mixed_from_the_command_line(folder, tiny_folder, tmp_path, capsys):
    lora = train("lora", folder, tmp_path / "style", tiny_folder, "--rank", "2", "--alpha", "3")
    assert capsys.readouterr().out == f"{lora}\n"
    subject = train(
        "dreambooth", folder, tmp_path / "subject", tiny_folder, "--lora-rank", "2",
        "--num-class-images", "1", "--class-inference-steps", "1", "--train-text-encoder",
    )  # fmt: skip
    picture = tmp_path / "a.png"
    plain = draw(tiny_folder, picture)
    both = draw(tiny_folder, picture, "--load", lora, "--load", subject)
    mixed = ["--load", lora, "--scale", 0.5, "--load", subject, "--scale", 1]
    assert len({plain, both, draw(tiny_folder, picture, *mixed)}) == 3
    assert read_generated(picture).model == f"tiny + 0.5 x {lora.name} + {subject.name}"
    off = ["--load", lora, "--load", subject, "--scale", 0, "--scale", 0]
    assert draw(tiny_folder, picture, *off) == plain
    assert (
        draw(
            tiny_folder, picture, "--load", lora / "style_comfyui_a1111.safetensors", "--scale", 0.5
        )
        != plain
    )


@pytest.mark.parametrize(
    ("scales", "words"),
    [
        (["0.5"], "--scale is given 1 times and --load 2 times: give one --scale for each --load"),
        (["0.5", "nan"], "--scale nan is no strength"),
    ],
)
def test_scales_that_fit_no_load_are_refused_before_a_model_is_loaded(
    scales, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sdlearn.models.load", lambda name: pytest.fail("loaded"))
    options = [word for scale in scales for word in ("--scale", scale)]
    loads = ["--load", str(tmp_path)] * 2
    assert words in error_of(["generate", "a person", *loads, *options], capsys)


def test_what_a_lora_cannot_be_is_refused_in_words(folder, tiny_folder, tmp_path, capsys):
    (folder / "metadata.jsonl").unlink()
    words = ["train", "lora", str(folder), "--output", str(tmp_path / "out")]
    words += ["--model", str(tiny_folder)]
    for options, sentence in [
        ([], "has no caption: write one into metadata.jsonl"),
        (["--target-modules", "to_z"], '"to_z" names no layers'),
    ]:
        assert cli.main([*words, *options]) == 2
        assert sentence in capsys.readouterr().err
