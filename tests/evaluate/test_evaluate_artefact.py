"""`sdlearn evaluate ARTEFACT|FOLDER`, on what each method makes of a model at toy size."""

import json
from pathlib import Path

import pytest

from sdlearn import cli
from sdlearn.data import Picture, write_pictures
from sdlearn.data.characters import draw_character
from sdlearn.data.png import save_generated
from sdlearn.evaluate import Judges
from sdlearn.evaluate.config import SubjectConfig
from sdlearn.evaluate.figures import (
    attribute_figures,
    class_figures,
    diversity_figures,
    likeness_figures,
)
from sdlearn.evaluate.report import judges_accuracy
from sdlearn.evaluate.subject_name import find_subject_name
from sdlearn.finetune import (
    DreamBooth,
    FitConfig,
    FullFineTuning,
    Imagic,
    LoRA,
    TextualInversion,
    fit,
    run,
)
from sdlearn.models import load

SMALL = ["--steps", "1", "--seeds", "2", "--class-pictures", "2", "--batch-size", "8"]
ONE_STEP = FitConfig(max_train_steps=1, train_batch_size=1)


@pytest.fixture(scope="module")
def subject() -> list[Picture]:
    return draw_character("lorelei", seed=0, number=3, size=64)


@pytest.fixture(scope="module")
def folder(subject, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("subject") / "mine"
    write_pictures(folder, subject)
    return folder


@pytest.fixture(scope="module")
def judges(toy_folder) -> Judges:
    return Judges.load(toy_folder)


def evaluate(what: Path, toy_folder: Path, *more: str) -> int:
    return cli.main(["evaluate", str(what), "--model", str(toy_folder), *SMALL, *more])


def measured(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def dreambooth(sd):
    return DreamBooth(sd, with_prior_preservation=False)


def lora(sd):
    return LoRA(sd, prompt="a picture of sks person", rank=2)


@pytest.mark.parametrize(
    ("make", "called"),
    [
        (TextualInversion, "<my-character>"),
        (dreambooth, "sks person"),
        (lora, "sks person"),
        (FullFineTuning, None),
    ],
)
def test_every_method_gets_its_table_and_the_same_as_json(
    make, called, subject, folder, toy_folder, tmp_path, capsys
):
    method = make(load(toy_folder, device="cpu"))
    run(fit(method, subject, ONE_STEP))
    artefact = method.save(tmp_path / "learnt")
    assert evaluate(artefact, toy_folder, "--pictures", str(folder)) == 0
    shown = capsys.readouterr().out
    path = Path(shown.splitlines()[-1])
    assert path.name.endswith("evaluation.json")
    found = measured(path)
    assert found["table"] in shown
    assert (found["method"], found["subject"], found["class_word"]) == (
        method.name,
        called,
        "person",
    )
    assert set(found["figures"]) == {
        *("subject_fidelity", "memorised", "nearest", "prompt_fit", "asked_and_seen"),
        *("diversity", "vendi_score", "class_like_subject", "class_like_subject_before"),
        *("class_drift", "class_shift", "class_diversity", "class_diversity_before"),
    }
    for figure in found["figures"].values():
        assert figure["low"] <= figure["high"]
    assert found["figures"]["subject_fidelity"]["pictures"] == 10  # five situations, two seeds
    assert str(tmp_path) not in json.dumps(found)
    assert str(toy_folder.parent) not in json.dumps(found)
    assert "is not known: `sdlearn evaluate mini` measures it" in shown
    assert "own 3 pictures are said to show, the reader sees" in shown
    assert not list(path.parent.glob(".*.tmp"))


def test_an_edit_is_measured_at_each_eta(subject, toy_folder, tmp_path, capsys):
    subject[0].image.save(tmp_path / "one.png")
    imagic = Imagic(
        load(toy_folder, device="cpu"),
        target_prompt="a sad person",
        embedding_steps=1,
        unet_steps=1,
        etas=(0.0, 1.0),
    )
    run(fit(imagic, subject[:1]))
    edit = imagic.save(tmp_path / "edit")
    output = tmp_path / "figures" / "edit.json"
    more = ["--pictures", str(tmp_path / "one.png"), "--output", str(output)]
    assert evaluate(edit, toy_folder, *more) == 0
    found = measured(output)
    assert found["method"] == "imagic"
    for eta in ("0", "1"):
        for name in ("faithfulness", "edit_strength"):
            assert found["figures"][f"{name}_at_{eta}"]["pictures"] == 2
    assert "class_drift" in found["figures"]
    assert "eta 1: like the prompt (CLIP-T)" in capsys.readouterr().out


def test_measuring_again_gives_the_same_figures(folder, toy_folder, subject, tmp_path):
    method = dreambooth(load(toy_folder, device="cpu"))
    run(fit(method, subject, ONE_STEP))
    artefact = method.save(tmp_path / "learnt")
    found = []
    for _ in range(2):
        assert evaluate(artefact, toy_folder, "--pictures", str(folder)) == 0
        found.append(measured(artefact / "evaluation.json")["figures"])
    assert found[0] == found[1]


def test_a_folder_of_pictures_is_measured_as_far_as_it_goes(folder, subject, toy_folder, tmp_path):
    drawn = tmp_path / "drawn"
    for index, prompt in enumerate(["a picture of sks person"] * 2 + ["a sad sks person"]):
        save_generated(
            subject[index].image,
            drawn / f"{index}.png",
            prompt=prompt,
            negative_prompt="",
            seed=index,
            model="mini",
            steps=1,
            guidance_scale=1.0,
        )
    assert evaluate(drawn, toy_folder) == 0
    alone = measured(drawn / "evaluation.json")
    assert set(alone["figures"]) == {"diversity", "prompt_fit"}
    assert any("Without --pictures" in note for note in alone["notes"])
    more = ["--pictures", str(folder), "--subject", "sks person"]
    assert evaluate(drawn, toy_folder, *more) == 0
    copied = measured(drawn / "evaluation.json")["figures"]
    assert copied["memorised"]["value"] == 1  # the subject's own pictures
    assert copied["nearest"]["value"] == pytest.approx(0, abs=1e-5)
    assert copied["prompt_fit"]["value"] != alone["figures"]["prompt_fit"]["value"]


def test_what_cannot_be_measured_is_refused_in_one_sentence(
    folder, toy_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sdlearn.models.load", None)  # nothing is loaded for a mistake
    learnt, empty = tmp_path / "learnt", tmp_path / "empty"
    (learnt / "unet").mkdir(parents=True)
    empty.mkdir()
    mine = ["--pictures", str(folder)]
    for what, more, words in [
        (tmp_path / "no", [], "check its name"),
        (empty, [], "holds no pictures"),
        (learnt, [], "--pictures is missing"),
        (learnt, ["--pictures", str(empty)], "holds no pictures"),
        (learnt, mine, "give --subject"),
        (learnt, [*mine, "--seeds", "1"], "--seeds is 1"),
        (learnt, [*mine, "--number", "4"], "--number is for `sdlearn evaluate mini`"),
        (learnt, [*mine, "--subject", "sks person", "--judges", str(empty)], "has no judge"),
        (folder, ["--output", str(folder / "0000.png" / "a.json")], "cannot write to"),
        (folder, ["--output", str(empty)], "is a folder: name a file in it"),
        ("mini", mine, "--pictures is for an artefact"),
    ]:
        assert evaluate(what, toy_folder, *more) == 2, words
        shown = capsys.readouterr()
        assert words in shown.err
        assert shown.err.count("\n") == 1
    (learnt / "artefact.json").write_text("{")
    assert evaluate(learnt, toy_folder, *mine) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_names_come_from_the_record_unless_given(tmp_path, subject):
    record = {"method": "dreambooth", "config": {}}
    for config, given, expected in [
        (
            {"instance_prompt": "a photo of zwx dog", "class_prompt": "a dog"},
            {},
            ("zwx dog", "dog"),
        ),
        (
            {"instance_prompt": "{text}", "class_prompt": "a dog"},
            {"subject": "my dog"},
            ("my dog", "dog"),
        ),
        ({"prompt": "sks person, {text}"}, {}, ("sks person", "person")),
        ({"prompt": "{text}"}, {"subject": "", "class_word": "toy"}, (None, "toy")),
    ]:
        (tmp_path / "artefact.json").write_text(json.dumps({**record, "config": config}))
        name = find_subject_name(tmp_path, SubjectConfig(**given), subject)
        assert (name.subject, name.class_word) == expected
    (tmp_path / "artefact.json").write_text(
        json.dumps({**record, "config": {"prompt": "a person"}})
    )
    with pytest.raises(ValueError, match='such as "sks person"'):
        find_subject_name(tmp_path, SubjectConfig(), subject)


def by_name(figures) -> dict:
    return {figure.name: figure.interval for figure in figures}


def test_a_class_that_has_become_the_subject_has_drifted(judges, subject):
    mine = [picture.image for picture in subject[:1]]
    others = [p.image for p in draw_character("pixel-art", seed=5, number=3, size=64)]
    drifted = by_name(class_figures(judges, others, mine * 3, mine))
    assert drifted["class_like_subject"].value == pytest.approx(1, abs=1e-5)
    assert drifted["class_drift"].low > 0
    assert drifted["class_diversity"].high == pytest.approx(0, abs=1e-6)
    assert drifted["class_diversity_before"].value > drifted["class_diversity"].value
    still = by_name(class_figures(judges, others, others, mine))
    for name in ("class_drift", "class_shift"):
        assert (still[name].low, still[name].value, still[name].high) == (0, 0, 0)


def test_a_single_picture_of_the_subject_counts_no_copies(judges, subject):
    image = subject[0].image
    figures, note = likeness_figures(judges, [[image]], [image])
    assert list(by_name(figures)) == ["subject_fidelity"]
    assert "Copies were not counted" in note


def test_only_what_the_reader_knows_is_asked_of_it(judges, subject):
    images = [picture.image for picture in subject]
    read = [{**seen, "style": "lorelei"} for seen in judges.read(images)]
    known = by_name(attribute_figures(judges, [images], [read]))["asked_and_seen"]
    assert (known.low, known.value) == (1, 1)
    assert attribute_figures(judges, [images], [[{"style": "lorelei"}] * 3]) == []


def test_single_pictures_have_no_diversity(judges, subject):
    assert diversity_figures(judges, [[picture.image] for picture in subject]) == []


def test_the_judges_accuracy_is_that_of_the_measurements():
    path = Path(__file__).resolve().parents[2] / "data" / "mini" / "measurements.json"
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    found = judges_accuracy("mini")
    assert found["attributes"]["hair"] == figures["attributes"]["hair"]["real"]
    assert found["real_pictures"] == figures["real_pictures"]
    assert judges_accuracy("no such model") is None
