import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runs import dreambooth, same, weights
from torch.testing import assert_close

from sdlearn.finetune import (
    DreamBooth,
    DreamBoothConfig,
    FitConfig,
    FullConfig,
    LoRAConfig,
    TextualInversion,
    fit,
    run,
)
from sdlearn.finetune.config import FULL_FIT
from sdlearn.training.accelerator import Modes
from sdlearn.training.batches import draw_batch
from sdlearn.training.checkpoint import checkpoints
from sdlearn.training.settings import choose_learning_rate


@pytest.fixture
def gradients(monkeypatch):
    """The gradients that each optimizer step is given."""
    seen = []
    step = torch.optim.AdamW.step

    def look(self, *args, **kwargs):
        parameters = [p for group in self.param_groups for p in group["params"]]
        seen.append([p.grad.clone() for p in parameters if p.grad is not None])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", look)
    return seen


def test_training_takes_nothing_from_the_callers_random_numbers(loaded_tiny, pictures):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    method = DreamBooth(loaded_tiny, num_class_images=1, class_inference_steps=1)
    run(fit(method, pictures, FitConfig(max_train_steps=1, train_batch_size=1)))
    assert torch.equal(torch.rand(3), expected)


def test_what_the_caller_draws_between_steps_changes_nothing(loaded_tiny, pictures):
    config = FitConfig(max_train_steps=3, train_batch_size=2)
    quiet, busy = TextualInversion(loaded_tiny), TextualInversion(loaded_tiny)
    run(fit(quiet, pictures, config))
    for _ in fit(busy, pictures, config):
        pipeline = busy.sd.pipeline()
        pipeline.set_progress_bar_config(disable=True)
        pipeline("a photo of <my-character>", num_inference_steps=1)
    assert same(weights(busy), weights(quiet))


@pytest.mark.parametrize("make", [TextualInversion, dreambooth])
def test_accumulating_two_batches_equals_one_of_twice_the_size(
    make, loaded_tiny, pictures, gradients
):
    config = FitConfig(max_train_steps=1, train_batch_size=4, snr_gamma=5.0, max_grad_norm=0)
    losses = run(fit(make(loaded_tiny), pictures, config))
    config = replace(config, train_batch_size=2, gradient_accumulation_steps=2)
    assert_close(run(fit(make(loaded_tiny), pictures, config)), losses)
    for whole, halves in zip(*gradients, strict=True):
        assert_close(halves, whole, rtol=1e-4, atol=1e-6)


def test_methods_that_start_from_one_model_leave_it_and_each_other_alone(tiny, pictures):
    before = [copy.deepcopy(model.state_dict()) for model in tiny.models]
    config = FitConfig(max_train_steps=2, learning_rate=1e-2)
    first = dreambooth(tiny)
    run(fit(first, pictures, config))
    run(fit(TextualInversion(tiny), pictures, config))
    second = dreambooth(tiny)
    run(fit(second, pictures, config))
    assert same(weights(first), weights(second))
    for model, state in zip(tiny.models, before, strict=True):
        assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


def test_the_moving_average_is_the_one_of_the_formula(loaded_tiny, pictures):
    config = FitConfig(max_train_steps=3, use_ema=True, ema_decay=0.2, learning_rate=1e-2)
    method = TextualInversion(loaded_tiny)
    average = None
    for step in fit(method, pictures, config):
        row = weights(method)[0]
        decay = 0.0 if step.step == 1 else min(0.2, step.step / (step.step + 9))
        average = row if average is None else decay * average + (1 - decay) * row
    assert_close(weights(method)[0], average)
    assert not torch.equal(average, row)


def test_gradients_are_clipped_to_the_norm_over_everything_that_trains(
    loaded_tiny, pictures, gradients
):
    for max_grad_norm in (1e-3, 0):
        config = FitConfig(max_train_steps=1, max_grad_norm=max_grad_norm)
        run(fit(dreambooth(loaded_tiny), pictures, config))
    clipped, plain = [torch.stack([g.norm() for g in step]).norm() for step in gradients]
    assert clipped.item() == pytest.approx(1e-3, rel=1e-3)
    assert plain > 2e-3


def test_a_loss_that_is_not_finite_stops_before_the_update(loaded_tiny, pictures, tmp_path):
    method = TextualInversion(loaded_tiny)
    plain_loss = method.loss
    method.loss = lambda batch, **models: (
        plain_loss(batch, **models) * (float("nan") if batch.number == 2 else 1)
    )
    config = FitConfig(max_train_steps=9, checkpointing_steps=1, output_dir=tmp_path)
    with pytest.raises(FloatingPointError, match=r"step 3 is nan \(pictures: .*learning_rate"):
        run(fit(method, pictures, config))
    assert checkpoints(tmp_path)[-1].name == "checkpoint-000002"
    assert torch.isfinite(weights(method)[0]).all()


