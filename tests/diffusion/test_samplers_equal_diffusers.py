"""The samplers written by hand do what diffusers' do, step by step."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from exact_data import POINT, SETTINGS, run
from torch.testing import assert_close

from sdlearn.diffusion.samplers import (
    PlainDDIMScheduler,
    PlainDDPMScheduler,
    QuasiTaylorScheduler,
    ddim_sigma,
    ddim_step,
    ddpm_mean,
    ddpm_variance,
    inference_timesteps,
    picture_and_noise,
)

STABLE_DIFFUSION = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "steps_offset": 1,
}
SHAPE = (2, 4, 3, 3)
PREDICTION_TYPES = ["epsilon", "v_prediction", "sample"]


def each_step(ours, theirs, steps, **step_arguments):
    """What both schedulers make of the same samples and model outputs, along diffusers' path."""
    ours.set_timesteps(steps)
    theirs.set_timesteps(steps)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    generator = torch.Generator().manual_seed(0)
    noises = [torch.Generator().manual_seed(1) for _ in range(2)]
    sample = torch.randn(SHAPE, generator=generator)
    for timestep in theirs.timesteps:
        model_output = torch.randn(SHAPE, generator=generator)
        mine = ours.step(model_output, timestep, sample, generator=noises[0], **step_arguments)
        its = theirs.step(model_output, timestep, sample, generator=noises[1], **step_arguments)
        sample = its.prev_sample
        yield int(timestep), mine, its


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large"])
def test_ddpm_equals_diffusers_step_by_step(prediction_type, spacing, variance_type):
    settings = STABLE_DIFFUSION | {
        "prediction_type": prediction_type,
        "timestep_spacing": spacing,
        "variance_type": variance_type,
    }
    theirs = DDPMScheduler(**settings)
    ours = PlainDDPMScheduler.from_config(theirs.config)
    for timestep, mine, its in each_step(ours, theirs, 13):
        assert_close(mine.pred_original_sample, its.pred_original_sample)
        if variance_type == "fixed_small" or timestep != ours.timesteps[-1]:
            assert_close(mine.prev_sample, its.prev_sample)
        else:  # the last step, at which only diffusers adds noise
            assert_close(mine.prev_sample, mine.pred_original_sample, rtol=0, atol=0)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize(
    ("spacing", "steps"), [("leading", 13), ("trailing", 20), ("linspace", 100)]
)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_equals_diffusers_step_by_step(prediction_type, spacing, steps, eta):
    theirs = DDIMScheduler(
        **STABLE_DIFFUSION,
        num_train_timesteps=100 if spacing == "linspace" else 1000,  # see the class's docstring
        prediction_type=prediction_type,
        timestep_spacing=spacing,
        set_alpha_to_one=spacing == "trailing",
    )
    ours = PlainDDIMScheduler.from_config(theirs.config)
    for _, mine, its in each_step(ours, theirs, steps, eta=eta):
        # where hardly any noise is left, diffusers' 1 - alpha_bar in float32 is off by 1e-5
        assert_close(mine.prev_sample, its.prev_sample, rtol=1e-5, atol=2e-5)
        assert_close(mine.pred_original_sample, its.pred_original_sample)


@pytest.mark.parametrize(
    "changes",
    [
        {"clip_sample": True, "clip_sample_range": 0.5},
        {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"num_train_timesteps": 50, "trained_betas": [0.01 + 0.001 * t for t in range(50)]},
        {
            "rescale_betas_zero_snr": True,
            "prediction_type": "v_prediction",
            "timestep_spacing": "trailing",
        },
    ],
)
def test_other_settings_are_taken_from_diffusers_configuration(changes):
    for plain, original in (
        (PlainDDIMScheduler, DDIMScheduler),
        (PlainDDPMScheduler, DDPMScheduler),
    ):
        theirs = original(**STABLE_DIFFUSION | changes)
        ours = plain.from_config(theirs.config)
        for _, mine, its in each_step(ours, theirs, 10):
            assert_close(mine.prev_sample, its.prev_sample)


def test_diffusers_defaults_mean_the_same_here():
    """`from_config` once gave Stable Diffusion's noise to models trained with the default one."""
    for ours, theirs in (
        (PlainDDIMScheduler, DDIMScheduler()),
        (PlainDDPMScheduler, DDPMScheduler()),
        (QuasiTaylorScheduler, DDIMScheduler()),
    ):
        taken = ours.from_config(theirs.config)
        assert torch.equal(taken.alphas_cumprod, theirs.alphas_cumprod)
        for name in set(ours().config) & set(theirs.config):
            assert name.startswith("_") or taken.config[name] == theirs.config[name], name


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_ddim_with_all_of_ddpms_noise_is_ddpm_where_steps_are_uneven(spacing):
    settings = STABLE_DIFFUSION | {"timestep_spacing": spacing, "steps_offset": 0}
    ours, theirs = PlainDDIMScheduler(**settings), DDPMScheduler(**settings)
    ours.set_timesteps(13)
    theirs.set_timesteps(13)
    sample, model_output = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    for timestep in theirs.timesteps[:-1]:
        mine = ours.step(
            model_output, timestep, sample, eta=1.0, generator=torch.Generator().manual_seed(1)
        )
        its = theirs.step(
            model_output, timestep, sample, generator=torch.Generator().manual_seed(1)
        )
        assert_close(mine.prev_sample, its.prev_sample)


