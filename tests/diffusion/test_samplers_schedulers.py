"""The schedulers in diffusers' pipelines: any dtype, batch and strength; and what they refuse."""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from exact_data import SETTINGS
from torch.testing import assert_close

from sdlearn.diffusion.samplers import (
    PlainDDIMScheduler,
    PlainDDPMScheduler,
    QuasiTaylorScheduler,
    inference_timesteps,
)

EVERY = [
    (PlainDDPMScheduler, {}),
    (PlainDDIMScheduler, {}),
    *((QuasiTaylorScheduler, {"taylor_order": order}) for order in (1, 2, 3)),
    *((QuasiTaylorScheduler, {"taylor_order": order, "stochastic": True}) for order in (1, 2)),
]
SHAPE = (3, 4, 8, 8)


@pytest.fixture(params=EVERY, ids=lambda case: f"{case[0].__name__} {case[1]}")
def scheduler(request):
    kind, settings = request.param
    return kind(**SETTINGS, **settings)


def seeded(*seeds):
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return generators if len(generators) > 1 else generators[0]


def draw(pipeline, **arguments):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        "a red person",
        num_inference_steps=6,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
        **arguments,
    ).images


def img2img(pipeline, picture, strength):
    parts = pipeline.components
    pipeline = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    return draw(pipeline, image=picture, strength=strength)


def test_every_scheduler_draws_in_a_pipeline(scheduler, tiny):
    steps_offset = scheduler.config.steps_offset
    latents = draw(tiny.pipeline(scheduler))
    assert latents.shape == (1, 4, 8, 8)
    assert latents.isfinite().all()
    assert scheduler.config.steps_offset == steps_offset  # pipelines "mend" what they do not expect


