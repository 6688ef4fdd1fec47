"""`sdlearn character`: a folder of pictures that is ready to train on."""

from pathlib import Path

import pytest
from PIL import Image

from sdlearn import cli
from sdlearn.commands.character import parse_attributes
from sdlearn.data import read_pictures
from sdlearn.models.writing import one_writer


def draw(folder: Path, *options: str) -> list:
    assert cli.main(["character", str(folder), "--size", "64", *options]) == 0
    return read_pictures(folder)


def test_a_character_comes_with_captions_and_its_licence(tmp_path):
    pictures = draw(tmp_path / "new")
    assert len(pictures) == 5
    assert {picture.image.size for picture in pictures} == {(64, 64)}
    for picture in pictures:
        assert picture.text
        assert picture.text_ja
        assert picture.license
        assert picture.author
        assert picture.source
    for name in ("expression", "background"):
        assert len({picture.attributes[name] for picture in pictures}) > 1, name


def test_a_seed_is_one_character_and_another_seed_another(tmp_path):
    names = [("a", "3"), ("b", "3"), ("c", "4")]
    drawn = [draw(tmp_path / name, "--seed", seed, "--number", "2") for name, seed in names]
    first, again, other = [[picture.image.tobytes() for picture in few] for few in drawn]
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--number", "0"], "--number is 0: give at least 1"),
        (["--number", "1000000000"], "--number is 1000000000: give at most 10000"),
        (["--size", "8"], "--size is 8: give 32 to 2048 pixels"),
        (["--style", "nix"], "nix"),
        (["--attributes", "glasses=nix"], "nix"),
        (["--attributes", "colour"], "--attributes colour: write name=value"),
        (["--attributes", "size=3"], "give --size 3 instead"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(options, words, tmp_path, capsys):
    assert cli.main(["character", str(tmp_path / "new"), *options]) == 2
    sentence = capsys.readouterr().err
    assert words in sentence
    assert sentence.count("\n") == 1


def test_pictures_of_another_run_are_never_mixed_in(tmp_path, capsys):
    draw(tmp_path, "--number", "2")
    assert cli.main(["character", str(tmp_path), "--number", "1"]) == 2
    assert "already holds" in capsys.readouterr().err


def test_pictures_of_another_origin_are_never_written_over(tmp_path, capsys):
    """Somebody's own 0000.png used to be replaced without a word."""
    own = tmp_path / "own"
    own.mkdir()
    Image.new("RGB", (64, 64), "red").save(own / "0000.png")
    before = (own / "0000.png").read_bytes()
    draw(tmp_path / "drawn", "--seed", "1")
    for folder in (own, tmp_path / "drawn"):
        assert cli.main(["character", str(folder), "--size", "64", "--seed", "2"]) == 2
        assert "0000.png of another origin" in capsys.readouterr().err
    assert (own / "0000.png").read_bytes() == before


def test_the_same_character_may_be_drawn_again_even_after_a_run_that_was_killed(tmp_path):
    draw(tmp_path, "--number", "2")
    draw(tmp_path, "--number", "3")
    (tmp_path / "metadata.jsonl").unlink()
    assert len(draw(tmp_path, "--number", "3")) == 3


def test_attributes_are_read_as_name_and_value():
    assert parse_attributes(["hair=long", "top=a=b"]) == {"hair": "long", "top": "a=b"}
    with pytest.raises(ValueError, match="hair is long already"):
        parse_attributes(["hair=long", "hair=short"])


def test_two_runs_into_one_folder_are_told_apart(tmp_path, capsys):
    with one_writer(tmp_path):
        assert cli.main(["character", str(tmp_path), "--size", "64", "--number", "1"]) == 2
    assert f"another run is writing to {tmp_path}" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.png"))