def test_the_ddim_formula_equals_diffusers_at_linspace_given_the_timestep_diffusers_goes_to():
    theirs = DDIMScheduler(**STABLE_DIFFUSION, timestep_spacing="linspace")
    theirs.set_timesteps(10)
    sample, model_output, noise = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    for timestep in theirs.timesteps[:-1].tolist():
        here, there = (theirs.alphas_cumprod[t].item() for t in (timestep, timestep - 100))
        ours = ddim_step(
            *picture_and_noise(sample, model_output, here, "epsilon"),
            alpha_bar_prev=there,
            sigma=ddim_sigma(here, there, 0.7),
            noise=noise,
        )
        its = theirs.step(model_output, timestep, sample, eta=0.7, variance_noise=noise)
        assert_close(ours, its.prev_sample)


def test_linspace_ddim_stays_exact_on_one_point_which_diffusers_does_not():
    noise = torch.tensor([[-1.0], [0.5]])
    exact, gap = [], []
    for steps in (10, 40):  # diffusers goes 100 and 25 timesteps on, but asks about 111 and 25.6
        for kind, errors in ((PlainDDIMScheduler, exact), (DDIMScheduler, gap)):
            scheduler = kind(**SETTINGS | {"timestep_spacing": "linspace"})
            scheduler.set_timesteps(steps)
            last = int(scheduler.timesteps[-2])
            signal = scheduler.alphas_cumprod[[999, last]].sqrt()
            spread = (1 - scheduler.alphas_cumprod[[999, last]]).sqrt()
            there = run(POINT, scheduler, signal[0] * 1.3 + spread[0] * noise, steps, stop=last)
            errors.append((there - (signal[1] * 1.3 + spread[1] * noise)).abs().max().item())
    assert max(exact) < 1e-5
    assert min(gap) > 1e-3


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_timesteps_equal_diffusers_for_every_number_of_steps(spacing):
    theirs = DDIMScheduler(timestep_spacing=spacing)
    astray = []
    for steps in range(1, 1001):
        theirs.set_timesteps(steps)
        ours = inference_timesteps(1000, steps, spacing)
        assert len(ours) == len(set(ours)) == steps
        assert 0 <= ours[-1] <= ours[0] <= 999
        if len(theirs.timesteps) != steps:  # diffusers' "trailing" may run on to timestep -1
            astray.append(steps)
            assert theirs.timesteps[-1] == -1
        elif ours != theirs.timesteps.tolist():  # and rounds 12.4999999 where 12.5 is meant
            difference = torch.tensor(ours) - theirs.timesteps
            assert spacing == "trailing"
            assert difference.abs().max() == 1
    assert spacing == "trailing" or not astray


def test_timesteps_by_hand():
    assert inference_timesteps(1000, 4, "leading", 1) == [751, 501, 251, 1]
    assert inference_timesteps(1000, 4, "trailing") == [999, 749, 499, 249]
    assert inference_timesteps(1000, 4, "linspace") == [999, 666, 333, 0]


def test_ddpm_and_ddim_by_hand():
    one, half = torch.ones(1), torch.full((1,), 0.5)
    # from alpha_bar 0.36 to 0.64: alpha is 9/16, so the large variance is 7/16
    assert_close(ddpm_variance(0.36, 0.64, "fixed_large"), 7 / 16)
    assert_close(ddpm_variance(0.36, 0.64, "fixed_small"), 7 / 16 * 0.36 / 0.64)
    mean = 0.8 * (7 / 16) / 0.64 * 0.5 + 0.75 * 0.36 / 0.64 * 1
    assert_close(ddpm_mean(one, half, alpha_bar=0.36, alpha_bar_prev=0.64), torch.tensor([mean]))
    assert_close(ddim_step(half, one, alpha_bar_prev=0.64), torch.tensor([0.8 * 0.5 + 0.6]))
    assert_close(ddim_sigma(0.36, 0.64, 0.5), 0.5 * (7 / 16 * 0.36 / 0.64) ** 0.5)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_picture_and_noise_put_together_again_are_the_sample(prediction_type):
    sample, model_output = torch.randn(2, *SHAPE, dtype=torch.float64)
    picture, noise = picture_and_noise(sample, model_output, 0.64, prediction_type)
    assert_close(0.8 * picture + 0.6 * noise, sample)
