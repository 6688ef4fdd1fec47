import copy
import json
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from runs import draw, same
from torch.testing import assert_close
from transformers import CLIPTextModel

from sdlearn.data.folder import Picture, write_pictures
from sdlearn.diffusion import NoiseSchedule, min_snr_weights
from sdlearn.finetune import DreamBooth, FitConfig, LoRA, TextualInversion, fit, run
from sdlearn.training.batches import draw_batch

PRIOR = {"num_class_images": 3, "class_inference_steps": 1, "sample_batch_size": 2}
FAST = FitConfig(max_train_steps=2, train_batch_size=2, learning_rate=1e-3)


def unet_weights(method):
    return [p.detach().clone() for p in method.sd.unet.parameters()]


def class_files(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*.png")}


@pytest.mark.parametrize("train_text_encoder", [False, True])
def test_exactly_what_was_asked_for_trains(train_text_encoder, tiny, pictures):
    method = DreamBooth(tiny, train_text_encoder=train_text_encoder, **PRIOR)
    run(fit(method, pictures, FAST))
    assert not same(unet_weights(method), list(tiny.unet.parameters()))
    ours, base = method.sd.text_encoder.state_dict(), tiny.text_encoder.state_dict()
    moved = any(not torch.equal(ours[key], base[key]) for key in base)
    assert moved == train_text_encoder
    assert method.sd.vae is tiny.vae


def test_the_text_encoder_has_a_learning_rate_of_its_own(tiny):
    method = DreamBooth(tiny, train_text_encoder=True, text_encoder_learning_rate=3e-6)
    assert [group["lr"] for group in method.parameter_groups(1e-3)] == [1e-3, 3e-6]
    method = DreamBooth(tiny, train_text_encoder=True)
    assert [group["lr"] for group in method.parameter_groups(1e-3)] == [1e-3, pytest.approx(2e-4)]


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_the_text_encoder_may_stop_early(lora_rank, tiny, pictures, tmp_path):
    settings = {"train_text_encoder": True, "with_prior_preservation": False}
    settings["lora_rank"] = lora_rank
    config = replace(FAST, gradient_accumulation_steps=2)
    short = DreamBooth(tiny, **settings)
    run(fit(short, pictures, config))
    stopping = DreamBooth(tiny, text_encoder_steps=2, **settings)
    losses = run(fit(stopping, pictures, replace(config, max_train_steps=4)))
    assert same(short.sd.text_encoder.parameters(), stopping.sd.text_encoder.parameters())
    assert not same(unet_weights(short), unet_weights(stopping))
    for steps in (3, 4):  # stopped and gone on behind the end
        resumed = DreamBooth(tiny, text_encoder_steps=2, **settings)
        where = replace(config, max_train_steps=steps, output_dir=tmp_path, resume=True)
        last = run(fit(resumed, pictures, where))
    assert last == losses[-1:]
    assert same(unet_weights(resumed), unet_weights(stopping))
    with pytest.raises(ValueError, match="text_encoder_steps is 2, but the text encoder does not"):
        DreamBooth(tiny, text_encoder_steps=2)


def test_prior_weight_zero_equals_no_prior(tiny, pictures):
    none = DreamBooth(tiny, with_prior_preservation=False)
    zero = DreamBooth(tiny, prior_loss_weight=0.0, **PRIOR)
    assert run(fit(none, pictures, FAST)) == run(fit(zero, pictures, FAST))
    assert same(unet_weights(none), unet_weights(zero))


@pytest.mark.parametrize("class_batch_size", [None, 3])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_prior_and_min_snr_weigh_each_sample_by_its_own_timestep(
    batch_size, class_batch_size, tiny, pictures
):
    """diffusers' script weighs B losses with 2B weights: an error at B = 2, wrong at B = 1."""
    config = FitConfig(train_batch_size=batch_size, snr_gamma=5.0, seed=4)
    method = DreamBooth(tiny, class_batch_size=class_batch_size, prior_loss_weight=0.3, **PRIOR)
    method.prepare(pictures, config)
    batch = draw_batch(2, count=4, size=batch_size, seed=4)
    loss = method.loss(batch, unet=method.sd.unet)

    batch = draw_batch(2, count=4, size=batch_size, seed=4)
    other = batch.beside(3, class_batch_size or batch_size)
    schedule = NoiseSchedule.from_scheduler(tiny.noise_scheduler)
    halves = []
    for half, first, prompt in (
        (batch, 0, "a picture of sks person"),
        (other, 4, "a picture of a person"),
    ):
        losses = []
        for index, generator in zip(half.indices, half.generators, strict=True):
            latents = method.moments.latents([first + index], [generator])
            timestep = torch.randint(1000, (1,), generator=generator)
            noise = torch.randn((4, 8, 8), generator=generator).unsqueeze(0)
            noisy_latents = tiny.noise_scheduler.add_noise(latents, noise, timestep)
            states = tiny.encode_prompt([prompt])
            model_pred = tiny.unet(noisy_latents, timestep, states).sample
            weight = min_snr_weights(schedule.snr(timestep), 5.0, "epsilon")
            losses.append(weight * torch.nn.functional.mse_loss(model_pred, noise))
        halves.append(torch.cat(losses).mean())
    assert_close(loss, halves[0] + 0.3 * halves[1], rtol=1e-4, atol=1e-6)


def test_class_pictures_are_drawn_at_the_training_size_and_used_again(tiny, pictures, tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"stray")
    config = FitConfig(max_train_steps=1, train_batch_size=1, resolution=48)
    first = DreamBooth(tiny, class_data_dir=tmp_path, **PRIOR)
    run(fit(first, pictures, config))
    (tmp_path / "holiday.png").write_bytes(b"no picture")
    drawn = class_files(tmp_path)
    assert sorted(drawn) == [*(f"class-{i:05d}.png" for i in range(3)), "holiday.png"]
    with Image.open(tmp_path / "class-00000.png") as image:
        assert image.size == (48, 48)
    (tmp_path / "class-00001.png").unlink()
    second = DreamBooth(tiny, class_data_dir=tmp_path, **PRIOR)
    run(fit(second, pictures, config))
    assert class_files(tmp_path) == drawn
    in_memory = DreamBooth(tiny, **PRIOR)
    run(fit(in_memory, pictures, config))
    assert same(unet_weights(first), unet_weights(second))
    assert same(unet_weights(first), unet_weights(in_memory))


def test_class_pictures_of_other_settings_are_refused(tiny, pictures, tmp_path):
    run(fit(DreamBooth(tiny, class_data_dir=tmp_path, **PRIOR), pictures, FAST))
    other = DreamBooth(tiny, class_data_dir=tmp_path, class_prompt="a toy", **PRIOR)
    with pytest.raises(ValueError, match=r"class pictures .* of other settings"):
        run(fit(other, pictures, FAST))
    (tmp_path / "class-00002.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"class-00002\.png is broken"):
        run(fit(DreamBooth(tiny, class_data_dir=tmp_path, **PRIOR), pictures, FAST))


def test_own_class_pictures_are_taken_instead(tiny, pictures):
    method = DreamBooth(tiny, own_class_pictures=pictures[:2], class_prompt="{text}")
    method.prepare(pictures, FAST)
    assert method.prompts[4:] == [p.text for p in pictures[:2]]


def test_a_folder_of_own_class_pictures_is_taken_as_it_is(tiny, pictures, tmp_path):
    """They were ignored, and others drawn among them."""
    write_pictures(tmp_path / "own", pictures[:2])
    method = DreamBooth(tiny, class_data_dir=tmp_path / "own", class_prompt="{text}")
    run(fit(method, pictures, FAST))
    assert method.prompts[4:] == [p.text for p in pictures[:2]]
    names = {path.name for path in (tmp_path / "own").iterdir()}
    assert names == {"0000.png", "0001.png", "metadata.jsonl"}
    write_pictures(tmp_path / "run" / "class_pictures", pictures[2:])
    method = DreamBooth(tiny)
    run(fit(method, pictures, replace(FAST, output_dir=tmp_path / "run")))
    assert len(method.own_class_pictures) == 2
    (tmp_path / "own" / "0000.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"0000\.png cannot be read"):
        fit(DreamBooth(tiny, class_data_dir=tmp_path / "own"), pictures, FAST)


def test_class_pictures_of_more_steps_than_there_are_are_refused_before_drawing(tiny, pictures):
    method = DreamBooth(tiny, class_inference_steps=1000)
    with pytest.raises(ValueError, match="1000 sampler steps are too many"):
        fit(method, pictures, FAST)


def test_records_hold_no_paths_and_the_rate_that_was_trained_with(tiny, pictures, tmp_path):
    """Files that are passed on said where their maker keeps things."""
    config = replace(FAST, output_dir=tmp_path / "run", learning_rate=None)
    parts = DreamBooth(tiny, class_data_dir=tmp_path / "own", **PRIOR)
    for method in (parts, LoRA(tiny, rank=2), TextualInversion(tiny)):
        run(fit(method, pictures, config))
        made = method.record()
        assert str(tmp_path) not in json.dumps(made)
        assert made["base_model"] == tiny.name
        assert made["fit"]["learning_rate"] == method.default_learning_rate
        config = replace(config, output_dir=tmp_path / method.name)


def test_prompts_take_each_pictures_own_words(tiny, pictures):
    method = DreamBooth(
        tiny, instance_prompt="sks person on {background}", with_prior_preservation=False
    )
    method.prepare(pictures, FAST)
    assert method.prompts[:2] == ["sks person on red", "sks person on blue"]
    method = DreamBooth(tiny, instance_prompt="sks person with {hair}")
    with pytest.raises(ValueError, match='has no "hair"'):
        fit(method, pictures)


@pytest.mark.parametrize("train_text_encoder", [False, True])
def test_what_is_saved_loads_in_diffusers_and_draws_the_same(
    train_text_encoder, tiny, pictures, tmp_path
):
    method = DreamBooth(tiny, train_text_encoder=train_text_encoder, with_prior_preservation=False)
    run(fit(method, pictures, FAST))
    folder = method.save(tmp_path / "saved")
    assert (folder / "text_encoder").is_dir() == train_text_encoder
    saved = json.loads((folder / "artefact.json").read_text())
    assert saved["method"] == "dreambooth"
    assert saved["fit"]["max_train_steps"] == 2
    picture = draw(method.sd.pipeline())
    assert torch.equal(draw(tiny.with_artefact(folder).pipeline()), picture)
    assert not torch.equal(draw(tiny.pipeline()), picture)
    plain = copy.deepcopy(tiny).pipeline()
    plain.unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    if train_text_encoder:
        plain.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    assert_close(draw(plain), picture, rtol=1e-4, atol=1e-4)
    assert same(list(plain.unet.parameters()), unet_weights(method))


def test_an_artefact_of_another_model_is_refused(tiny, pictures, tmp_path):
    method = DreamBooth(tiny)
    folder = method.save(tmp_path / "saved")
    config = dict(tiny.unet.config)
    config["block_out_channels"] = (8, 16)
    UNet2DConditionModel(
        **{k: v for k, v in config.items() if not k.startswith("_")}
    ).save_pretrained(folder / "unet")
    with pytest.raises(ValueError, match="another model"):
        tiny.with_artefact(folder)


def test_a_model_in_half_precision_trains_in_float32(tiny, pictures):
    tiny.unet.to(torch.bfloat16)
    method = DreamBooth(tiny, with_prior_preservation=False)
    assert {p.dtype for p in method.sd.unet.parameters()} == {torch.float32}
    assert {p.dtype for p in tiny.unet.parameters()} == {torch.bfloat16}


def test_bad_settings_are_refused_in_words(tiny):
    with pytest.raises(ValueError, match="num_class_images is 0"):
        DreamBooth(tiny, num_class_images=0)
    with pytest.raises(ValueError, match="prior_loss_weight is -1"):
        DreamBooth(tiny, prior_loss_weight=-1.0)
    with pytest.raises(ValueError, match="instance_prompt is empty"):
        DreamBooth(tiny, instance_prompt=" ")
    with pytest.raises(TypeError, match="prior_los_weight"):
        DreamBooth(tiny, prior_los_weight=1.0)
    assert Picture(image=Image.new("RGB", (9, 9))).text == ""
