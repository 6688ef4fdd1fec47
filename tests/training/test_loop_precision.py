"""Half precision in the loop: what trains stays float32, and a scaler never breaks a run."""

import copy
from dataclasses import replace

import pytest
import torch
from runs import dreambooth, same, weights
from torch.testing import assert_close

from sdlearn.finetune import FitConfig, TextualInversion, fit, run
from sdlearn.training.accelerator import make_accelerator
from sdlearn.training.checkpoint import checkpoints

CONFIG = FitConfig(max_train_steps=3, train_batch_size=2, learning_rate=1e-3)


@pytest.fixture
def with_scaler(monkeypatch):
    """Trains in float16 on the CPU, with a scaler as accelerate makes it on a GPU."""
    made = []

    def make(config):
        accelerator = make_accelerator(replace(config, mixed_precision="no"))
        accelerator.state._mixed_precision = "fp16"
        accelerator.native_amp = True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        made.append(accelerator)
        return accelerator

    monkeypatch.setattr("sdlearn.training.settings.make_accelerator", make)
    return made


@pytest.fixture
def seen(monkeypatch):
    """The gradients of each optimizer step that is not skipped."""
    steps = []
    step = torch.optim.AdamW.step

    def look(self, *args, **kwargs):
        parameters = [p for group in self.param_groups for p in group["params"]]
        steps.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", look)
    return steps


def overflow(method, batch_number):
    """Make the gradients of one batch infinite, while its loss stays finite."""
    plain = method.loss

    def loss(batch, **models):
        value = plain(batch, **models)
        if batch.number == batch_number:
            value.register_hook(lambda gradient: gradient * float("inf"))
        return value

    method.loss = loss


def test_bfloat16_computes_in_bfloat16_and_trains_float32(loaded_tiny, pictures, seen):
    kinds = set()
    for precision in ("no", "bf16"):
        method = dreambooth(loaded_tiny)
        attention = method.sd.unet.mid_block.attentions[0]
        attention.proj_out.register_forward_hook(lambda *a: kinds.add(a[-1].dtype))
        run(fit(method, pictures, replace(CONFIG, max_train_steps=1, mixed_precision=precision)))
        assert {p.dtype for p in weights(method)} == {torch.float32}
    assert kinds == {torch.float32, torch.bfloat16}
    exact, rough = seen
    assert not torch.equal(rough, exact)
    assert_close(rough, exact, rtol=0, atol=0.02 * exact.abs().max().item())


def test_a_run_in_bfloat16_leaves_nothing_of_it_in_the_models(loaded_tiny, pictures):
    """accelerate's `unwrap_model` also takes off what transformers wraps around `forward`."""
    method = dreambooth(loaded_tiny)
    run(fit(method, pictures, replace(CONFIG, max_train_steps=1, mixed_precision="bf16")))
    input_ids = method.sd.tokenize(["a person"])
    encoded = method.sd.text_encoder(input_ids, output_hidden_states=True)
    assert len(encoded.hidden_states) == 3
    assert encoded[0].dtype == torch.float32
    fresh = copy.deepcopy(loaded_tiny.text_encoder)
    fresh.load_state_dict(method.sd.text_encoder.state_dict())
    assert torch.equal(fresh(input_ids)[0], encoded[0])


def test_scaled_gradients_are_unscaled_before_they_are_clipped(
    loaded_tiny, pictures, with_scaler, seen
):
    """waifu-diffusion clips first: with a scale of 1024 that clips 1024 times too much."""
    for max_grad_norm in (0.0, 1e9, 1e-3):
        config = replace(CONFIG, max_train_steps=1, max_grad_norm=max_grad_norm)
        run(fit(dreambooth(loaded_tiny), pictures, config))
    none, unchanged, clipped = seen
    assert torch.equal(unchanged, none)
    assert none.norm() < 100  # and not 1024 times as much
    assert clipped.norm().item() == pytest.approx(1e-3, rel=1e-3)
    assert_close(clipped, none * (clipped.norm() / none.norm()), rtol=1e-3, atol=1e-8)


def test_what_accelerate_launch_says_of_accumulation_divides_no_gradient(
    loaded_tiny, pictures, seen, monkeypatch
):
    config = replace(CONFIG, max_train_steps=1, max_grad_norm=0)
    run(fit(dreambooth(loaded_tiny), pictures, config))
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3")
    run(fit(dreambooth(loaded_tiny), pictures, config))
    assert torch.equal(*seen)


@pytest.mark.parametrize("max_grad_norm", [0.0, 1.0])
def test_a_step_that_overflows_changes_nothing_but_the_scale(
    max_grad_norm, loaded_tiny, pictures, with_scaler, seen
):
    """With torch's fused AdamW accelerate does not notice, and schedule and average move on."""
    method = dreambooth(loaded_tiny)
    overflow(method, batch_number=1)
    config = replace(CONFIG, lr_scheduler="linear", use_ema=True, max_grad_norm=max_grad_norm)
    rates, kept = [], []
    for step in fit(method, pictures, config):
        rates.append(step.learning_rate)
        kept.append(weights(method))
    assert len(seen) == 2
    assert rates == pytest.approx([1e-3, 2e-3 / 3, 2e-3 / 3])
    assert same(kept[1], kept[0])
    assert not same(kept[2], kept[1])
    assert with_scaler[0].scaler.get_scale() == 2.0**9


def test_the_average_does_not_move_in_a_step_that_overflows(loaded_tiny, pictures, with_scaler):
    averages = []
    for broken in (None, 1):
        method = dreambooth(loaded_tiny)
        overflow(method, broken)
        steps = 2 if broken else 1
        run(fit(method, pictures, replace(CONFIG, max_train_steps=steps, use_ema=True)))
        averages.append(weights(method))
    assert same(*averages)


def test_a_loss_that_is_not_finite_stops_under_a_scaler_too(
    loaded_tiny, pictures, with_scaler, tmp_path
):
    """The scaler would skip such steps for ever: no scale of the loss mends its forward pass."""
    method = dreambooth(loaded_tiny)
    plain = method.loss
    method.loss = lambda batch, **models: (
        plain(batch, **models) * (float("inf") if batch.number == 2 else 1)
    )
    config = replace(CONFIG, max_train_steps=9, output_dir=tmp_path, checkpointing_steps=1)
    with pytest.raises(FloatingPointError, match=r"step 3 is inf .*bf16 instead of fp16"):
        run(fit(method, pictures, config))
    assert checkpoints(tmp_path)[-1].name == "checkpoint-000002"


@pytest.mark.parametrize("make", [TextualInversion, dreambooth])
def test_a_run_with_a_scaler_goes_on_bit_for_bit(
    make, loaded_tiny, pictures, with_scaler, tmp_path
):
    straight = make(loaded_tiny)
    overflow(straight, batch_number=1)
    run(fit(straight, pictures, CONFIG))
    config = replace(CONFIG, output_dir=tmp_path, checkpointing_steps=2)
    stopped = make(loaded_tiny)
    overflow(stopped, batch_number=1)
    for step in fit(stopped, pictures, config):
        if step.step == 2:
            break
    resumed = make(loaded_tiny)
    assert len(run(fit(resumed, pictures, replace(config, resume=True)))) == 1
    assert same(weights(resumed), weights(straight))
    assert with_scaler[-1].scaler.get_scale() == 2.0**9
