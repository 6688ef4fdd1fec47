"""Bugs that other trainers have or had, and loops like ours could have: each has a test.

Those whose test is elsewhere (TI, DB, T2I, IMG are diffusers' scripts for Textual Inversion,
DreamBooth, text to image and Imagic, XL their SDXL versions; numbers are of threads there):

| bug | test |
| --- | --- |
| DB: min-SNR weights of 2B samples for B losses | dreambooth: prior_and_min_snr |
| XL LoRA: min-SNR of v-prediction plus 1; division by 0 at zero SNR | diffusion: min_snr |
| TI XL: casts what trains, so that updates get lost (9010) | dreambooth, lora_training: half |
| TI XL: the sizes it is told are of another cut than the latents | sdxl_methods: cut |
| TI, DB, T2I: resuming is no continuation, a finished run trains on | loop_resuming |
| DB: class pictures of another size, unseeded, any file counts | dreambooth: class_pictures |
| TI, DB: any file in the folder is a picture; EXIF rotation | folder |
| LoRA: alpha, or ranks of a layer's own, are lost on saving | lora_files, lora_loading |
| IMG: ends differ, noise without generator, model changed | imagic, imagic_result |
| TI: the learned row decays, old rows drift | textual_inversion: weight_decay, new_rows |
| TI: several vectors are saved or prompted in part | textual_inversion: several_vectors |
| DB: text encoder and U-Net share a learning rate | dreambooth: learning_rate |
| waifu-diffusion: the average forgets; XL TI: it never moves | loop: moving_average |
| waifu-diffusion: clips before unscaling | loop_precision: unscaled |
| fused AdamW under a scaler: skipped steps go unseen | loop_precision: overflows |
| accelerate: unwrapping peels a text encoder | loop_precision: leaves_nothing |
| XL: the VAE gives NaN in float16 | cache: finite |
| the schedule is stepped by accumulation, or once a process | loop: schedule; accelerate |
| transformers 5.6: saved keys that older readers lack | models: keys |
| eos_token_id 2: SDXL pools the prompt at the new word | textual_inversion_sdxl: place |
| a loss that is not finite trains on, or is kept | loop, loop_keeping, loop_precision |
"""

import ast
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import make_scheduler
from runs import dreambooth, same, weights
from safetensors.torch import load_file

import sdlearn
from sdlearn.data.folder import to_pixel_values
from sdlearn.finetune import (
    DreamBooth,
    FitConfig,
    FullFineTuning,
    LoRA,
    TextualInversion,
    class_pictures,
    fit,
    run,
)
from sdlearn.finetune.denoising import losses_at
from sdlearn.finetune.parts import TrainedParts

CONFIG = FitConfig(max_train_steps=2, train_batch_size=2, learning_rate=1e-2)
PRIOR = {"num_class_images": 2, "class_inference_steps": 1}
SOURCES = [(path, path.read_text()) for path in Path(sdlearn.__file__).parent.rglob("*.py")]


@pytest.fixture
def seen(monkeypatch):
    """Latents, timesteps and prompts of every forward pass."""
    passes, prompts = [], []
    condition = TrainedParts.condition

    def look_at_prompts(self, words, text_encoders):
        prompts.append(list(words))
        return condition(self, words, text_encoders)

    def look(unet, latents, conditioning, noise, timesteps, **settings):
        passes.append((latents, timesteps, prompts[-1] if prompts else None))
        return losses_at(unet, latents, conditioning, noise, timesteps, **settings)

    monkeypatch.setattr(TrainedParts, "condition", look_at_prompts)
    monkeypatch.setattr("sdlearn.finetune.denoising.losses_at", look)
    return passes


def mean_latents(moments, noise, scaling_factor):
    """Latents without their noise, by which pictures can be told apart."""
    return moments.float().chunk(2, dim=1)[0] * scaling_factor


def captioned(name, sd):
    return {
        "lora": lambda: LoRA(sd),
        "full": lambda: FullFineTuning(sd, caption_dropout=0.0, aspect_ratio_buckets=False),
        "dreambooth": lambda: DreamBooth(
            sd, instance_prompt="{text}", with_prior_preservation=False
        ),
    }[name]()


