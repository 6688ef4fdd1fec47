"""The claims on Imagic, on a new drawing style and on caption dropout."""

import json
from dataclasses import replace

import pytest
import torch

from experiments import caption_dropout, drawing_style, find, imagic
from experiments.caption_dropout_runs import LABELS
from experiments.claim import run_claim
from experiments.denoising import picture_losses
from experiments.drawing_style_runs import copies, portraits
from experiments.imagic import crossing_of, inside
from experiments.imagic_edits import ALL, EDITS, ETAS, WITHOUT_A, WITHOUT_B
from experiments.labelled import (
    COLOURS,
    NONE,
    STYLES,
    Labelled,
    LabelledConfig,
    attributes_of,
    label_of,
)
from experiments.size import SMALL
from sdlearn.evaluate.bootstrap import Interval
from sdlearn.finetune import FitConfig
from sdlearn.models import load
from sdlearn.training.batches import draw_batch

TOY = replace(SMALL, train_steps=1, sampler_steps=1, effort=0.001)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    from experiments.bench import Bench

    bench = Bench(tmp_path_factory.mktemp("claims"), TOY)
    steps = {"imagic-embedding": 1, "imagic-unet": 1}
    bench.sd = replace(load("mini"), train_steps=steps)
    return bench


def at(faithfulness, edit_strength, seen=0.0):
    """One eta's pictures, two seeds that say the same."""
    return {
        "faithfulness": [faithfulness] * 2,
        "edit_strength": [edit_strength] * 2,
        "seen": [seen] * 2,
    }


def imagic_unit(without_b=0.6, middle=0.7):
    """An edit whose picture is lost, and whose change comes, around `middle`."""
    rows = [at(0.9, 0.1) if eta < middle else at(0.5, 0.3, 1.0) for eta in ETAS]
    return {
        "edit": "an edit",
        "eta": 0.6,
        "cost": {"seconds": 2.0},
        ALL: rows,
        WITHOUT_B: [at(without_b, 0.1) for _ in ETAS[:-1]] + [at(0.5, 0.3, 1.0)],
        WITHOUT_A: [at(0.7, 0.2)] * len(ETAS),
    }


def test_the_crossing_lies_on_a_straight_line_between_two_etas():
    assert crossing_of([0, 0.5, 1], [1, 0.6, 0], [0, 0.2, 1]) == pytest.approx(
        0.5 + 0.5 * 0.4 / 1.4
    )
    assert crossing_of([0, 1], [1, 0.9], [0, 0.1]) == 1
    assert crossing_of([0, 1], [0, 0], [0, 1]) == 0


def test_an_interval_is_inside_outside_or_open():
    assert inside(Interval(value=0.7, low=0.65, high=0.75), 0.6, 0.8) is True
    assert inside(Interval(value=0.3, low=0.2, high=0.4), 0.6, 0.8) is False
    assert inside(Interval(value=0.9, low=0.85, high=0.95), 0.6, 0.8) is False
    assert inside(Interval(value=0.6, low=0.5, high=0.7), 0.6, 0.8) is None


def test_imagic_holds_where_the_crossing_is_usual_and_stage_b_adds_likeness():
    finding = imagic.conclude([imagic_unit(), imagic_unit()])
    assert finding.agrees is True
    assert finding.figures["crossing"]["value"] == pytest.approx(0.65)
    assert finding.figures["stage_b_adds"]["value"] == pytest.approx(0.3)
    assert finding.figures["kept"] == pytest.approx([1.0] * 7 + [0.0] * 4)
    assert finding.figures["chosen"]["cost"] == {"seconds": 2.0}
    assert "from eta 0.65" in finding.says


@pytest.mark.parametrize("unit", [imagic_unit(without_b=0.95), imagic_unit(middle=0.2)])
def test_imagic_does_not_hold_where_stage_b_adds_nothing_or_the_crossing_is_elsewhere(unit):
    assert imagic.conclude([unit, unit]).agrees is False


def test_every_edit_asks_for_what_the_picture_does_not_show():
    for edit in EDITS:
        assert edit.picture().attributes[edit.attribute] == edit.before
        assert edit.before != edit.after
        assert edit.after in edit.target_prompt
    assert len({edit.name for edit in EDITS}) == len(EDITS)


def style_unit(method, number, kid, own_loss, held_out_loss):
    losses = {"held_out_loss": [held_out_loss] * 3}
    losses |= {"own_loss": [own_loss] * 3, "copied": [0.0] * 3} if number else {}
    return {
        "method": method,
        "number": number,
        "kid": [kid] * 2,
        "colours": [1.0, 0.5],
        "cost": {"seconds": 1.0},
        **losses,
    }


def style_units(kid_of_many=1.0, own_loss_of_few=2.0):
    return [
        style_unit("before", 0, 9.0, 0.0, 9.0),
        style_unit("full", 10, 4.0, own_loss_of_few, 8.0),
        style_unit("full", 50, 3.0, 4.0, 7.0),
        style_unit("full", 1600, kid_of_many, 5.0, 5.0),
        style_unit("lora", 10, 5.0, 5.0, 8.0),
        style_unit("lora", 1600, 2.0, 5.0, 6.0),
    ]


REAL = {"colours": [1.0, 1.0]}


