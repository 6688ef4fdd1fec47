"""One file a model: what we write reads back bit for bit, here and by diffusers' own converters."""

import json

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.loaders import single_file_utils as theirs
from runs import draw
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from stand_ins import reduced, stand_in
from torch.testing import assert_close

from sdlearn.finetune import TextualInversion
from sdlearn.models import load, save_single_file
from sdlearn.models import single_file as ours
from sdlearn.models.architectures import ARCHITECTURES
from sdlearn.models.clip_tokenizer import clip_tokenizer
from sdlearn.models.original_keys import places

KINDS = ("sd15", "sdxl")
UNET, VAE = "model.diffusion_model.", "first_stage_model."
PUBLISHED = {  # names in the published files, by hand
    "sd15": [
        f"{UNET}time_embed.2.bias",
        f"{UNET}input_blocks.0.0.weight",
        f"{UNET}input_blocks.1.0.emb_layers.1.weight",
        f"{UNET}input_blocks.3.0.op.weight",
        f"{UNET}input_blocks.4.0.skip_connection.weight",
        f"{UNET}input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight",
        f"{UNET}input_blocks.11.0.out_layers.3.weight",
        f"{UNET}middle_block.1.transformer_blocks.0.ff.net.0.proj.weight",
        f"{UNET}middle_block.2.in_layers.0.weight",
        f"{UNET}output_blocks.2.1.conv.weight",
        f"{UNET}output_blocks.5.2.conv.weight",
        f"{UNET}output_blocks.11.0.skip_connection.weight",
        f"{UNET}out.2.weight",
        f"{VAE}encoder.down.2.downsample.conv.weight",
        f"{VAE}encoder.mid.attn_1.proj_out.weight",
        f"{VAE}decoder.up.0.block.2.norm2.bias",
        f"{VAE}decoder.up.1.upsample.conv.weight",
        f"{VAE}decoder.norm_out.weight",
        f"{VAE}post_quant_conv.bias",
        "cond_stage_model.transformer.text_model.final_layer_norm.weight",
    ],
    "sdxl": [
        f"{UNET}label_emb.0.2.weight",
        f"{UNET}input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight",
        f"{UNET}input_blocks.8.1.proj_in.weight",
        f"{UNET}output_blocks.2.2.conv.weight",
        f"{UNET}output_blocks.8.0.out_layers.0.weight",
        "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
        "conditioner.embedders.1.model.positional_embedding",
        "conditioner.embedders.1.model.token_embedding.weight",
        "conditioner.embedders.1.model.transformer.resblocks.1.attn.in_proj_weight",
        "conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_fc.bias",
        "conditioner.embedders.1.model.ln_final.weight",
        "conditioner.embedders.1.model.text_projection",
    ],
}


@pytest.fixture(scope="module", params=KINDS)
def saved(request, tmp_path_factory):
    """A model, and the file and the folder that it is saved as."""
    sd = stand_in(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    path = save_single_file(sd, folder / "model.safetensors")
    sd.pipeline().save_pretrained(folder / "folder")
    return sd, path, folder / "folder"


def same_weights(first, second):
    for one, other in zip(first.models, second.models, strict=True):
        ours, theirs = one.state_dict(), other.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_file_loads_back_bit_for_bit(saved):
    sd, path, _ = saved
    again = load(path, device="cpu")
    assert type(again) is type(sd)
    assert again.name == path.name
    same_weights(again, sd)
    assert not any(p.requires_grad for model in again.models for p in model.parameters())
    assert_close(draw(again.pipeline()), draw(sd.pipeline()), rtol=1e-4, atol=1e-4)
    assert torch.equal(again.tokenize(["a photo!"]), sd.tokenize(["a photo!"]))


def test_keys_are_those_of_the_published_files(saved):
    sd, path, _ = saved
    with safe_open(path, framework="pt") as file:
        keys = set(file.keys())
    assert set(PUBLISHED[sd.name]) <= keys


@pytest.mark.parametrize(("kind", "tensors", "others"), [("sd15", 1131, 1), ("sdxl", 2515, 2)])
def test_the_full_models_have_as_many_weights_as_the_published_files(kind, tensors, others):
    """The published files also hold `position_ids`, and SDXL's a `logit_scale`."""
    shape = ARCHITECTURES[kind]
    configs = {name: getattr(shape, name) for name in ("unet", "vae", "text_encoder")}
    configs |= {"text_encoder_2": shape.text_encoder_2}
    scheduler = {"_class_name": "DDIMScheduler", **shape.scheduler}
    with init_empty_weights():
        sd = ours._build({**configs, "noise_scheduler": scheduler}, {}, kind == "sdxl")
    keys = {place.key for part in places(sd).values() for place in part.values()}
    assert len(keys) == tensors - others


def test_diffusers_converters_read_the_same_weights(saved):
    sd, path, _ = saved
    file = load_file(path)
    prefix = "conditioner.embedders.0.transformer.text_model."
    if sd.name == "sd15":
        prefix = "cond_stage_model.transformer.text_model."
    converted = {
        "unet": theirs.convert_ldm_unet_checkpoint(dict(file), dict(sd.unet.config)),
        "vae": theirs.convert_ldm_vae_checkpoint(dict(file), dict(sd.vae.config)),
        "text_encoder": theirs.convert_ldm_clip_checkpoint(dict(file), prefix),
    }
    if sd.name == "sdxl":
        converted["text_encoder_2"] = theirs.convert_open_clip_checkpoint(
            sd.text_encoder_2, dict(file), "conditioner.embedders.1.model."
        )
    for name, state_dict in converted.items():
        own = getattr(sd, name).state_dict()
        if name == "text_encoder":
            own = {f"text_model.{key}": value for key, value in own.items()}
        assert {key for key in own if key in state_dict} == own.keys()
        assert all(torch.equal(state_dict[key], value) for key, value in own.items())


def test_diffusers_opens_the_file_as_a_pipeline_that_draws_the_same(saved):
    sd, path, folder = saved
    kind = StableDiffusionPipeline if sd.name == "sd15" else StableDiffusionXLPipeline
    extra = {"safety_checker": None} if sd.name == "sd15" else {"add_watermarker": False}
    plain = kind.from_single_file(path, config=str(folder), local_files_only=True, **extra)
    plain.scheduler = sd.sampler()
    assert_close(draw(plain), draw(sd.pipeline()), rtol=1e-4, atol=1e-4)


def test_a_file_from_elsewhere_is_written_again_bit_for_bit(saved, tmp_path, monkeypatch):
    sd, path, _ = saved
    monkeypatch.setitem(ARCHITECTURES, sd.name, reduced(sd.name))
    weights = load_file(path)
    others = {
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
        "conditioner.embedders.1.model.logit_scale": torch.ones(()),
        "model_ema.decay": torch.ones(()),
        "betas": torch.ones(1000),
    }
    save_file(weights | others, tmp_path / "elsewhere.safetensors")
    again = load(tmp_path / "elsewhere.safetensors", device="cpu")
    same_weights(again, sd)
    written = load_file(save_single_file(again, tmp_path / "again.safetensors"))
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[key], value) for key, value in weights.items())


