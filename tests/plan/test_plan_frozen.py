"""Parts that do not train are loaded in half precision on a GPU, as plans count on."""

import pytest
import torch

from sdlearn import cli
from sdlearn.data import write_pictures
from sdlearn.finetune import (
    DreamBooth,
    FitConfig,
    FullFineTuning,
    Imagic,
    LoRA,
    TextualInversion,
    fit,
)
from sdlearn.training.accelerator import frozen_dtype

METHODS = {
    "textual-inversion": lambda sd: TextualInversion(sd, placeholder_token="<new>"),
    "dreambooth": lambda sd: DreamBooth(sd, num_class_images=1, class_inference_steps=1),
    "lora": lambda sd: LoRA(sd, train_text_encoder=True),
    "full": FullFineTuning,
}


@pytest.mark.parametrize(
    ("mixed_precision", "on_gpu", "expected"),
    [
        ("bf16", True, torch.bfloat16),
        ("fp16", True, torch.float16),
        ("no", True, torch.float32),
        ("bf16", False, torch.float32),
    ],
)
def test_frozen_parts_are_half_in_mixed_precision_on_a_gpu_only(
    mixed_precision, on_gpu, expected, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: on_gpu)
    assert frozen_dtype(FitConfig(mixed_precision=mixed_precision)) == expected


@pytest.mark.parametrize("options", [["dreambooth"], ["imagic", "--target-prompt", "a toy"]])
def test_the_command_line_loads_frozen_parts_in_that_precision(
    options, pictures, tmp_path, monkeypatch
):
    asked = []

    def load(name, dtype, *, in_place):
        asked.append(dtype)
        raise ValueError("enough")

    monkeypatch.setattr("sdlearn.models.load", load)
    monkeypatch.setattr("sdlearn.training.accelerator.frozen_dtype", lambda fit: torch.float64)
    write_pictures(tmp_path / "pictures", pictures[:1])
    method, *settings = options
    arguments = [method, str(tmp_path / "pictures"), "--output", str(tmp_path / "learnt")]
    with pytest.raises(ValueError, match="enough"):
        cli.main(["train", *arguments, *settings])
    assert asked == [torch.float64]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_float32_weights_beside_half_ones(name, tiny, pictures, tmp_path):
    method = METHODS[name](tiny.to(dtype=torch.bfloat16))
    trained = [p for group in method.parameter_groups(1.0) for p in group["params"]]
    before = [parameter.detach().clone() for parameter in trained]
    settings = FitConfig(max_train_steps=1, train_batch_size=1, mixed_precision="bf16")
    for step in fit(method, pictures[:1], settings):
        assert torch.isfinite(step.loss)
    assert {parameter.dtype for parameter in trained} == {torch.float32}
    assert any(not torch.equal(old, new) for old, new in zip(before, trained, strict=True))
    assert method.sd.vae.dtype == torch.bfloat16
    method.save(tmp_path / "learnt")


def test_imagic_trains_float32_weights_beside_half_ones(tiny, pictures):
    half = tiny.to(dtype=torch.bfloat16)
    imagic = Imagic(half, target_prompt="a toy", embedding_steps=1, unet_steps=1)
    for step in fit(imagic, pictures[:1], FitConfig(train_batch_size=1, mixed_precision="bf16")):
        assert torch.isfinite(step.loss)
    assert imagic.e_opt.encoder_hidden_states.dtype == torch.float32
    assert {p.dtype for p in imagic.sd.unet.parameters()} == {torch.float32}
    assert imagic.base.unet.dtype == torch.bfloat16