@pytest.mark.parametrize("name", ["lora", "full", "dreambooth"])
def test_a_picture_keeps_its_own_caption_in_every_epoch(name, tiny, pictures, seen, monkeypatch):
    """The advanced scripts index cached latents by step while the loader shuffles anew."""
    monkeypatch.setattr("sdlearn.data.cache.latents_from_moments", mean_latents)
    run(fit(captioned(name, tiny), pictures, replace(CONFIG, max_train_steps=6)))
    pixel_values = torch.stack([to_pixel_values(p.image, 32) for p in pictures])
    with torch.no_grad():
        means = tiny.vae.encode(pixel_values).latent_dist.mean * 0.7
    order = []
    for latents, _, prompts in seen:
        for latent, prompt in zip(latents, prompts, strict=True):
            nearest = int((means - latent).square().flatten(1).sum(1).argmin())
            assert prompt == pictures[nearest].text
            order.append(nearest)
    assert [sorted(order[start : start + 4]) for start in (0, 4, 8)] == [[0, 1, 2, 3]] * 3
    assert order[:4] != order[4:8] or order[4:8] != order[8:]


@pytest.mark.parametrize("method_class", [LoRA, FullFineTuning])
def test_sample_mirroring_and_dropout_are_drawn_anew_in_every_epoch(
    method_class, tiny, pictures, seen, monkeypatch
):
    """TI XL draws once for the run which captions are left out; others cache one sample."""
    config = replace(CONFIG, max_train_steps=10, train_batch_size=1, random_flip=True)
    run(fit(method_class(tiny, caption_dropout=0.5), pictures[:1], config))
    assert {prompt for _, _, (prompt,) in seen} == {"", pictures[0].text}
    assert len({tuple(latents.flatten().tolist()) for latents, _, _ in seen}) == 10
    seen.clear()
    monkeypatch.setattr("sdlearn.data.cache.latents_from_moments", mean_latents)
    run(fit(method_class(tiny), pictures[:1], config))
    assert len({tuple(latents.flatten().tolist()) for latents, _, _ in seen}) == 2


def test_only_full_fine_tuning_leaves_captions_out_by_default(tiny, pictures, seen):
    """diffusers' scripts never do; SD itself was trained with a tenth left out."""
    assert FullFineTuning(tiny).config.caption_dropout == 0.1
    for name in ("lora", "dreambooth"):
        run(fit(captioned(name, tiny), pictures, replace(CONFIG, max_train_steps=16)))
    assert not any("" in prompts for _, _, prompts in seen)


@pytest.mark.parametrize("parts", [1, 3])
def test_each_update_is_of_all_its_batches_also_the_first(parts, tiny, pictures, seen):
    """cloneofsimo's loop updates after the first batch, as 0 is a multiple of everything."""
    config = replace(CONFIG, gradient_accumulation_steps=parts, train_batch_size=1)
    for number, _ in enumerate(fit(dreambooth(tiny), pictures, config), start=1):
        assert len(seen) == number * parts


def test_all_that_trains_waits_with_its_gradients_until_the_last_batch(tiny, pictures, monkeypatch):
    """DB waits with the U-Net's alone where the text encoder trains too (7600)."""
    held, no_sync = [], Accelerator.no_sync

    def look(self, model):
        held.append(model)
        return no_sync(self, model)

    monkeypatch.setattr(Accelerator, "no_sync", look)
    method = dreambooth(tiny)
    run(fit(method, pictures, replace(CONFIG, max_train_steps=1, gradient_accumulation_steps=3)))
    assert held == [*method.trained().values()] * 2


def test_no_gradient_is_kept_between_updates(tiny, pictures):
    """DB keeps and overwrites them: as much memory as the weights."""
    method = dreambooth(tiny)
    for _ in fit(method, pictures, CONFIG):
        assert all(p.grad is None for model in method.sd.models for p in model.parameters())