def test_ddim_draws_diffusers_picture_in_a_pipeline_and_from_another(tiny, pictures):
    theirs = DDIMScheduler.from_config(tiny.noise_scheduler.config)
    ours = PlainDDIMScheduler.from_config(tiny.noise_scheduler.config)
    image = pictures[0].image.resize((32, 32))
    expected = draw(tiny.pipeline(theirs), eta=0.5), img2img(tiny.pipeline(theirs), image, 0.5)
    drawn = draw(tiny.pipeline(ours), eta=0.5), img2img(tiny.pipeline(ours), image, 0.5)
    for mine, its in zip(drawn, expected, strict=True):
        assert_close(mine, its, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(drawn[0], drawn[1], atol=0.1)


def test_every_scheduler_begins_where_img2img_cuts(scheduler, tiny, pictures):
    pipeline = tiny.pipeline(scheduler)
    few, all_of_them = (
        img2img(pipeline, pictures[0].image.resize((32, 32)), strength) for strength in (0.2, 1.0)
    )
    assert few.isfinite().all()
    assert not torch.allclose(few, all_of_them, atol=0.1)


def test_a_step_in_the_middle_needs_no_step_before_it(scheduler):
    scheduler.set_timesteps(10)
    sample, output = torch.randn(2, *SHAPE)
    for timestep in scheduler.timesteps:
        alone = type(scheduler).from_config(scheduler.config)
        alone.set_timesteps(10)
        steps = [
            one.step(output, timestep, sample, generator=seeded(1)) for one in (scheduler, alone)
        ]
        assert torch.equal(steps[0].prev_sample, steps[1].prev_sample)


def test_a_batch_is_stepped_as_each_sample_alone(scheduler):
    scheduler.set_timesteps(10)
    sample, output = torch.randn(2, *SHAPE)
    together = scheduler.step(output, 699, sample, generator=seeded(1, 2, 3)).prev_sample
    for row in range(3):
        alone = scheduler.step(
            output[row, None], 699, sample[row, None], generator=seeded(row + 1), return_dict=False
        )
        assert_close(alone[0], together[row, None], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_step_keeps_the_samples_dtype_and_loses_only_its_last_rounding(scheduler, dtype):
    scheduler.set_timesteps(10)
    sample, output = torch.randn(2, *SHAPE).to(dtype)
    step = scheduler.step(output, 499, sample, generator=seeded(1))
    assert step.prev_sample.dtype == step.pred_original_sample.dtype == dtype
    if not (isinstance(scheduler, PlainDDPMScheduler) or scheduler.config.get("stochastic")):
        exact = scheduler.step(output.double(), 499, sample.double()).prev_sample
        assert_close(step.prev_sample, exact.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_the_output_may_have_another_dtype_than_the_sample(scheduler):
    scheduler.set_timesteps(10)
    step = scheduler.step(torch.randn(SHAPE).half(), 499, torch.randn(SHAPE))
    assert step.prev_sample.dtype == torch.float32


def test_add_noise_equals_diffusers(scheduler):
    samples, noise = torch.randn(2, *SHAPE)
    timesteps = torch.tensor([0, 500, 999])
    theirs = DDIMScheduler(**SETTINGS).add_noise(samples, noise, timesteps)
    assert_close(scheduler.add_noise(samples, noise, timesteps), theirs)
    assert scheduler.scale_model_input(samples, 3) is samples


def test_configurations_survive_saving_and_diffusers_can_read_them(scheduler, tmp_path):
    scheduler.save_pretrained(tmp_path)
    opened = type(scheduler).from_pretrained(tmp_path).config
    for name, value in scheduler.config.items():
        assert name.startswith("_") or opened[name] == value
    theirs = DDIMScheduler.from_config(scheduler.config)
    assert theirs.config.beta_schedule == "scaled_linear"
    assert torch.equal(theirs.alphas_cumprod, scheduler.alphas_cumprod)


def test_a_pipeline_with_our_scheduler_can_be_saved_and_opened_again(tiny, tmp_path):
    pipeline = tiny.pipeline(
        QuasiTaylorScheduler.from_config(tiny.noise_scheduler.config, taylor_order=3)
    )
    pipeline.save_pretrained(tmp_path)
    opened = DiffusionPipeline.from_pretrained(tmp_path)
    assert isinstance(opened, StableDiffusionPipeline)
    assert isinstance(opened.scheduler, QuasiTaylorScheduler)
    assert opened.scheduler.config.taylor_order == 3


def test_the_models_own_spacing_is_kept(tiny):
    scheduler = QuasiTaylorScheduler.from_config(tiny.noise_scheduler.config)
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [751, 501, 251, 1]


def test_a_step_out_of_turn_is_refused_in_words(scheduler):
    sample = torch.zeros(SHAPE)
    with pytest.raises(ValueError, match="call set_timesteps first"):
        scheduler.step(sample, 999, sample)
    scheduler.set_timesteps(10)
    with pytest.raises(ValueError, match="timestep 998 is none of this run's 10"):
        scheduler.step(sample, 998, sample)


def test_an_output_of_another_shape_is_refused_in_words(scheduler):
    scheduler.set_timesteps(10)
    with pytest.raises(ValueError, match="predict one value for each"):
        scheduler.step(torch.zeros(3, 8, 8, 8), 999, torch.zeros(SHAPE))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prediction_type": "flow_prediction"}, "epsilon, v_prediction, sample"),
        ({"rescale_betas_zero_snr": True}, 'set prediction_type to "v_prediction"'),
        ({"trained_betas": [0.1, 1.2]}, "leave the range from 0 to 1"),
        ({"trained_betas": [0.0, 0.1]}, "leave the range from 0 to 1"),
        ({"timestep_spacing": "random"}, "leading, trailing, linspace"),
        ({"thresholding": True}, "thresholding"),
    ],
)
@pytest.mark.parametrize("kind", [PlainDDPMScheduler, PlainDDIMScheduler, QuasiTaylorScheduler])
def test_settings_that_cannot_work_are_refused_at_once(kind, settings, words):
    with pytest.raises(ValueError, match=words):
        kind(**settings)


def test_other_mistakes_are_refused_in_words():
    with pytest.raises(ValueError, match="fixed_small, fixed_large"):
        PlainDDPMScheduler(variance_type="learned_range")
    scheduler = PlainDDIMScheduler()
    for steps in (0, 1001):
        with pytest.raises(ValueError, match="give 1 to 1000"):
            scheduler.set_timesteps(steps)
    scheduler.set_timesteps(10)
    with pytest.raises(ValueError, match=r"eta is 1\.5"):
        scheduler.step(torch.zeros(SHAPE), 900, torch.zeros(SHAPE), eta=1.5)
    with pytest.raises(ValueError, match="which is not trained"):
        inference_timesteps(1000, 1000, "leading", steps_offset=1)
