"""A model that was loaded `in_place`: its very weights train, and parts come and go."""

import re
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import ImageChops

from sdlearn import cli, models
from sdlearn.commands.train import SAMPLES, TrainLoRA
from sdlearn.data import write_pictures
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
from sdlearn.finetune.provenance import seconds_a_picture
from sdlearn.models import load

FAST = FitConfig(max_train_steps=2, train_batch_size=2, learning_rate=1e-3, random_flip=True)
WATCHED = {"preview_prompts": ("a toy",), "preview_steps": 1, "preview_inference_steps": 1}
METHODS = {  # with the text encoders that are there while it trains
    "lora": (LoRA, {}, False),
    "lora, text encoder": (LoRA, {"train_text_encoder": True}, True),
    "dreambooth": (DreamBooth, {"num_class_images": 1, "class_inference_steps": 1}, False),
    "full": (FullFineTuning, {}, False),
    "full, text encoder": (FullFineTuning, {"train_text_encoder": True}, True),
    "full, tags": (FullFineTuning, {"caption_style": "tags", "shuffle_tags": True}, True),
    "textual inversion": (TextualInversion, {"initializer_token": "toy"}, True),
}


def train(method, pictures, config, **settings):
    """Train, and return the losses on others and which parts were there after each step."""
    losses, there = [], []
    for step in fit(method, pictures, config, **settings):
        losses.append(step.validation_loss)
        parts = {"vae": method.sd.vae, "text_encoder": method.sd.text_encoder}
        there.append({name for name, part in parts.items() if is_there(part)})
    return losses, there


def is_there(model):
    return all(weight.numel() for weight in model.parameters())


def is_equal(model, other):
    weights, others = model.state_dict(), other.state_dict()
    assert weights.keys() == others.keys()
    return all(torch.equal(weight, others[name]) for name, weight in weights.items())


@pytest.mark.parametrize("name", METHODS)
def test_in_place_it_learns_and_draws_the_same_to_the_bit_without_parts_it_needs_no_more(
    name, tiny_folder, pictures, tmp_path
):
    method_class, settings, keeps_text_encoder = METHODS[name]
    learnt, losses, drawn, there = {}, {}, {}, {}
    for in_place in (False, True):
        method = method_class(load(tiny_folder, in_place=in_place), **settings)
        config = replace(FAST, **WATCHED, validation_steps=1, output_dir=tmp_path / f"{in_place}")
        others = pictures[:2]
        losses[in_place], there[in_place] = train(
            method, pictures, config, validation_pictures=others
        )
        previews = sorted((tmp_path / f"{in_place}").rglob("previews/*.png"))
        assert len(previews) == 2
        drawn[in_place] = [path.read_bytes() for path in previews]
        learnt[in_place] = method
    assert losses[True] == losses[False]
    assert drawn[True] == drawn[False]
    for part in ("unet", "text_encoder"):
        trained = {id(model) for model in learnt[True].trained().values()}
        if id(getattr(learnt[True].sd, part)) in trained:
            assert is_equal(getattr(learnt[True].sd, part), getattr(learnt[False].sd, part))
    assert there[False] == 2 * [{"vae", "text_encoder"}]
    assert there[True] == 2 * [{"text_encoder"} if keeps_text_encoder else set()]
    [first], [second] = (learnt[in_place].sd.draw("a toy") for in_place in (False, True))
    assert ImageChops.difference(first, second).getbbox() is None


@pytest.mark.parametrize("name", ["dreambooth", "full, text encoder"])
def test_the_weights_that_were_given_are_the_ones_that_train_where_that_was_asked_for_only(
    name, tiny_folder, pictures
):
    method_class, settings, _ = METHODS[name]
    untouched = load(tiny_folder)
    for in_place in (False, True):
        sd = load(tiny_folder, in_place=in_place)
        weights = {id(weight) for weight in sd.unet.parameters()}
        method = method_class(sd, **settings)
        run(fit(method, pictures, FAST))
        assert (method.sd.unet is sd.unet) == in_place
        assert ({id(w) for w in method.trained()["unet"].parameters()} == weights) == in_place
        assert is_equal(sd.unet, untouched.unet) != in_place
        assert is_equal(method.sd.unet, untouched.unet) is False


def test_sdlearn_train_hands_its_model_over(tiny_folder, pictures, tmp_path, monkeypatch, capsys):
    write_pictures(tmp_path / "pictures", pictures)
    given = []
    monkeypatch.setattr(models, "load", lambda *a, **k: given.append(load(*a, **k)) or given[-1])
    words = ["train", "dreambooth", str(tmp_path / "pictures"), "--model", str(tiny_folder)]
    words += ["--max-train-steps", "1", "--num-class-images", "1", "--class-inference-steps", "1"]
    assert cli.main([*words, "--output", str(tmp_path / "learnt"), "--samples", "0"]) == 0
    assert len(given) == 1
    learnt = load(tiny_folder).with_artefact(tmp_path / "learnt")
    assert is_equal(given[0].unet, learnt.unet)
    assert not is_there(given[0].vae)
    assert not is_there(given[0].text_encoder)


def test_what_is_saved_whole_has_every_part_though_some_were_let_go_of(
    tiny_folder, pictures, tmp_path
):
    method = FullFineTuning(load(tiny_folder, in_place=True), save_whole_model=True)
    run(fit(method, pictures, FAST))
    assert not is_there(method.sd.vae)
    saved = [method.save(tmp_path / "one.safetensors"), method.save(tmp_path / "whole")]
    before = load(tiny_folder)
    for path in saved:
        learnt = load(path)
        assert is_equal(learnt.vae, before.vae)
        assert is_equal(learnt.text_encoder, before.text_encoder)
        assert is_equal(learnt.unet, method.sd.unet)


