"""The loss on a fixed grid: equal for equal weights, and lower when something was learnt."""

import copy
import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from sdlearn.data import to_pixel_values
from sdlearn.diffusion import NoiseSchedule
from sdlearn.finetune import (
    DreamBooth,
    FitConfig,
    FullFineTuning,
    LoRA,
    TextualInversion,
    fit,
    run,
    validation_loss,
)
from sdlearn.training.batches import sample_generator

FAST = FitConfig(max_train_steps=4, train_batch_size=2, learning_rate=1e-3, validation_steps=2)


def test_equal_weights_give_an_equal_loss_whatever_method_seed_or_moment(loaded_tiny, pictures):
    methods = [
        FullFineTuning(loaded_tiny),
        FullFineTuning(loaded_tiny, train_text_encoder=True),
        DreamBooth(loaded_tiny, with_prior_preservation=False, instance_prompt="{text}"),
        LoRA(loaded_tiny),
    ]
    expected = validation_loss(methods[0], pictures)
    for seed, method in enumerate(methods):
        torch.manual_seed(seed)
        assert validation_loss(method, pictures, FitConfig(seed=seed)) == expected
    assert validation_loss(methods[0], pictures[:2]) != expected
    other = [replace(picture, text="a toy") for picture in pictures]
    assert validation_loss(methods[0], other) != expected


def test_the_loss_is_the_plain_one_over_the_whole_grid(loaded_tiny, pictures):
    schedule = NoiseSchedule.from_scheduler(loaded_tiny.noise_scheduler)
    losses = []
    for index, picture in enumerate(pictures[:2]):
        pixel_values = to_pixel_values(picture.image, 32)[None]
        with torch.no_grad():
            latents = loaded_tiny.vae.encode(pixel_values).latent_dist.mean * 0.7
            states = loaded_tiny.encode_prompt([picture.text])
        for place, timestep in enumerate((62, 187, 312, 437, 562, 687, 812, 937)):
            generator = sample_generator(0, 2, 8 * index + place)
            noise = torch.randn((4, 8, 8), generator=generator)[None]
            timesteps = torch.tensor([timestep])
            noisy_latents = schedule.add_noise(latents, noise, timesteps)
            with torch.no_grad():
                model_pred = loaded_tiny.unet(noisy_latents, timesteps, states).sample
            losses.append(F.mse_loss(model_pred, noise))
    measured = validation_loss(FullFineTuning(loaded_tiny), pictures[:2])
    assert_close(measured, float(torch.stack(losses).mean()), rtol=1e-4, atol=1e-5)


def test_the_batch_size_does_not_matter(loaded_tiny, pictures):
    method = FullFineTuning(loaded_tiny)
    whole = validation_loss(method, pictures[:3], FitConfig(train_batch_size=4))
    assert_close(validation_loss(method, pictures[:3], FitConfig(train_batch_size=2)), whole)


def test_training_lowers_the_loss(tiny, pictures):
    method = FullFineTuning(tiny, caption_dropout=0)
    before = validation_loss(method, pictures)
    run(fit(method, pictures, replace(FAST, max_train_steps=12, learning_rate=3e-3)))
    assert validation_loss(method, pictures) < before - 0.02


def test_measuring_changes_neither_the_training_nor_any_random_number(loaded_tiny, pictures):
    config = replace(FAST, use_ema=True, ema_decay=0.5)
    plain, measured = FullFineTuning(loaded_tiny), FullFineTuning(loaded_tiny)
    losses = run(fit(plain, pictures, config))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    steps = fit(measured, pictures, config, validation_pictures=pictures[:2])
    assert run(steps) == losses
    assert torch.equal(torch.rand(3), expected)
    for one, other in zip(plain.sd.unet.parameters(), measured.sd.unet.parameters(), strict=True):
        assert torch.equal(one, other)


def test_it_is_measured_where_it_is_due_and_logged(loaded_tiny, pictures, tmp_path):
    config = replace(FAST, max_train_steps=5, output_dir=tmp_path)
    method = FullFineTuning(loaded_tiny)
    steps = list(fit(method, pictures, config, validation_pictures=pictures[2:]))
    due = [step.step for step in steps if step.validation_loss is not None]
    assert due == [2, 4, 5]
    assert steps[-1].validation_loss == validation_loss(method, pictures[2:], config)
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    assert [line["step"] for line in logged if "validation_loss" in line] == due
    assert logged[-1]["validation_loss"] == steps[-1].validation_loss


def test_it_is_measured_under_the_averaged_weights_where_there_are_any(loaded_tiny, pictures):
    method = FullFineTuning(loaded_tiny)
    config = replace(FAST, use_ema=True, ema_decay=0.9, learning_rate=1e-2)
    for step in fit(method, pictures, config, validation_pictures=pictures):
        if step.step == 4:
            raw = copy.deepcopy(method)
            averaged = step.validation_loss
    assert validation_loss(method, pictures, config) == averaged  # in place at the end
    assert validation_loss(raw, pictures, config) != averaged


@pytest.mark.parametrize("templates", [("a photo of {}",), ("{text}",), ("a {text} of {}",)])
def test_a_new_word_is_measured_in_its_sentences(templates, tiny, pictures):
    """Once it was measured under captions that do not hold it, so the loss never moved."""
    method = TextualInversion(tiny, templates=templates)
    before = validation_loss(method, pictures[:1])
    for rows in method.new_rows:
        rows.rows.data *= -1
    assert validation_loss(method, pictures[:1]) != before


def test_each_method_is_measured_under_the_prompt_it_trains_with(loaded_tiny, pictures):
    """Once all but full fine-tuning were measured under the pictures' own captions."""
    prompts = ("a photo of sks {background}", "a toy")
    for make in (LoRA, DreamBooth):
        field = "prompt" if make is LoRA else "instance_prompt"
        first, other = (make(loaded_tiny, **{field: prompt}) for prompt in prompts)
        assert validation_loss(first, pictures[:1]) != validation_loss(other, pictures[:1])
        assert first.caption(pictures[0]) == "a photo of sks red"


def test_a_model_of_two_text_encoders_is_measured(tiny_xl, pictures):
    assert 0 < validation_loss(FullFineTuning(tiny_xl), pictures[:1]) < 10


@pytest.mark.parametrize("make", [FullFineTuning, LoRA])
def test_pictures_without_captions_are_refused_before_anything_is_prepared(
    make, loaded_tiny, pictures, monkeypatch
):
    method = make(loaded_tiny)
    monkeypatch.setattr(method, "prepare", lambda *_: pytest.fail("prepared"))
    nameless = [replace(pictures[0], text="")]
    with pytest.raises(ValueError, match=r'has no (caption|"text")'):
        fit(method, pictures, FAST, validation_pictures=nameless)


def test_the_progress_bar_shows_the_last_loss(loaded_tiny, pictures, capsys):
    method = FullFineTuning(loaded_tiny)
    config = replace(FAST, max_train_steps=3)
    run(fit(method, pictures, config, validation_pictures=pictures[:1]))
    last = validation_loss(method, pictures[:1], config)
    assert f"validation_loss={last:.4f}" in capsys.readouterr().err


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="validation_steps is 0"):
        FitConfig(validation_steps=0)
