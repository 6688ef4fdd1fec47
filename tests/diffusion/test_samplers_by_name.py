"""Samplers by name, and the command line that draws with them."""

from typing import get_args

import pytest
import torch
from conftest import make_scheduler
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image

from sdlearn import cli
from sdlearn.data import read_generated
from sdlearn.diffusion.samplers import (
    PlainDDIMScheduler,
    PlainDDPMScheduler,
    QuasiTaylorScheduler,
)
from sdlearn.models.samplers import SAMPLERS, SamplerName, make_sampler


def test_the_command_line_offers_every_sampler_and_no_other():
    assert get_args(SamplerName) == tuple(SAMPLERS)


def test_the_default_is_the_sampler_that_pipelines_draw_with(tiny):
    named, default = make_sampler("dpm++", tiny.noise_scheduler), tiny.sampler()
    assert type(named) is type(default)
    assert dict(named.config) == dict(default.config)


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("unipc", UniPCMultistepScheduler, {"timestep_spacing": "linspace"}),
        ("ddim", PlainDDIMScheduler, {"timestep_spacing": "trailing"}),
        ("ddpm", PlainDDPMScheduler, {"timestep_spacing": "trailing"}),
        ("quasi-taylor-1", QuasiTaylorScheduler, {"taylor_order": 1, "stochastic": False}),
        ("quasi-taylor-3", QuasiTaylorScheduler, {"taylor_order": 3, "stochastic": False}),
        ("quasi-taylor-sde", QuasiTaylorScheduler, {"taylor_order": 2, "stochastic": True}),
    ],
)
def test_a_name_makes_its_sampler_with_the_models_noise(name, kind, settings):
    noise_scheduler = make_scheduler(beta_end=0.02, prediction_type="v_prediction")
    sampler = make_sampler(name, noise_scheduler)
    assert isinstance(sampler, kind)
    assert torch.equal(sampler.alphas_cumprod, noise_scheduler.alphas_cumprod)
    assert sampler.config.prediction_type == "v_prediction"
    for setting, value in settings.items():
        assert sampler.config[setting] == value


@pytest.mark.parametrize("name", SAMPLERS)
def test_another_samplers_configuration_will_do(name):
    for other in (PNDMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler):
        noise_scheduler = other(beta_schedule="scaled_linear")
        sampler = make_sampler(name, noise_scheduler)
        assert torch.equal(sampler.alphas_cumprod, noise_scheduler.alphas_cumprod)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 13, 61])  # diffusers' "trailing" makes 62 steps of 61
def test_every_sampler_starts_with_all_noise_and_takes_the_steps_it_was_given(name, steps):
    sampler = make_sampler(name, make_scheduler())
    sampler.set_timesteps(steps)
    assert sampler.timesteps[0] == 999
    assert len(sampler.timesteps) == steps
    assert (sampler.timesteps.diff() < 0).all()
    assert sampler.timesteps[-1] >= 0


def test_an_unknown_name_is_refused_in_words():
    with pytest.raises(ValueError, match=r'no sampler "euler": give one of dpm\+\+, unipc'):
        make_sampler("euler", make_scheduler())


def test_pictures_are_drawn_by_the_sampler_asked_for_and_say_so(tiny_folder, tmp_path):
    drawn = {}
    for name in SAMPLERS:
        path = tmp_path / f"{name}.png"
        options = ["--model", str(tiny_folder), "--steps", "3", "--sampler", name]
        assert cli.main(["generate", "a person", *options, "--output", str(path)]) == 0
        assert read_generated(path).sampler == name
        drawn[name] = Image.open(path).tobytes()
    assert drawn["dpm++"] != drawn["ddim"] != drawn["ddpm"] != drawn["quasi-taylor-sde"]


def test_help_lists_the_samplers_and_another_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["generate", "--help"])
    assert "quasi-taylor-sde" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        cli.main(["generate", "a person", "--sampler", "euler"])
    assert stopped.value.code == 2