@pytest.mark.parametrize("kind", ["folder", "single file"])
def test_parts_come_back_as_they_were(kind, tiny, tiny_folder, tmp_path):
    from sdlearn.models.single_file import save_single_file

    name = tiny_folder if kind == "folder" else save_single_file(tiny, tmp_path / "one.safetensors")
    sd, before = load(name, in_place=True), load(name)
    layouts = {n: w.stride() for n, w in sd.vae.named_parameters()}
    sd.let_go("vae", "text_encoder")
    assert not any(weight.numel() for weight in sd.vae.parameters())
    with sd.whole():
        assert is_equal(sd.vae, before.vae)
        assert is_equal(sd.text_encoder, before.text_encoder)
        assert {n: w.stride() for n, w in sd.vae.named_parameters()} == layouts
    assert not is_there(sd.vae)
    assert sd.pipeline().vae is sd.vae
    assert is_there(sd.vae)
    before.let_go("vae")  # nobody gave that one away
    assert is_there(before.vae)


@pytest.mark.parametrize("kind", ["folder", "single file"])
def test_convolutions_lie_in_memory_alone_and_not_in_their_mapped_file_too(
    kind, tiny, tiny_folder, tmp_path
):
    from sdlearn.models.single_file import save_single_file

    name = tiny_folder if kind == "folder" else save_single_file(tiny, tmp_path / "one.safetensors")
    sd = load(name)
    for model in (sd.unet, sd.vae):
        weights = [weight for weight in model.parameters() if weight.dim() == 4]
        assert weights
        for weight in weights:
            assert weight.is_contiguous(memory_format=torch.channels_last)
            assert weight.untyped_storage().filename is None
    assert is_equal(sd.unet, tiny.unet)
    assert is_equal(sd.vae, tiny.vae)


def test_class_pictures_are_drawn_by_the_model_as_it_was_when_a_run_goes_on_in_place(
    tiny_folder, pictures, tmp_path
):
    settings = {"num_class_images": 2, "class_inference_steps": 1, "class_data_dir": tmp_path / "c"}
    config = replace(FAST, learning_rate=0.1, output_dir=tmp_path / "run", checkpointing_steps=1)
    first = DreamBooth(load(tiny_folder, in_place=True), **settings)
    run(fit(first, pictures, replace(config, max_train_steps=1)))
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "c").glob("*.png")}
    assert len(drawn) == 2
    shutil.rmtree(tmp_path / "c")
    second = DreamBooth(load(tiny_folder, in_place=True), **settings)
    run(fit(second, pictures, replace(config, resume=True)))
    assert {path.name: path.read_bytes() for path in (tmp_path / "c").glob("*.png")} == drawn


def test_imagic_in_place_still_knows_the_model_as_it_was(tiny_folder, pictures):
    settings = {"target_prompt": "a red toy", "embedding_steps": 1, "unet_steps": 1}
    found = []
    for in_place in (False, True):
        sd = load(tiny_folder, in_place=in_place)
        imagic = Imagic(sd, unet_learning_rate=0.1, **settings)
        run(fit(imagic, pictures[:1]))
        assert is_there(sd.vae) != in_place
        assert (imagic.sd.unet is sd.unet) == in_place
        result = imagic.result
        assert is_equal(result.base.unet, load(tiny_folder).unet)
        drawn = [*result.draw([0.5]), *replace(result, sd=result.base).draw([1.0])]
        found.append((drawn, result.e_opt.encoder_hidden_states))
    assert [image.tobytes() for image in found[0][0]] == [image.tobytes() for image in found[1][0]]
    assert torch.equal(found[0][1], found[1][1])


def test_samples_are_not_drawn_where_one_takes_over_a_minute_unless_asked_for(
    tiny_folder, pictures, tmp_path, monkeypatch, capsys
):
    write_pictures(tmp_path / "pictures", pictures)
    monkeypatch.setattr("sdlearn.finetune.provenance.seconds_a_picture", lambda *_: 130.0)
    words = ["train", "lora", str(tmp_path / "pictures"), "--model", str(tiny_folder)]
    words += ["--output", str(tmp_path / "learnt"), "--max-train-steps", "1"]
    assert cli.main([*words, "--preview-inference-steps", "1"]) == 0
    said = "No samples are drawn for the card, as each would take about 130 seconds here: "
    assert said + "give --samples 4 to have them." in capsys.readouterr().err
    assert not (tmp_path / "learnt" / "samples").exists()
    assert cli.main([*words, "--preview-inference-steps", "1", "--samples", "1"]) == 0
    assert len(list((tmp_path / "learnt" / "samples").glob("*.png"))) == 1
    assert not re.search("No samples", capsys.readouterr().err)
    run = TrainLoRA(pictures=tmp_path, output=tmp_path)
    assert run.choose_samples(59, tmp_path) == SAMPLES


def test_how_long_a_sample_takes_follows_from_how_long_the_steps_took(tiny):
    method = LoRA(tiny)
    method.made = {"steps": 10, "seconds": 60.0}
    config = FitConfig(train_batch_size=1, preview_inference_steps=20)
    # a step of 6 seconds is some three passes of 2, and a picture has 20 steps of two
    assert seconds_a_picture(method, config) == pytest.approx(80)
    config = FitConfig(train_batch_size=2, gradient_accumulation_steps=2)
    assert seconds_a_picture(method, config) == pytest.approx(20)
