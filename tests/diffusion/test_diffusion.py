import pytest
import torch
from conftest import make_scheduler
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch.testing import assert_close

from sdlearn.diffusion import (
    NoiseSchedule,
    classifier_free_guidance,
    diffusion_loss,
    min_snr_weights,
)

SHAPE = (5, 4, 6, 6)
TIMESTEPS = torch.tensor([0, 1, 250, 700, 999])


def latents_and_noise():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)


def test_alpha_bar_of_the_first_timestep_is_one_minus_beta_start():
    schedule = NoiseSchedule.from_scheduler(make_scheduler())
    assert schedule.num_train_timesteps == 1000
    assert_close(schedule.alphas_cumprod[0].item(), 1 - 0.00085)


def test_add_noise_equals_diffusers():
    noise_scheduler = make_scheduler()
    latents, noise = latents_and_noise()
    ours = NoiseSchedule.from_scheduler(noise_scheduler).add_noise(latents, noise, TIMESTEPS)
    assert_close(ours, noise_scheduler.add_noise(latents, noise, TIMESTEPS))


def test_add_noise_by_hand():
    schedule = NoiseSchedule(alphas_cumprod=torch.tensor([0.64, 0.36]))
    noisy = schedule.add_noise(
        torch.full((2, 1, 1, 1), 10.0), torch.full((2, 1, 1, 1), 5.0), torch.tensor([0, 1])
    )
    assert_close(noisy.flatten(), torch.tensor([8.0 + 3.0, 6.0 + 4.0]))


def test_the_velocity_target_equals_diffusers():
    noise_scheduler = DDPMScheduler(beta_schedule="scaled_linear", prediction_type="v_prediction")
    latents, noise = latents_and_noise()
    ours = NoiseSchedule.from_scheduler(noise_scheduler).target(latents, noise, TIMESTEPS)
    assert_close(ours, noise_scheduler.get_velocity(latents, noise, TIMESTEPS))


@pytest.mark.parametrize(("prediction_type", "which"), [("epsilon", 1), ("sample", 0)])
def test_the_other_targets_are_noise_and_latents(prediction_type, which):
    schedule = NoiseSchedule.from_scheduler(make_scheduler(prediction_type=prediction_type))
    pair = latents_and_noise()
    assert_close(schedule.target(*pair, TIMESTEPS), pair[which], rtol=0, atol=0)


def test_snr_equals_diffusers():
    noise_scheduler = make_scheduler()
    ours = NoiseSchedule.from_scheduler(noise_scheduler).snr(TIMESTEPS)
    assert_close(ours, compute_snr(noise_scheduler, TIMESTEPS), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("prediction_type", "expected"),
    [
        ("epsilon", [1.0, 1.0, 0.5]),
        ("v_prediction", [0.0, 1 / 2, 5 / 11]),
        ("sample", [0.0, 1.0, 5.0]),
    ],
)
def test_min_snr_weights_by_hand_even_where_no_signal_is_left(prediction_type, expected):
    weights = min_snr_weights(torch.tensor([0.0, 1.0, 10.0]), 5.0, prediction_type)
    assert_close(weights, torch.tensor(expected))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_an_infinite_gamma_weighs_every_timestep_the_same(prediction_type):
    """Once it was a weight of snr / (snr + 1) for v-prediction, and of snr for samples."""
    snr = torch.tensor([0.0, 0.5, 10.0, float("inf")])
    assert torch.equal(min_snr_weights(snr, float("inf"), prediction_type), torch.ones(4))


def test_loss_is_the_mean_of_each_sample_times_its_weight():
    model_pred = torch.tensor([[1.0, 3.0], [0.0, 2.0]]).view(2, 2, 1, 1)
    losses = diffusion_loss(model_pred, torch.zeros_like(model_pred), torch.tensor([1.0, 0.5]))
    assert_close(losses, torch.tensor([5.0, 1.0]))
    mse = torch.nn.functional.mse_loss(model_pred, torch.zeros_like(model_pred))
    assert_close(diffusion_loss(model_pred, torch.zeros_like(model_pred)).mean(), mse)


def test_a_loss_over_shapes_that_would_broadcast_is_refused():
    with pytest.raises(ValueError, match="same shape"):
        diffusion_loss(torch.zeros(2, 4, 1, 1), torch.zeros(1, 4, 1, 1))
    with pytest.raises(ValueError, match="one each"):
        diffusion_loss(torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1), torch.ones(2))


def test_guidance_at_zero_one_and_two():
    uncond, text = torch.tensor([1.0]), torch.tensor([3.0])
    assert [classifier_free_guidance(uncond, text, s).item() for s in (0, 1, 2)] == [1, 3, 5]


def test_an_unknown_prediction_type_is_refused_in_words():
    with pytest.raises(ValueError, match="epsilon, v_prediction, sample"):
        min_snr_weights(torch.ones(1), 5.0, "flow")
    with pytest.raises(ValueError, match="above 0"):
        min_snr_weights(torch.ones(1), 0.0, "epsilon")
