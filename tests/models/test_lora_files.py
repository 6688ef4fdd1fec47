"""LoRA files: their keys, and that diffusers' own loaders draw the same picture from them."""

import copy
import json

import diffusers
import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.training_utils import _collate_lora_metadata
from packaging.version import Version
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from runs import draw
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from sdlearn.finetune import LoRA
from sdlearn.models.architectures import SD15, SDXL
from sdlearn.models.lora import (
    TRAINED,
    adapted_layers,
    adapter_weights,
    layers_of,
    new_adapter,
    read_adapter,
)
from sdlearn.models.lora_files import kohya_tensors, read_lora
from sdlearn.models.lora_names import kohya_name
from sdlearn.plan.blank import blank_model

DIFFUSERS = "pytorch_lora_weights.safetensors"
KOHYA = "my-lora_comfyui_a1111.safetensors"
# diffusers 0.39 looks for layers of the text encoder under names that transformers 5 has given up
READS_KOHYAS_TEXT_ENCODER = Version(diffusers.__version__) >= Version("0.40")
CONVOLUTIONS = ("conv_in", "conv1", "conv_shortcut", "time_emb_proj", "proj_in", "linear_1")
SMALL = {  # model -> paths of its transformer blocks, and of its text encoders' layers
    "tiny": (
        [
            "down_blocks.0.attentions.0.transformer_blocks.0",
            "mid_block.attentions.0.transformer_blocks.0",
            "up_blocks.1.attentions.0.transformer_blocks.0",
            "up_blocks.1.attentions.1.transformer_blocks.0",
        ],
        {"text_encoder": 2},
    ),
    "tiny_xl": (
        [
            f"{block}.attentions.{i}.transformer_blocks.{j}"
            for block, count in (("down_blocks.1", 1), ("mid_block", 1), ("up_blocks.0", 2))
            for i in range(count)
            for j in range(2)
        ],
        {"text_encoder": 3, "text_encoder_2": 3},
    ),
}


def trained(sd, **settings):
    """A method with updates that do something, as if it had trained."""
    method = LoRA(sd, **settings)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for group in method.parameter_groups(1.0):
            for parameter in group["params"]:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return method


@pytest.fixture(params=["tiny", "tiny_xl"])
def model(request):
    return request.param


@pytest.fixture
def sd(model, request):
    return request.getfixturevalue(model)


def unet_layers(model):
    attention = [
        f"{kind}.{layer}"
        for kind in ("attn1", "attn2")
        for layer in ("to_q", "to_k", "to_v", "to_out.0")
    ]
    layers = [*attention, "ff.net.0.proj", "ff.net.2"]
    return [f"{block}.{layer}" for block in SMALL[model][0] for layer in layers]


def text_layers(model):
    return [
        (part, f"text_model.encoder.layers.{i}.self_attn.{layer}")
        for part, layers in SMALL[model][1].items()
        for i in range(layers)
        for layer in ("q_proj", "k_proj", "v_proj", "out_proj")
    ]


def stabilitys(path):
    """A path of the small SDXL's U-Net, of one layer a block, as Stability's own code has it."""
    for ours, theirs in (
        ("down_blocks.1.attentions.0.", "input_blocks.3.1."),
        ("mid_block.attentions.0.", "middle_block.1."),
        ("up_blocks.0.attentions.0.", "output_blocks.0.1."),
        ("up_blocks.0.attentions.1.", "output_blocks.1.1."),
    ):
        path = path.replace(ours, theirs)
    return path


def test_diffusers_file_has_exactly_the_keys_that_every_version_reads(model, sd, tmp_path):
    folder = trained(sd, rank=3, alpha=6.0, train_text_encoder=True).save(tmp_path / "my-lora")
    assert {p.name for p in folder.iterdir()} == {DIFFUSERS, KOHYA, "artefact.json", "README.md"}
    expected = {
        *(f"unet.{p}.lora.{s}.weight" for p in unet_layers(model) for s in ("down", "up")),
        *(
            f"{part}.{path}.lora_linear_layer.{s}.weight"
            for part, path in text_layers(model)
            for s in ("down", "up")
        ),
    }
    tensors = load_file(folder / DIFFUSERS)
    assert tensors.keys() == expected
    assert {t.shape[0 if ".down." in key else 1] for key, t in tensors.items()} == {3}