def test_half_precision_is_written_when_asked_for_and_opened_in_float32(saved, tmp_path):
    sd, _, _ = saved
    path = save_single_file(sd, tmp_path / "half.safetensors", dtype=torch.float16)
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    again = load(path, device="cpu")
    assert {model.dtype for model in again.models} == {torch.float32}
    assert torch.equal(again.unet.conv_in.weight, sd.unet.conv_in.weight.half().float())


def test_a_model_with_a_vocabulary_of_its_own_brings_it_along(tiny, tmp_path):
    path = save_single_file(tiny, tmp_path / "tiny.safetensors")
    again = load(path, device="cpu")
    same_weights(again, tiny)
    assert torch.equal(again.tokenize(["a toy person"]), tiny.tokenize(["a toy person"]))
    with safe_open(path, framework="pt") as file:
        header = file.metadata()["sdlearn"]
    assert str(tmp_path.parent) not in header
    assert "_name_or_path" not in header
    assert json.loads(header)["parts"]["unet"]["block_out_channels"] == [16, 32]


def test_what_is_no_whole_checkpoint_is_refused_in_words(saved, tmp_path, monkeypatch):
    sd, path, _ = saved
    weights = load_file(path)

    def refused(tensors, message):
        save_file(tensors, tmp_path / "bad.safetensors")
        with pytest.raises(ValueError, match=message):
            load(tmp_path / "bad.safetensors", device="cpu")

    refused({"<cat>": torch.ones(1, 16)}, "is no model")
    refused({f"{UNET}out.2.bias": torch.ones(4)}, "a U-Net without text encoders")
    refused({"cond_stage_model.model.ln_final.bias": torch.ones(4)}, "is a Stable Diffusion 2")
    key = f"{UNET}out.2.bias"
    monkeypatch.setitem(ARCHITECTURES, sd.name, reduced(sd.name))
    refused({k: v for k, v in weights.items() if k != key}, f"lacks {key}: fetch the whole")
    refused(weights | {key: torch.ones(3)}, r"out\.2\.bias of \(3,\) and not \(4,\)")


def test_what_cannot_be_written_is_refused_in_words(tiny, tmp_path):
    with pytest.raises(ValueError, match="does not end in"):
        save_single_file(tiny, tmp_path / "model.ckpt")
    learning = TextualInversion(tiny)
    with pytest.raises(ValueError, match=r"token_embedding.* has no place in a single file"):
        save_single_file(learning.sd, tmp_path / "model.safetensors")
    tiny.unet.register_to_config(use_linear_projection=True)
    with pytest.raises(ValueError, match="Stable Diffusion 2"):
        save_single_file(tiny, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_model_that_predicts_velocities_is_marked_and_known_by_it(tmp_path, monkeypatch):
    sd = stand_in("sdxl")
    settings = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    sd.noise_scheduler.register_to_config(**settings)
    weights = load_file(save_single_file(sd, tmp_path / "v.safetensors"))
    save_file(weights, tmp_path / "without-header.safetensors")
    monkeypatch.setitem(ARCHITECTURES, "sdxl", reduced("sdxl"))
    again = load(tmp_path / "without-header.safetensors", device="cpu")
    assert {key: again.noise_scheduler.config[key] for key in settings} == settings


def test_the_tokenizer_is_clips():
    """Ids of CLIP's own vocabulary, known from the published model."""
    ids = clip_tokenizer()("a photo of a cat, a dog and a person").input_ids
    known = [320, 1125, 539, 320, 2368, 267, 320, 1929, 537, 320, 2533]
    assert ids == [49406, *known, 49407]
    padded = clip_tokenizer("!")("a cat", padding="max_length", max_length=6).input_ids
    assert padded == [49406, 320, 2368, 49407, 0, 0]
