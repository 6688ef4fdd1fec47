"""`StableDiffusion.draw` gives, to the last bit, what each of its callers drew before it."""

import pytest
import torch
from diffusers import DDIMScheduler
from torch.testing import assert_close
from tqdm.auto import tqdm

from sdlearn.models.samplers import make_sampler

PROMPTS = ["a red person", "a blue person", "a picture of a toy", "a red toy", "a person"]


@pytest.fixture(params=["tiny", "tiny_xl"])
def sd(request):
    return request.getfixturevalue(request.param)


def by_pipeline(sd, prompt, seeds, scheduler=None, **settings):
    """The preamble that stood in ten places, each with a list of prompts or a single one."""
    pipeline = sd.pipeline(scheduler)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    generator = generators[0] if isinstance(prompt, str) else generators
    settings = {"num_inference_steps": 2, "guidance_scale": 5.0, "output_type": "pt", **settings}
    return list(pipeline(prompt, generator=generator, **settings).images)


def drawn(sd, *arguments, **settings):
    return sd.draw(*arguments, num_inference_steps=2, output_type="pt", desc=None, **settings)


def check_equal(ours, theirs):
    assert len(ours) == len(theirs)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_prompts_at_once_as_chapters_and_class_pictures_draw_them(sd):
    theirs = by_pipeline(sd, PROMPTS, range(5))
    check_equal(drawn(sd, PROMPTS), theirs)
    check_equal(drawn(sd, PROMPTS, seeds=[0, 1, 2, 3, 4]), theirs)
    size = {"height": sd.size_step, "width": 2 * sd.size_step}
    theirs = by_pipeline(sd, ["a person"] * 3, range(500, 503), **size)
    check_equal(drawn(sd, "a person", seeds=range(500, 503), **size), theirs)


def test_a_batch_at_a_time_as_measuring_and_the_demo_draw_them(sd):
    theirs = by_pipeline(sd, PROMPTS[:3], range(3)) + by_pipeline(sd, PROMPTS[3:], (3, 4))
    check_equal(drawn(sd, PROMPTS, batch_size=3), theirs)


def test_one_at_a_time_as_generate_samples_and_the_talk_draw_them(sd):
    theirs = [by_pipeline(sd, "a toy", [seed])[0] for seed in (4, 5)]
    check_equal(drawn(sd, "a toy", seeds=(4, 5), batch_size=1), theirs)
    theirs = by_pipeline(sd, "a toy", [7], negative_prompt="red", guidance_scale=2.0)
    check_equal(drawn(sd, "a toy", seeds=7, negative_prompt="red", guidance_scale=2.0), theirs)


@pytest.mark.parametrize("name", ["ddpm", "ddim", "quasi-taylor-2", "unipc"])
def test_with_another_sampler_as_chapter_3_and_the_experiments_draw_them(sd, name):
    scheduler = make_sampler(name, sd.noise_scheduler)
    theirs = by_pipeline(sd, PROMPTS[:2], range(2), make_sampler(name, sd.noise_scheduler))
    check_equal(drawn(sd, PROMPTS[:2], scheduler=scheduler), theirs)


def test_latents_are_those_of_the_pipeline(tiny):
    settings = {"num_inference_steps": 2, "output_type": "latent"}
    scheduler = DDIMScheduler.from_config(tiny.noise_scheduler.config)
    theirs = by_pipeline(tiny, ["a toy"], [3], scheduler, output_type="latent")
    check_equal(tiny.draw("a toy", seeds=[3], scheduler=scheduler, **settings), theirs)


def test_a_picture_is_the_same_alone_as_beside_others(tiny):
    together, alone = (drawn(tiny, PROMPTS[:3], batch_size=n) for n in (3, 1))
    for one, other in zip(together, alone, strict=True):
        assert_close(one, other, rtol=0, atol=1e-5)
    assert not torch.equal(alone[0], alone[1])


def test_what_comes_out_is_a_picture_of_the_models_own_size(tiny):
    [image] = tiny.draw("a person", num_inference_steps=1)
    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert tiny.draw([]) == []


def test_every_step_is_counted_and_a_callback_still_called(tiny, capsys, monkeypatch):
    seen, counted = [], []

    def close(bar):
        if not bar.disable:
            counted.append((bar.desc, bar.n, bar.total))

    monkeypatch.setattr(tqdm, "close", close)

    def callback(pipeline, step, timestep, tensors):
        seen.append((step, len(tensors["latents"])))
        return tensors

    settings = {"num_inference_steps": 2, "batch_size": 2, "callback_on_step_end": callback}
    tiny.draw(PROMPTS[:3], desc="my pictures", **settings)
    assert "my pictures:   0%" in capsys.readouterr().err
    assert set(counted) == {("my pictures", 6, 6)}  # closed once more as it is let go
    assert [step for step, _ in seen] == [0, 1, 0, 1]
    tiny.draw(PROMPTS[:1], desc=None, num_inference_steps=1)
    assert capsys.readouterr().err == ""


def test_prompts_without_seeds_of_their_own_and_too_many_steps_are_refused(tiny):
    with pytest.raises(ValueError, match="there are 2 prompts and 3 seeds: give as many"):
        tiny.draw(PROMPTS[:2], seeds=range(3))
    with pytest.raises(ValueError, match="1000 sampler steps are too many"):
        tiny.draw("a person", num_inference_steps=1000)
