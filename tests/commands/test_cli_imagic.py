"""`sdlearn train imagic`, from a picture to the edit drawn at the chosen eta."""

import json

import pytest
from PIL import Image

from sdlearn import cli
from sdlearn.commands.imagic import judging
from sdlearn.course.imagic_sheet import CHOSEN, draw_imagic_sheet
from sdlearn.data import write_pictures
from sdlearn.data.png import read_generated
from sdlearn.finetune.imagic.eta import EtaChoice, choose_eta

TARGET = "a photo of a red toy"
FAST = ["--embedding-steps", "2", "--unet-steps", "1", "--unet-learning-rate", "1e-3"]
FAST += ["--etas", "0", "0.5", "1", "--num-inference-steps", "2", "--noise-seed", "3"]


@pytest.fixture
def picture(pictures, tmp_path):
    pictures[0].image.save(tmp_path / "mine.png")
    return tmp_path / "mine.png"


def train(picture, output, tiny_folder, *more):
    arguments = ["--target-prompt", TARGET, "--output", str(output), "--model", str(tiny_folder)]
    return cli.main(["train", "imagic", str(picture), *arguments, *FAST, *more])


def generate(output, tiny_folder, path, prompt="", *more):
    loaded = ["--load", str(output), "--model", str(tiny_folder), "--steps", "2", "--seed", "3"]
    assert cli.main(["generate", prompt, *loaded, "--output", str(path), *more]) == 0
    return Image.open(path).tobytes(), read_generated(path)


def test_an_edit_is_trained_saved_and_drawn_again(picture, tiny_folder, tmp_path, capsys):
    output = tmp_path / "edit"
    assert train(picture, output, tiny_folder) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(output)
    assert Image.open(output / "sheet.png").text["Description"].startswith("Made by AI")
    record = json.loads((output / "artefact.json").read_text())
    eta = record["chosen"]["eta"]
    assert record["chosen"]["etas"] == [0.0, 0.5, 1.0]
    drawn = {}
    for name in ("0.00", "0.50", "1.00"):
        path = output / "pictures" / f"eta-{name}.png"
        drawn[float(name)] = Image.open(path).tobytes()
        facts = read_generated(path)
        assert (facts.prompt, facts.seed, facts.steps) == (TARGET, 3, 2)
        assert facts.model == f"tiny + edit at eta {float(name):g}"  # names, and no paths
    again, facts = generate(output, tiny_folder, tmp_path / "again.png")
    assert again == drawn[eta]
    assert facts.prompt == TARGET
    assert facts.model.endswith(f" at eta {eta:g}")
    for other in drawn:
        more = ("--eta", str(other), "--size", "32")
        assert generate(output, tiny_folder, tmp_path / "a.png", TARGET, *more)[0] == drawn[other]
    sampler = ("--sampler", "ddim", "--eta", "1")  # which was written down and not drawn with
    other, facts = generate(output, tiny_folder, tmp_path / "b.png", "", *sampler)
    assert facts.sampler == "ddim"
    assert other != drawn[1.0]


def test_what_an_edit_cannot_be_drawn_with_is_refused(picture, tiny_folder, tmp_path, capsys):
    output = tmp_path / "edit"
    assert train(picture, output, tiny_folder) == 0
    for prompt, more, words in [
        ("a blue toy", [], f'towards "{TARGET}"'),
        ("", ["--size", "64"], "can only be drawn at 32"),
        ("", ["--load", str(output)], "is given twice"),
        ("", ["--load", str(tiny_folder)], "draw that alone"),
        ("", ["--eta", "nan"], "give --eta, such as 0.7"),
    ]:
        arguments = ["--load", str(output), "--model", str(tiny_folder), *more]
        arguments += ["--output", str(tmp_path / "a.png")]
        assert cli.main(["generate", prompt, *arguments]) == 2
        assert words in capsys.readouterr().err
    plain = ["generate", "a toy", "--model", str(tiny_folder), "--eta", "0.5"]
    assert cli.main([*plain, "--output", str(tmp_path / "a.png")]) == 2
    assert "sdlearn train imagic" in capsys.readouterr().err


def test_bad_pictures_are_refused_before_anything_is_loaded(
    pictures, picture, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sdlearn.models.load", lambda name: pytest.fail("loaded"))
    write_pictures(tmp_path / "several", pictures)
    (tmp_path / "words.png").write_text("no picture")
    for path, words in [
        (tmp_path / "missing.png", "there is no picture"),
        (tmp_path / "words.png", "words.png cannot be read as a picture"),
        (tmp_path / "several", "holds 4 pictures, and Imagic edits one"),
    ]:
        assert train(path, tmp_path / "edit", tmp_path) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "imagic", str(picture), "--output", str(tmp_path / "edit")])
    assert stopped.value.code == 2
    assert "--target-prompt" in capsys.readouterr().err


def test_a_folder_of_one_picture_will_do(pictures, tiny_folder, tmp_path):
    write_pictures(tmp_path / "one", pictures[:1])
    assert train(tmp_path / "one", tmp_path / "edit", tiny_folder, "--embedding-steps", "0") == 0


def test_judges_measure_where_a_model_has_them(tiny_folder, pictures):
    images = [picture.image for picture in pictures]
    measures = judging("mini", images[1], TARGET)
    faithful = measures["faithfulness"](images)
    assert max(faithful) == faithful[1] == pytest.approx(1, abs=1e-5)
    assert len(measures["edit_strength"](images)) == 4
    assert judging(str(tiny_folder), images[1], TARGET) == {}
    assert judging("sd15", images[1], TARGET) == {}


@pytest.mark.parametrize("prompt", [TARGET, "赤いおもちゃ"])
def test_the_sheet_marks_the_chosen_eta_and_no_other(prompt, pictures):
    etas = [i / 10 for i in range(11)]
    faithfulness = [1 - eta for eta in etas]
    choice: EtaChoice = choose_eta(etas, faithfulness, unrelated=0.0, keep=0.5)
    images = [pictures[1].image] * 11
    sheet = draw_imagic_sheet(pictures[0].image, images, choice, prompt)
    blue = tuple(bytes.fromhex(CHOSEN[1:]))
    pixels = sheet.load()
    corners = [
        (column, row)
        for row in range(2)
        for column in range(6)
        if pixels[32 + column * 216 - 3, 132 + row * 280 - 3] == blue
    ]
    assert choice.eta == 0.5
    assert corners == [(0, 1)]  # the seventh tile: the picture, then eta 0 to 0.5