def test_an_epoch_shows_each_picture_once_whatever_the_batch_size():
    for size in (1, 3, 4):
        batches = [draw_batch(i, count=6, size=size, seed=0) for i in range(12 // size)]
        shown = [index for batch in batches for index in batch.indices]
        assert sorted(shown[:6]) == sorted(shown[6:]) == list(range(6))
    assert (
        draw_batch(0, count=99, size=9, seed=0).indices
        != draw_batch(0, count=99, size=9, seed=1).indices
    )


def test_two_processes_draw_what_one_with_twice_the_batch_draws():
    whole = draw_batch(3, count=10, size=4, seed=5)
    halves = [draw_batch(6, count=10, size=2, seed=5), draw_batch(7, count=10, size=2, seed=5)]
    assert whole.indices == [i for half in halves for i in half.indices]
    numbers = [torch.rand(1, generator=g) for half in halves for g in half.generators]
    assert numbers == [torch.rand(1, generator=g) for g in whole.generators]


def test_the_learning_rate_is_the_users_else_the_models_else_the_methods(loaded_tiny):
    method = TextualInversion(loaded_tiny)
    assert choose_learning_rate(method, FitConfig(learning_rate=0.5)) == 0.5
    assert choose_learning_rate(method, FitConfig()) == TextualInversion.default_learning_rate
    method.sd = replace(method.sd, learning_rates={"textual-inversion": 0.25})
    assert choose_learning_rate(method, FitConfig()) == 0.25


def test_the_schedule_is_not_stepped_by_accumulation(loaded_tiny, pictures):
    config = FitConfig(max_train_steps=4, lr_scheduler="linear", learning_rate=1.0)
    config = replace(config, gradient_accumulation_steps=2, train_batch_size=1)
    steps = list(fit(TextualInversion(loaded_tiny), pictures, config))
    assert [step.learning_rate for step in steps] == [1.0, 0.75, 0.5, 0.25]
    assert [step.epoch for step in steps] == [0.5, 1.0, 1.5, 2.0]


def test_bfloat16_trains_float32_weights_and_can_follow_a_float32_run(loaded_tiny, pictures):
    for precision in ("no", "bf16", "no"):
        method = dreambooth(loaded_tiny)
        config = FitConfig(max_train_steps=1, mixed_precision=precision)
        assert run(fit(method, pictures, config))
        assert {p.dtype for p in weights(method)} == {torch.float32}


def test_bad_settings_are_refused_before_anything_starts(loaded_tiny, pictures):
    with pytest.raises(ValueError, match="max_train_steps is 0"):
        FitConfig(max_train_steps=0)
    with pytest.raises(ValueError, match="learning_rate is -1"):
        FitConfig(learning_rate=-1)
    with pytest.raises(ValueError, match="output_dir"):
        FitConfig(resume=True)
    with pytest.raises(ValueError, match="max_grad_norm is nan"):
        FitConfig(max_grad_norm=float("nan"))
    with pytest.raises(ValueError, match=f"seed is {2**43 + 1}: .* to {2**43}"):
        FitConfig(seed=2**43 + 1)
    with pytest.raises(ValueError, match="no pictures"):
        fit(TextualInversion(loaded_tiny), [])
    with pytest.raises(ValueError, match="multiple of 8"):
        fit(TextualInversion(loaded_tiny), pictures, FitConfig(resolution=30))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="does not work on a CPU"):
            fit(TextualInversion(loaded_tiny), pictures, FitConfig(mixed_precision="fp16"))


def test_the_largest_seed_trains(loaded_tiny, pictures):
    config = FitConfig(max_train_steps=1, seed=2**43)
    assert len(run(fit(TextualInversion(loaded_tiny), pictures, config))) == 1


def test_a_warm_up_without_effect_is_refused():
    with pytest.raises(ValueError, match="lr_scheduler to constant_with_warmup"):
        FitConfig(lr_warmup_steps=5)
    for lr_scheduler in ("constant_with_warmup", "linear"):
        with pytest.raises(ValueError, match="is 9, and the run ends after 9"):
            FitConfig(lr_warmup_steps=9, max_train_steps=9, lr_scheduler=lr_scheduler)
    assert replace(FULL_FIT, max_train_steps=2).lr_warmup_steps == 20  # a short try


def test_folders_may_be_text_and_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    made = [FitConfig(output_dir="~/runs").output_dir, FullConfig(cache_dir="~/runs").cache_dir]
    made += [DreamBoothConfig(class_data_dir=Path("~/runs")).class_data_dir]
    assert made == [tmp_path / "runs"] * 3


@pytest.mark.parametrize("make", [DreamBoothConfig, FullConfig, LoRAConfig])
def test_a_learning_rate_of_a_text_encoder_that_does_not_train_is_refused(make):
    with pytest.raises(ValueError, match="set train_text_encoder"):
        make(text_encoder_learning_rate=1e-5)
    make(text_encoder_learning_rate=1e-5, train_text_encoder=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"resolution": 0}, "resolution is 0: give at least 8"),
        ({"learning_rate": float("inf")}, "learning_rate is inf: give a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: give a number above 0"),
        ({"max_grad_norm": float("nan")}, "max_grad_norm is nan: give at least 0"),
        ({"preview_guidance_scale": float("inf")}, "preview_guidance_scale is inf: give a finite"),
        ({"max_seconds": float("inf")}, "max_seconds is inf: give a number above 0"),
    ],
)
def test_numbers_that_no_run_can_have_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        FitConfig(**settings)


def test_all_timesteps_weigh_one_where_gamma_is_infinite():
    assert FitConfig(snr_gamma=float("inf")).snr_gamma == float("inf")


def test_other_sizes_than_the_models_own_train(loaded_tiny, pictures):
    method = TextualInversion(loaded_tiny)
    run(fit(method, pictures, FitConfig(max_train_steps=1, resolution=48)))
    assert method.moments.latent_shape == (4, 12, 12)


class OwnTrain(torch.nn.Linear):
    """A module that has to know of its mode, as DDP has."""

    def train(self, mode=True):
        self.told = mode
        return super().train(mode)


def test_modes_are_switched_in_every_module_and_by_its_own_train_where_it_has_one(tiny):
    own = torch.nn.Sequential(OwnTrain(1, 1), torch.nn.Dropout())
    modes = Modes([tiny.unet, own])
    for training in (True, False, True):
        modes.switch(training=training)
        assert {module.training for module in [*tiny.unet.modules(), *own.modules()]} == {training}
        assert own[0].told == training