def test_what_would_train_in_half_precision_is_refused(tiny, pictures):
    """Its updates would be rounded away (6552, 9010)."""
    method = TextualInversion(tiny)
    method.new_rows[0].rows.data = method.new_rows[0].rows.data.bfloat16()
    with pytest.raises(TypeError, match=r"rows trains in torch.bfloat16: make it float32"):
        run(fit(method, pictures, CONFIG))


def test_sdxls_learned_words_resume_bit_for_bit(loaded_tiny_xl, pictures, tmp_path):
    """kohya's trainer ignored what it should have gone on from."""
    straight = TextualInversion(loaded_tiny_xl)
    run(fit(straight, pictures, CONFIG))
    config = replace(CONFIG, output_dir=tmp_path, checkpointing_steps=1)
    next(fit(TextualInversion(loaded_tiny_xl), pictures, config))
    resumed = TextualInversion(loaded_tiny_xl)
    assert len(run(fit(resumed, pictures, replace(config, resume=True)))) == 1
    assert same(weights(resumed), weights(straight))


def test_a_resumed_lora_is_saved_in_the_same_files_bit_for_bit(loaded_tiny, pictures, tmp_path):
    """diffusers' T2I LoRA has other keys in its checkpoints than in its result."""
    config = replace(CONFIG, output_dir=tmp_path / "run", checkpointing_steps=1)
    straight = LoRA(loaded_tiny)
    run(fit(straight, pictures, CONFIG))
    next(fit(LoRA(loaded_tiny), pictures, config))
    resumed = LoRA(loaded_tiny)
    run(fit(resumed, pictures, replace(config, resume=True)))
    one, two = (m.save(tmp_path / n / "it") for m, n in ((straight, "one"), (resumed, "two")))
    files = sorted(path.name for path in one.glob("*.safetensors"))
    assert len(files) == 2
    for name in files:
        ours, theirs = (load_file(folder / name) for folder in (one, two))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_class_pictures_are_what_the_given_model_draws(tiny, pictures, tmp_path):
    """Also when the subject was learnt before: the prior is that of the model as it was given."""
    method = DreamBooth(tiny, class_data_dir=tmp_path, **PRIOR)
    with torch.no_grad():
        for parameter in method.sd.unet.parameters():
            parameter.mul_(0.5)
    run(fit(method, pictures, CONFIG))
    settings = {"prompt": "a picture of a person", "size": 32, "seed": 0, "steps": 1}
    drawn = class_pictures._draw(tiny, [0], {**settings, "guidance_scale": 5.0})[0]
    kept = class_pictures._read(tmp_path / "class-00000.png", 32)
    assert np.array_equal(np.array(kept), np.array(drawn))


def test_the_number_of_timesteps_is_the_schedulers(tiny, pictures, seen):
    """IMG has 1000 in its code, and the scale of SD 1's latents, which belongs to a model's."""
    sd = replace(tiny, noise_scheduler=make_scheduler(num_train_timesteps=10))
    run(fit(dreambooth(sd), pictures, replace(CONFIG, max_train_steps=20)))
    assert {int(t) for _, timesteps, _ in seen for t in timesteps} == set(range(10))
    for number in ("0.18215", "0.13025"):
        assert [path.name for path, text in SOURCES if number in text] == ["architectures.py"]


def test_no_device_is_written_into_the_code_of_autocast():
    """TI, DB and T2I draw under autocast("cuda"), on whatever device they run."""
    literal = [
        path.name
        for path, text in SOURCES
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("autocast")
        and any(isinstance(word, ast.Constant) for word in node.args)
    ]
    assert literal == []
    assert sum("autocast(" in text for _, text in SOURCES) > 1


def test_training_calls_nothing_that_is_about_to_go(tiny, pictures, tmp_path):
    """`gradient_checkpointing_enable` and such break with the next release."""
    config = replace(CONFIG, gradient_checkpointing=True, use_ema=True, output_dir=tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        method = dreambooth(tiny)
        run(fit(method, pictures, config))
        method.save(tmp_path / "learnt")