def test_a_style_holds_where_many_pictures_are_nearer_and_few_are_learnt_by_heart():
    finding = drawing_style.conclude(style_units(), REAL)
    assert finding.agrees is True
    assert finding.figures["kid_few_over_many"]["value"] == pytest.approx(3.0)
    assert finding.figures["rows"]["LoRA, 1600"]["kid"]["value"] == pytest.approx(2.0)
    assert "4.0 from 10, 3.0 from 50, 1.0 from 1600 pictures, and by LoRA 2.0" in finding.says


@pytest.mark.parametrize("change", [{"kid_of_many": 2.5}, {"own_loss_of_few": 6.0}])
def test_a_style_does_not_hold_where_lora_is_nearer_or_few_are_not_learnt_by_heart(change):
    assert drawing_style.conclude(style_units(**change), REAL).agrees is False


def test_a_near_copy_is_nearer_to_a_training_picture_than_new_ones_are():
    own = torch.eye(3)[:2]  # two training pictures at right angles
    real = torch.nn.functional.normalize(torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))
    drawn = torch.stack([own[0], real[0]])
    assert copies(drawn, real, own) == [1.0, 0.0]


def test_portraits_of_a_style_are_of_other_people_in_all_its_colours():
    pictures = portraits(0, 8, 64)
    assert len({picture.attributes["hair_color"] for picture in pictures}) == 8
    assert len({picture.image.tobytes() for picture in pictures}) == 8
    assert {picture.image.size for picture in pictures} == {(64, 64)}
    assert pictures[3].image.tobytes() == portraits(3, 1, 64)[0].image.tobytes()


def test_a_picture_is_denoised_better_under_its_own_caption_and_the_same_alone(bench):
    pictures = [edit.picture() for edit in EDITS[:3]]
    captions = [picture.text for picture in pictures]
    own = picture_losses(bench.sd, pictures, captions)
    wrong = picture_losses(bench.sd, pictures, ["a purple creature with horns"] * 3)
    assert all(mine < other for mine, other in zip(own, wrong, strict=True))
    alone = picture_losses(bench.sd, pictures[:1], captions[:1])
    assert alone[0] == pytest.approx(own[0], rel=1e-3)


def dropout_unit(dropout, untold_loss, seen, kid):
    """A model whose pictures at all scales but the first show `seen` of what was asked."""
    scales = ["1", "3", "5", "8"]
    return {
        "dropout": dropout,
        "told_loss": [1.0] * 3,
        "untold_loss": [untold_loss] * 3,
        "guided": {
            scale: {
                "seen": [0.5 if scale == "1" else seen] * 3,
                "kid": [kid] * 2,
                "diversity": [0.2] * 2,
            }
            for scale in scales
        },
    }


def test_dropout_holds_where_guidance_helps_with_some_and_does_harm_without():
    units = [
        dropout_unit(0.0, untold_loss=9.0, seen=0.3, kid=5.0),
        dropout_unit(0.1, untold_loss=4.0, seen=0.9, kid=2.0),
        dropout_unit(0.5, untold_loss=3.0, seen=0.8, kid=4.0),
    ]
    finding = caption_dropout.conclude(units)
    assert finding.agrees is True
    assert finding.figures["untold_loss_of_never"]["value"] == pytest.approx(5.0)
    assert "50%, 30%, 30%, 30% with none left out, in 50%, 90%, 90%, 90% with one" in finding.says


@pytest.mark.parametrize("change", [{"untold_loss": 3.0}, {"seen": 1.0}])
def test_dropout_does_not_hold_where_a_model_without_it_does_as_well(change):
    never = {"untold_loss": 9.0, "seen": 0.3, "kid": 5.0} | change
    units = [dropout_unit(0.0, **never), dropout_unit(0.1, 4.0, 0.9, 2.0)]
    units.append(dropout_unit(0.5, 3.0, 0.8, 4.0))
    assert caption_dropout.conclude(units).agrees is False


def test_every_label_says_one_style_and_one_background():
    assert [label_of(attributes_of(label)) for label in range(NONE)] == list(range(NONE))
    with pytest.raises(ValueError, match="says no style"):
        attributes_of(NONE)
    drawn = [attributes_of(label) for label in LABELS]
    assert len(set(LABELS)) == 20
    assert {wanted["style"] for wanted in drawn} == set(STYLES)
    assert {wanted["background"] for wanted in drawn} == set(COLOURS)


@pytest.mark.parametrize(("dropout", "none_learns"), [(0.0, False), (1.0, True)])
def test_what_is_said_of_nothing_is_learnt_only_where_labels_are_left_out(
    bench, dropout, none_learns
):
    method = Labelled(bench.sd, LabelledConfig(caption_dropout=dropout))
    method.prepare([edit.picture() for edit in EDITS[:2]], FitConfig())
    method.loss(draw_batch(0, count=2, size=2, seed=0), method.sd.unet).backward()
    moved = method.sd.unet.class_embedding.weight.grad.abs().sum(1) > 0
    assert bool(moved[NONE]) is none_learns
    assert bool(moved[:NONE].any()) is not none_learns


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imagic", "drawing-style", "caption-dropout"])
def test_a_claim_on_models_at_toy_size_writes_its_result_and_its_figure(bench, tmp_path, name):
    kept = run_claim(name, bench, tmp_path)
    assert json.loads((tmp_path / f"{name}.json").read_text()) == json.loads(json.dumps(kept))
    assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert kept["says"] == run_claim(name, bench, tmp_path)["says"]
    assert find(name).number == kept["number"]
