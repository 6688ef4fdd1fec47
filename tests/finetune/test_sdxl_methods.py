"""Every method trains SDXL: what should stay stays to the bit, and what is saved draws the same."""

import copy

import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from runs import draw
from stand_ins import stand_in
from torch.testing import assert_close
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sdlearn.finetune import DreamBooth, FitConfig, FullFineTuning, LoRA, TextualInversion, fit, run

FAST = FitConfig(max_train_steps=2, train_batch_size=2, learning_rate=1e-2)
PRIOR = {"num_class_images": 2, "class_inference_steps": 1}
ENCODERS = {"text_encoder", "text_encoder_2"}
METHODS = {
    "textual inversion": (lambda sd: TextualInversion(sd), ENCODERS),
    "dreambooth": (lambda sd: DreamBooth(sd, **PRIOR), {"unet"}),
    "dreambooth and text encoders": (
        lambda sd: DreamBooth(sd, train_text_encoder=True, **PRIOR),
        {"unet", *ENCODERS},
    ),
    "dreambooth through lora": (lambda sd: DreamBooth(sd, lora_rank=2, **PRIOR), {"unet"}),
    "lora and text encoders": (
        lambda sd: LoRA(sd, train_text_encoder=True),
        {"unet", *ENCODERS},
    ),
    "full": (lambda sd: FullFineTuning(sd), {"unet"}),
    "full and text encoders": (
        lambda sd: FullFineTuning(sd, train_text_encoder=True),
        {"unet", *ENCODERS},
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_its_parts_only_and_its_file_draws_the_same(
    name, tiny_xl, pictures, tmp_path
):
    make, parts = METHODS[name]
    before = [copy.deepcopy(model.state_dict()) for model in tiny_xl.models]
    method = make(tiny_xl)
    assert method.trained().keys() == parts
    groups = method.parameter_groups(1.0)
    start = [p.detach().clone() for group in groups for p in group["params"]]
    run(fit(method, pictures, FAST))
    moved = [p for group in groups for p in group["params"]]
    assert all(not torch.equal(p, q) for p, q in zip(moved, start, strict=True))
    for part in method.trained().values():  # all that could train did get a gradient
        trainable = {id(p) for p in part.parameters() if p.requires_grad}
        assert trainable <= {id(p) for p in moved}
    for model, state_dict in zip(tiny_xl.models, before, strict=True):
        after = model.state_dict()
        assert all(torch.equal(after[key], value) for key, value in state_dict.items())
    for kept in {"unet", "vae", *ENCODERS} - parts:
        assert getattr(method.sd, kept) is getattr(tiny_xl, kept)
    prompt = "a picture of <my-character>, sks person"
    picture = draw(method.sd.pipeline(), prompt)
    again = tiny_xl.with_artefact(method.save(tmp_path / "saved"))
    assert_close(draw(again.pipeline(), prompt), picture, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(draw(tiny_xl.pipeline(), prompt), picture, atol=1e-4)


def test_dreambooth_and_its_text_encoders_open_in_diffusers(
    tiny_xl, tiny_xl_folder, pictures, tmp_path
):
    method = METHODS["dreambooth and text encoders"][0](tiny_xl)
    run(fit(method, pictures, FAST))
    folder = method.save(tmp_path)
    plain = StableDiffusionXLPipeline.from_pretrained(
        tiny_xl_folder,
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        text_encoder_2=CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2"),
        add_watermarker=False,
    )
    plain.scheduler = tiny_xl.sampler()
    assert_close(draw(plain), draw(method.sd.pipeline()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_models_with_all_blocks_of_the_real_ones_train(kind, pictures):
    sd = stand_in(kind)
    method = DreamBooth(sd, with_prior_preservation=False, train_text_encoder=True)
    losses = run(fit(method, pictures, FitConfig(max_train_steps=1, train_batch_size=1)))
    assert 0 < losses[0] < 10
    old, new = (dict(model.named_parameters()) for model in (sd.unet, method.sd.unet))
    assert all(not torch.equal(new[name], old[name]) for name in new)


def test_the_unet_is_told_where_each_picture_was_cut(tiny_xl, pictures, monkeypatch):
    """A picture of 96 x 48 pixels is scaled to 64 x 32, and the middle of it is cut out."""
    wide = [copy.copy(picture) for picture in pictures]
    for picture in wide:
        object.__setattr__(picture, "image", picture.image.resize((96, 48)))
    told = []
    forward = type(tiny_xl.unet).forward

    def listen(self, *args, added_cond_kwargs, **kwargs):
        told.append(added_cond_kwargs["time_ids"])
        return forward(self, *args, added_cond_kwargs=added_cond_kwargs, **kwargs)

    monkeypatch.setattr(type(tiny_xl.unet), "forward", listen)
    run(fit(TextualInversion(tiny_xl), wide, FitConfig(max_train_steps=1, train_batch_size=2)))
    assert told[0].tolist() == [[48, 96, 0, 16, 32, 32]] * 2
