"""What can go wrong around LoRA: captions, targets, precision, resuming, DreamBooth through it."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from runs import draw, same, weights
from safetensors.torch import load_file
from test_lora import FAST
from torch.testing import assert_close

from sdlearn.data.folder import Picture
from sdlearn.finetune import DreamBooth, FitConfig, LoRA, LoRAConfig, fit, run
from sdlearn.training.settings import choose_learning_rate

PRIOR = {"num_class_images": 2, "class_inference_steps": 1, "sample_batch_size": 2}


@pytest.mark.parametrize("method_class", [LoRA, DreamBooth])
def test_straight_steps_equal_stopped_and_resumed_ones_bit_for_bit(
    method_class, loaded_tiny, pictures, tmp_path
):
    def make():
        if method_class is LoRA:
            return LoRA(
                loaded_tiny, train_text_encoder=True, dropout=0.2, caption_dropout=0.3, alpha=2.0
            )
        return DreamBooth(loaded_tiny, lora_rank=2, train_text_encoder=True, **PRIOR)

    config = FitConfig(
        max_train_steps=4, train_batch_size=2, learning_rate=1e-2, use_ema=True, ema_decay=0.5
    )
    straight = make()
    losses = run(fit(straight, pictures, config))
    config = replace(config, output_dir=tmp_path, checkpointing_steps=2)
    run(fit(make(), pictures, config))
    shutil.rmtree(tmp_path / "checkpoint-000004")
    torch.manual_seed(99)
    resumed = make()
    assert run(fit(resumed, pictures, replace(config, resume=True))) == losses[2:]
    assert same(weights(resumed), weights(straight))
    again = make()
    assert run(fit(again, pictures, replace(config, resume=True))) == []
    assert same(weights(again), weights(straight))


def test_a_method_starts_the_same_whatever_the_callers_random_numbers(loaded_tiny):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = LoRA(loaded_tiny)
    assert torch.equal(torch.rand(3), expected)
    assert same(weights(first), weights(LoRA(loaded_tiny)))


def test_recomputed_activations_give_the_same_updates(loaded_tiny, pictures):
    """Old checkpointing gives no gradients where the inputs themselves need none."""
    plain, saving = LoRA(loaded_tiny), LoRA(loaded_tiny)
    run(fit(plain, pictures, FAST))
    run(fit(saving, pictures, replace(FAST, gradient_checkpointing=True)))
    assert_close(weights(saving), weights(plain), rtol=1e-4, atol=1e-6)


def test_a_model_in_half_precision_keeps_it_while_its_updates_train_in_float32(tiny, pictures):
    tiny.to(dtype=torch.bfloat16)
    method = LoRA(tiny, train_text_encoder=True)
    assert {p.dtype for p in weights(method)} == {torch.float32}
    start = weights(method)
    run(fit(method, pictures, replace(FAST, mixed_precision="bf16")))
    assert not any(torch.equal(a, b) for a, b in zip(start, weights(method), strict=True))
    rest = {p.dtype for n, p in method.sd.unet.named_parameters() if "lora_" not in n}
    assert rest == {torch.bfloat16}
    assert torch.isfinite(draw(method.sd.pipeline())).all()


def test_pictures_without_captions_are_refused_in_words(loaded_tiny, pictures):
    bare = Picture(image=Image.new("RGB", (32, 32)))
    with pytest.raises(ValueError, match="has no caption: write one into"):
        fit(LoRA(loaded_tiny), [*pictures, bare])
    method = LoRA(loaded_tiny, prompt="a picture of sks")
    run(fit(method, [bare], replace(FAST, train_batch_size=1)))
    assert method.prompts == ["a picture of sks"]
    with pytest.raises(ValueError, match='has no "hair"'):
        fit(LoRA(loaded_tiny, prompt="sks with {hair}"), pictures)


def test_targets_that_are_no_layers_are_refused_with_those_there_are(loaded_tiny):
    with pytest.raises(ValueError, match=r'"to_z" names no layers of the unet .* to_k, to_q'):
        LoRA(loaded_tiny, target_modules=("to_q", "to_z"))
    with pytest.raises(ValueError, match='target_modules: "attn1" names no layers'):
        LoRA(loaded_tiny, target_modules=("attn1",))
    with pytest.raises(ValueError, match=r'text_encoder_target.*"to_q" .* of the text_encoder'):
        LoRA(loaded_tiny, train_text_encoder=True, text_encoder_target_modules=("to_q",))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rank": 0}, "rank is 0: give at least 1"),
        ({"alpha": 0.0}, "alpha is 0.0: give a number above 0"),
        ({"alpha": float("inf")}, "alpha is inf: give a number above 0"),
        ({"dropout": 1.0}, "dropout is 1.0: give a share"),
        ({"caption_dropout": -0.1}, "caption_dropout is -0.1"),
        ({"prompt": " "}, "prompt is empty"),
        ({"target_modules": ()}, "target_modules is empty"),
        ({"text_encoder_learning_rate": 0.0}, "text_encoder_learning_rate is 0.0"),
    ],
)
def test_bad_settings_are_refused_in_words(settings, words):
    with pytest.raises(ValueError, match=words):
        LoRAConfig(**settings)


def test_dreambooth_through_lora_keeps_the_prior_and_changes_no_weight(tiny, pictures, tmp_path):
    before = [p.detach().clone() for model in tiny.models for p in model.parameters()]
    base_picture = draw(tiny.pipeline())
    lora = {"lora_rank": 2, "lora_alpha": 4.0}  # updates count twice, which rounds nothing
    method = DreamBooth(tiny, **lora, train_text_encoder=True, **PRIOR)
    whole = DreamBooth(tiny, **PRIOR)
    assert {p.shape[0] for p in weights(method)[::2]} == {2}
    # at the start both draw the same class pictures and have the same loss
    config = replace(FAST, max_train_steps=1)
    first, second = run(fit(method, pictures, config)), run(fit(whole, pictures, config))
    assert_close(first, second)
    without = DreamBooth(tiny, lora_rank=2, with_prior_preservation=False)
    assert run(fit(without, pictures, config))[0] < first[0]
    assert same([p for model in tiny.models for p in model.parameters()], before)

    folder = method.save(tmp_path / "subject")
    assert not (folder / "unet").exists()
    assert json.loads((folder / "artefact.json").read_text())["method"] == "dreambooth-lora"
    kohya = load_file(folder / "subject_comfyui_a1111.safetensors")
    assert {float(t) for k, t in kohya.items() if "alpha" in k}
    picture = draw(tiny.with_artefact(folder).pipeline())
    assert torch.equal(picture, draw(method.sd.pipeline()))
    assert not torch.equal(picture, base_picture)


def test_dreambooth_through_lora_learns_at_loras_rate(tiny):
    method = DreamBooth(replace(tiny, learning_rates={"dreambooth": 1.0}), lora_rank=2)
    assert choose_learning_rate(method, FitConfig()) == LoRA.default_learning_rate
    with pytest.raises(ValueError, match="lora_rank is 0"):
        DreamBooth(tiny, lora_rank=0)
    with pytest.raises(ValueError, match=r"lora_alpha is 2\.0: give .* a lora_rank with it"):
        DreamBooth(tiny, lora_alpha=2.0)
