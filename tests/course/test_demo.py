"""The demo end to end on a tiny model, and each of its parts by itself."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sdlearn import cli
from sdlearn.course.demo import DemoConfig, methods, run_demo
from sdlearn.course.demo.drawing import Order, draw_all
from sdlearn.course.demo.progress import Progress
from sdlearn.data import read_generated, read_pictures, write_pictures

NAMES = ["before", "textual-inversion", "dreambooth", "dreambooth-with-prior"]
FEW = {
    "number": 2,
    "textual_inversion_steps": 2,
    "textual_inversion_batch_size": 1,
    "textual_inversion_learning_rate": 0.1,
    "dreambooth_steps": 2,
    "dreambooth_prior_steps": 2,
    "dreambooth_batch_size": 1,
    "dreambooth_learning_rate": 1e-2,
    "num_class_images": 2,
    "class_batch_size": 1,
    "class_seeds": 3,
    "num_inference_steps": 2,
    "checkpointing_steps": 1,
}


@pytest.fixture(scope="module")
def config(tiny_folder, tmp_path_factory) -> DemoConfig:
    output = tmp_path_factory.mktemp("demo") / "out"
    return DemoConfig(model=str(tiny_folder), output=output, **FEW)


@pytest.fixture(scope="module")
def result(config):
    return run_demo(config)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_demo_leaves_everything_it_promises(result, config):
    assert [row.method.name for row in result.rows] == NAMES
    for row in result.rows:
        assert (len(row.situations), len(row.class_pictures)) == (5, 3)
        for drawn in (*row.situations, *row.class_pictures):
            generated = read_generated(drawn.path)
            assert (generated.prompt, generated.seed) == (drawn.prompt, drawn.seed)
    assert len(read_pictures(config.output / "training")) == 2
    table = json.loads((config.output / "table.json").read_text())
    assert list(table["rows"]) == NAMES
    assert "has no judge" in table["why_no_scores"] == result.table
    assert not (config.output / "runs").exists()
    assert not [name for name in contents(config.output) if "unfinished" in name or "tmp" in name]


def test_every_row_draws_the_same_situations_from_the_same_seeds(result):
    before = result.rows[0]
    for row in result.rows[1:]:
        assert [d.seed for d in row.situations] == [d.seed for d in before.situations]
        assert [d.seed for d in row.class_pictures] == [d.seed for d in before.class_pictures]
        assert {d.prompt for d in row.class_pictures} == {"a picture of a person"}
        for drawn, first in zip(row.situations, before.situations, strict=True):
            assert drawn.prompt == first.prompt.replace("sks person", row.called)
    trained_on = {read_generated(p).seed for p in (result.output / "class-pictures").glob("*.png")}
    assert not trained_on & {d.seed for d in before.class_pictures}


def test_textual_inversion_leaves_the_class_as_it_was_and_dreambooth_does_not(result):
    before, inversion, *dreambooths = [
        [np.asarray(drawn.image) for drawn in row.class_pictures] for row in result.rows
    ]
    np.testing.assert_array_equal(inversion, before)
    for pictures in dreambooths:
        assert not np.array_equal(pictures, before)


def test_what_was_learnt_can_be_drawn_with(result, config, tmp_path):
    for row in result.rows[1:]:
        first = row.situations[0]
        again = tmp_path / f"{row.method.name}.png"
        words = [first.prompt, "--model", config.model, "--load", str(row.artefact)]
        settings = ["--steps", "2", "--seed", str(first.seed), "--output", str(again)]
        assert cli.main(["generate", *words, *settings]) == 0
        drawn, alone = (np.asarray(Image.open(p)).astype(int) for p in (first.path, again))
        assert abs(drawn - alone).max() <= 1  # beside others it differs by rounding at most


def test_the_sheet_and_the_page_show_all_pictures(result):
    with Image.open(result.sheet) as sheet:
        assert sheet.format == "PNG"
        assert "Made by AI" in sheet.text["Description"]
    html = result.page.read_text(encoding="utf-8")
    assert html.count("<img ") == 2 + 4 * (5 + 3)
    assert "Made by AI" in html
    assert "Lisa Wischofsky" in html
    assert "CC0-1.0" in html


def test_the_page_works_offline_and_its_links_resolve(result):
    html = result.page.read_text(encoding="utf-8")
    assert re.findall(r'src="(?!data:image/png;base64,)', html) == []
    links = re.findall(r'href="([^"]+)"', html)
    inside = [link for link in links if not link.startswith("https://")]
    assert len(inside) == 6
    for link in inside:
        assert (result.page.parent / link).exists(), link
    assert set(links) - set(inside) == {result.pictures[0].source}


def test_a_finished_demo_is_not_done_again(result, config, monkeypatch):
    monkeypatch.setattr(methods, "fit", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr("sdlearn.course.demo.drawing._draw_missing", lambda *_: pytest.fail("drew"))
    before = contents(config.output)
    run_demo(config)
    assert contents(config.output) == before


class Killed(Exception):
    """Stands for a kill."""


def test_a_killed_demo_goes_on_where_it_was_and_ends_the_same(
    result, config, tmp_path, monkeypatch
):
    copy = replace(config, output=tmp_path / "out")
    fit, seen = methods.fit, []

    def killed_fit(method, *rest):
        for step in fit(method, *rest):
            if method.name == "dreambooth" and step.step == 2 and not seen:
                seen.append(step)
                raise Killed
            yield step

    monkeypatch.setattr(methods, "fit", killed_fit)
    with pytest.raises(Killed):
        run_demo(copy)
    assert (copy.output / "textual-inversion").is_dir()
    assert not (copy.output / "dreambooth").exists()
    assert (copy.output / "runs" / "dreambooth" / "checkpoint-000002").is_dir()
    run_demo(copy)
    for name in ("dreambooth", "dreambooth-with-prior"):
        file = f"{name}/unet/diffusion_pytorch_model.safetensors"
        straight, resumed = (load_file(c.output / file) for c in (config, copy))
        for key, value in straight.items():
            assert torch.equal(resumed[key], value), key


def test_another_demo_in_the_same_folder_is_refused_and_fresh_starts_over(
    config, pictures, tiny_folder, tmp_path, monkeypatch
):
    write_pictures(tmp_path / "mine", pictures)
    own = replace(config, output=tmp_path / "out", pictures=tmp_path / "mine")
    monkeypatch.setattr("sdlearn.course.demo.run.learn", lambda *_, **__: pytest.fail("learnt"))
    monkeypatch.setattr(
        "sdlearn.course.demo.run._class_pictures", lambda *_: (_ for _ in ()).throw(Killed)
    )
    with pytest.raises(Killed):
        run_demo(own)
    (own.output / "notes.txt").write_text("mine")
    for changed in (replace(own, draw_seed=1), replace(own, dreambooth_steps=1)):
        with pytest.raises(ValueError, match=r"of other settings .*--fresh"):
            run_demo(changed)
    with pytest.raises(Killed):
        run_demo(replace(own, dreambooth_steps=1, fresh=True))
    assert json.loads((own.output / "demo.json").read_text())["dreambooth_steps"] == 1
    assert (own.output / "notes.txt").read_text() == "mine"


def test_a_class_that_the_model_has_no_word_for_is_refused_before_anything_is_drawn(
    tiny_folder, tmp_path, capsys
):
    words = ["demo", "--style", "clay", "--model", str(tiny_folder), "--output", str(tmp_path)]
    assert cli.main(words) == 2
    assert "creature" in capsys.readouterr().err
    assert not (tmp_path / "class-pictures").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--style", "nix"], "style 'nix' does not exist"),
        (["--attributes", "hair_color=nix"], "nix"),
        (["--pictures", "missing-folder"], "there is no folder"),
        (["--pictures", "missing-folder", "--attributes", "glasses=round"], "leave it out"),
    ],
)
def test_a_subject_that_cannot_be_had_is_refused_in_one_sentence(
    options, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sdlearn.course.demo.run.load", lambda name: pytest.fail("loaded"))
    assert cli.main(["demo", *options, "--output", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err


def test_a_picture_is_the_same_alone_as_beside_others(tiny, config, tmp_path):
    def draw(name: str, batch: int) -> list[np.ndarray]:
        orders = [
            Order(prompt=f"a {c} person", seed=i, path=tmp_path / name / f"{i}.png")
            for i, c in enumerate(["red", "blue", "red"])
        ]
        with Progress(100) as progress:
            drawn = draw_all(
                lambda: tiny,
                orders,
                replace(config, draw_batch_size=batch),
                model_name="tiny",
                progress=progress,
                phase="test",
            )
        return [np.asarray(d.image).astype(int) for d in drawn]

    together, alone = draw("together", 3), draw("alone", 1)
    assert np.abs(np.subtract(together, alone)).max() <= 1
    assert not np.array_equal(alone[0], alone[2])


def test_bad_values_are_refused_with_the_name_of_the_field():
    for name, value in {"dreambooth_steps": 0, "class_seeds": 0, "guidance_scale": -1.0}.items():
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            DemoConfig(**{name: value})
    with pytest.raises(ValueError, match="identifier"):
        DemoConfig(identifier="two words")


@pytest.mark.parametrize(
    ("name", "value"), [("style", "micah"), ("seed", 4), ("attributes", {"hair": "long"})]
)
def test_how_to_draw_a_character_is_refused_where_pictures_are_given(name, value):
    with pytest.raises(ValueError, match=f"{name} says how .* leave it out with pictures"):
        DemoConfig(pictures=Path("mine"), **{name: value})


def test_a_style_that_there_is_not_is_refused_before_torch_is_imported():
    code = "import sys; from sdlearn import cli; print(cli.main(['demo', '--style', 'nix']))\n"
    code += "print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.stdout.split(), answer.returncode) == (["2", "False"], 0)
    assert "style 'nix' does not exist" in answer.stderr