def test_the_name_of_one_file_is_refused_before_anything_is_written(tiny, tmp_path):
    """The refusal used to name a folder within, which it had made for that."""
    for path in (tmp_path / "new.safetensors", tmp_path / "old.safetensors"):
        (tmp_path / "old.safetensors").write_bytes(b"old")
        with pytest.raises(ValueError, match=rf"{path.name} names one file, and a LoRA is saved"):
            LoRA(tiny, rank=2).save(path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_kohya_file_has_exactly_kohyas_keys_and_alpha(model, sd, tmp_path):
    folder = trained(sd, rank=3, alpha=6.0, train_text_encoder=True).save(tmp_path / "my-lora")
    prefixes = (
        {"text_encoder": "lora_te"}
        if model == "tiny"
        else {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
    )
    paths = [stabilitys(path) if model == "tiny_xl" else path for path in unet_layers(model)]
    names = [f"lora_unet_{path.replace('.', '_')}" for path in paths]
    names += [f"{prefixes[part]}_{path.replace('.', '_')}" for part, path in text_layers(model)]
    tensors = load_file(folder / KOHYA)
    assert tensors.keys() == {
        f"{name}.{end}" for name in names for end in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    assert {float(t) for key, t in tensors.items() if key.endswith("alpha")} == {6.0}
    mid = "middle_block_1" if model == "tiny_xl" else "mid_block_attentions_0"
    assert f"lora_unet_{mid}_transformer_blocks_0_attn1_to_out_0.lora_up.weight" in tensors
    plain = load_file(folder / DIFFUSERS)
    for ours, name in zip(unet_layers(model), names, strict=False):
        up = tensors[f"{name}.lora_up.weight"] * (6.0 / 3)
        assert torch.equal(up, plain[f"unet.{ours}.lora.up.weight"])


def test_the_values_are_those_of_pefts_own_state(sd, tmp_path):
    method = trained(sd, train_text_encoder=True)
    tensors = load_file(method.save(tmp_path / "my-lora") / DIFFUSERS)
    for part, module in method.trained().items():
        for key, value in get_peft_model_state_dict(module, adapter_name=TRAINED).items():
            path, side = key.removesuffix(".weight").rsplit(".lora_", 1)
            prefix = "" if part == "unet" or path.startswith("text_model.") else "text_model."
            middle = "lora" if part == "unet" else "lora_linear_layer"
            name = f"{part}.{prefix}{path}.{middle}.{'down' if side == 'A' else 'up'}.weight"
            assert torch.equal(tensors.pop(name), value)  # alpha is the rank
    assert not tensors


def test_the_metadata_agrees_with_what_diffusers_would_write(sd, tmp_path):
    method = trained(sd, rank=3, alpha=6.0, train_text_encoder=True)
    with safe_open(method.save(tmp_path / "my-lora") / DIFFUSERS, "pt") as file:
        ours = json.loads(file.metadata()["lora_adapter_metadata"])
    theirs = _collate_lora_metadata(method.trained())
    for part in method.trained():
        full = theirs[f"{part}_lora_adapter_metadata"]
        assert ours[f"{part}.r"] == full["r"] == 3
        assert full["lora_alpha"] == 6.0
        assert ours[f"{part}.lora_alpha"] == 3  # alpha is in the weights
        assert set(ours[f"{part}.target_modules"]) == set(full["target_modules"])
        assert ours[f"{part}.rank_pattern"] == ours[f"{part}.alpha_pattern"] == {}


def check_both_files_draw_the_same(sd, method, folder, tolerance):
    method.save(folder)
    picture = draw(method.sd.pipeline())
    for file in (DIFFUSERS, KOHYA):
        if file == DIFFUSERS or "text_encoder" not in method.trained() or READS_KOHYAS_TEXT_ENCODER:
            plain = copy.deepcopy(sd).pipeline()
            plain.load_lora_weights(folder, weight_name=file)
            assert_close(draw(plain), picture, rtol=0, atol=tolerance)
        loaded = sd.with_artefact(folder / file).pipeline()
        assert_close(draw(loaded), picture, rtol=0, atol=tolerance)
    assert (draw(sd.pipeline()) - picture).abs().max() > 0.01


def test_diffusers_own_loader_draws_the_same_picture_from_both_files(sd, tmp_path):
    method = trained(sd, rank=3, alpha=6.0, train_text_encoder=True)
    check_both_files_draw_the_same(sd, method, tmp_path / "my-lora", tolerance=0)


def test_convolutions_and_embeddings_survive_both_files(sd, tmp_path):
    method = trained(sd, rank=3, alpha=6.0, target_modules=CONVOLUTIONS)
    check_both_files_draw_the_same(sd, method, tmp_path / "my-lora", tolerance=1e-5)


def test_a_folder_loads_in_diffusers_by_its_name_alone(tiny, tmp_path, monkeypatch):
    # offline, diffusers 0.39 wants the file's name too
    monkeypatch.setattr("diffusers.loaders.lora_base.HF_HUB_OFFLINE", False, raising=False)
    method = trained(tiny)
    folder = method.save(tmp_path / "my-lora")
    plain = copy.deepcopy(tiny).pipeline()
    plain.load_lora_weights(folder)
    assert torch.equal(draw(plain), draw(method.sd.pipeline()))
    with pytest.raises(ValueError, match="a LoRA is saved as two: name a folder"):
        method.save(tmp_path / "one.safetensors")


def test_alpha_other_than_the_rank_survives_each_file(tiny, tmp_path):
    """Programs that read no metadata take the rank for alpha, and draw the same all the same."""
    method = trained(tiny, rank=4, alpha=1.0)
    folder = method.save(tmp_path / "my-lora")
    updates = read_adapter(method.sd)["unet"]
    for file, alpha in ((DIFFUSERS, 4.0), (KOHYA, 1.0)):
        for path, read in read_lora(folder / file, tiny)["unet"].items():
            assert read.alpha == alpha
            own = updates[path]
            assert torch.equal(read.up * read.alpha / 4, own.up * own.alpha / 4)
    save_file(load_file(folder / DIFFUSERS), tmp_path / "bare.safetensors")
    plain = copy.deepcopy(tiny).pipeline()
    plain.load_lora_weights(tmp_path, weight_name="bare.safetensors")
    loaded = tiny.with_artefact(tmp_path / "bare.safetensors")
    assert torch.equal(draw(plain), draw(loaded.pipeline()))
    assert torch.equal(draw(plain), draw(method.sd.pipeline()))


def test_sdxl_files_with_stabilitys_names_of_blocks_load_as_in_diffusers(tiny_xl, tmp_path):
    """kohya's own SDXL trainer writes these names."""
    method = trained(tiny_xl, alpha=2.0, target_modules=("to_q", "conv1", "ff.net.2"))
    names = {  # one layer per block
        "down_blocks_0_resnets_0_conv1": "input_blocks_1_0_in_layers_2",
        "down_blocks_1_resnets_0_conv1": "input_blocks_3_0_in_layers_2",
        "down_blocks_1_attentions_0_": "input_blocks_3_1_",
        "mid_block_resnets_0_conv1": "middle_block_0_in_layers_2",
        "mid_block_attentions_0_": "middle_block_1_",
        "mid_block_resnets_1_conv1": "middle_block_2_in_layers_2",
        **{f"up_blocks_0_attentions_{i}_": f"output_blocks_{i}_1_" for i in (0, 1)},
        **{
            f"up_blocks_{i}_resnets_{j}_conv1": f"output_blocks_{2 * i + j}_0_in_layers_2"
            for i in (0, 1)
            for j in (0, 1)
        },
    }
    tensors = kohya_tensors(read_adapter(method.sd), tiny_xl)
    prefixes = tuple(f"lora_unet_{theirs}" for theirs in names.values())
    assert all(key.startswith(prefixes) for key in tensors)
    save_file(tensors, tmp_path / "kohya.safetensors")
    plain = copy.deepcopy(tiny_xl).pipeline()
    plain.load_lora_weights(tmp_path, weight_name="kohya.safetensors")
    picture = draw(tiny_xl.with_artefact(tmp_path / "kohya.safetensors").pipeline())
    assert_close(picture, draw(method.sd.pipeline()), rtol=0, atol=1e-5)
    assert_close(draw(plain), picture, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "layers", "weights"), [(SD15, 128, 797_184), (SDXL, 560, 5_806_080)]
)
def test_at_the_published_shapes_no_two_layers_share_a_name(architecture, layers, weights):
    with torch.device("meta"):
        unet = UNet2DConditionModel(**architecture.unet)
    targets = ["to_q", "to_k", "to_v", "to_out.0"]  # diffusers', of which the figures are known
    adapted = new_adapter(unet, LoraConfig(r=4, lora_alpha=4, target_modules=targets))
    assert len(adapted_layers(adapted)) == layers
    assert sum(weight.numel() for weight in adapter_weights(adapted, TRAINED)) == weights
    sd = blank_model(architecture, torch.float32)
    paths = layers_of(unet)
    assert len({kohya_name(sd, "unet", path) for path in paths}) == len(paths)
