"""What chapters 7 to 10 load with `train=False`: it is what they would train, and it works.

`test_notebooks.py` runs those chapters with it.
"""

import re
import sys
from pathlib import Path

import pytest
import torch

from sdlearn.course.results import shipped_artefact
from sdlearn.course.training import learn
from sdlearn.data.characters import draw_character
from sdlearn.data.licenses import manifest
from sdlearn.evaluate import Judges, subject_fidelity
from sdlearn.finetune import DreamBooth, FitConfig, Imagic, LoRA, load_imagic
from sdlearn.models import load

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "notebooks"))
import shipped_pictures

SITUATIONS = [
    "a picture of a smiling {}, on a green background",
    "a picture of a surprised {}, on a purple background",
]


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@pytest.fixture(scope="module")
def judges():
    return Judges.load("mini")


@pytest.fixture
def lorelei():
    return draw_character(*shipped_pictures.UNKNOWN)


def draw(sd, prompts):
    pipeline = sd.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    noise = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
    return pipeline(prompts, num_inference_steps=20, guidance_scale=5.0, generator=noise).images


@pytest.mark.parametrize(
    ("name", "character", "called", "gain"),
    [
        ("07-known-style", shipped_pictures.KNOWN, "<my-character>", 0.1),
        ("08-dreambooth", shipped_pictures.UNKNOWN, "sks person", 0.1),
        ("08-dreambooth-with-prior", shipped_pictures.UNKNOWN, "sks person", 0.1),
        ("10-lora", shipped_pictures.UNKNOWN, "person, lorelei style", 0.1),
    ],
)
def test_what_ships_draws_its_character(mini, judges, name, character, called, gain):
    real = [picture.image for picture in draw_character(*character)]
    learnt = mini.with_artefact(shipped_artefact(name))
    before = draw(mini, [text.format("person") for text in SITUATIONS])
    after = draw(learnt, [text.format(called) for text in SITUATIONS])
    likeness = [subject_fidelity(judges, pictures, real) for pictures in (before, after)]
    assert likeness[1] > likeness[0] + gain


def test_class_pictures_keep_other_people_as_they_were(mini, judges, lorelei):
    real = [picture.image for picture in lorelei]
    drift = [
        subject_fidelity(judges, draw(mini.with_artefact(shipped_artefact(name)), prompts), real)
        for name in ("08-dreambooth", "08-dreambooth-with-prior")
        for prompts in [["a picture of a person"] * 4]
    ]
    assert drift[0] > drift[1] + 0.1


def test_the_edit_that_ships_begins_at_its_picture(mini, judges):
    picture = draw_character("micah", seed=3, number=1, glasses="none")[0]
    result = load_imagic(mini, shipped_artefact("09-imagic"))
    likeness = [subject_fidelity(judges, [i], [picture.image]) for i in result.draw([0.0, 1.0])]
    assert likeness[0] > 0.9
    assert likeness[1] < 0.7


def test_what_is_loaded_says_what_its_training_was_like(mini, lorelei, capsys):
    learnt = learn(LoRA(mini, rank=16), lorelei, name="10-lora", train=False)
    assert learnt.steps == 200
    assert sum(learnt.losses[-20:]) < sum(learnt.losses[:20]) / 2
    assert learnt.seconds > 0
    assert not learnt.stopped
    assert "10-lora is loaded: 200 steps took" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "change", "error"),
    [
        (LoRA, {"name": "09-imagic"}, "09-imagic was made by imagic and not lora: leave train"),
        (LoRA, {"seed": 1}, "10-lora was made from other pictures than these: leave train at"),
        (LoRA, {"rank": 4}, "10-lora was made with rank 16 and not 4: leave train at True"),
        (LoRA, {"fit": FitConfig(seed=1)}, "10-lora was made with seed 0 and not 1: leave train"),
        (Imagic, {"target_prompt": "a beard"}, "09-imagic .* pink .* and not 'a beard': leave"),
    ],
)
def test_what_was_made_of_something_else_is_not_taken_for_it(mini, method, change, error):
    settings = {"rank": 16} if method is LoRA else {"target_prompt": shipped_pictures.TARGET}
    given = {key: change.get(key, value) for key, value in settings.items()}
    name = change.get("name", "10-lora" if method is LoRA else "09-imagic")
    pictures = draw_character("lorelei", change.get("seed", 0))
    pictures = pictures if method is LoRA else shipped_pictures.edited()
    with pytest.raises(ValueError, match=error):
        learn(method(mini, **given), pictures, change.get("fit"), name=name, train=False)


def test_a_result_that_does_not_ship_is_named_with_those_that_do(mini, lorelei):
    with pytest.raises(FileNotFoundError, match=r'no artefact "11-mine", only .*10-lora'):
        learn(LoRA(mini), lorelei, name="11-mine", train=False)


def test_through_lora_and_of_another_length_counts_as_the_same(mini, lorelei):
    template = shipped_pictures.TEMPLATE
    whole = DreamBooth(mini, instance_prompt=template, with_prior_preservation=False)
    assert learn(whole, lorelei, name="08-dreambooth", train=False).steps == 150
    short = Imagic(mini, target_prompt=shipped_pictures.TARGET, embedding_steps=2, unet_steps=2)
    assert learn(short, shipped_pictures.edited(), name="09-imagic", train=False).steps == 650


@pytest.mark.parametrize("name", [path.name for path in shipped_pictures.ARTEFACTS.iterdir()])
def test_every_result_has_a_card_with_its_artist_and_its_licence(name):
    card = (shipped_pictures.ARTEFACTS / name / "README.md").read_text(encoding="utf-8")
    rights = manifest()["data/results/artefacts"]
    assert f"{rights['license']}, by {rights['author']}." in card
    artists = re.findall(r"^\| \d+ \| [\w.-]+ \| (.+?) \|", card, re.M)
    assert artists
    assert all(artist in rights["via"] for artist in artists)
