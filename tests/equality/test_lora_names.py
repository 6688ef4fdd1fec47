"""Why LoRA files are named by our own tables: what diffusers' converters do with alpha and keys."""

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya

from sdlearn.models.architectures import SD15, SDXL
from sdlearn.models.lora import LowRank, layers_of
from sdlearn.models.lora_files import kohya_tensors
from sdlearn.plan.blank import blank_model

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
RANK, ALPHA = 4, 1.5


def model(architecture):
    return blank_model(architecture, torch.float32)


def update() -> LowRank:
    return LowRank(down=torch.ones(RANK, 8), up=torch.ones(8, RANK), alpha=ALPHA)


def test_diffusers_writer_of_kohyas_keys_loses_every_alpha_but_the_rank():
    """Nothing tells it: alpha 1.5 of rank 4 would be drawn 2.7 times too strongly elsewhere."""
    name = f"lora_unet_{LAYER.replace('.', '_')}"
    sides = {"lora_A": torch.ones(RANK, 8), "lora_B": torch.ones(8, RANK)}
    theirs = convert_state_dict_to_kohya({f"unet.{LAYER}.{s}.weight": t for s, t in sides.items()})
    ours = kohya_tensors({"unet": {LAYER: update()}}, model(SD15))
    assert theirs.keys() == ours.keys()
    assert (float(theirs[f"{name}.alpha"]), float(ours[f"{name}.alpha"])) == (RANK, ALPHA)


def test_diffusers_writer_names_the_one_text_encoder_of_sd_1_as_the_first_of_two():
    layer = "text_model.encoder.layers.0.self_attn.q_proj"
    sides = {"lora_A": torch.ones(RANK, 8), "lora_B": torch.ones(8, RANK)}
    state = {f"text_encoder.{layer}.{side}.weight": t for side, t in sides.items()}
    ours = kohya_tensors({"text_encoder": {layer: update()}}, model(SD15))
    assert {key.split("_text_model")[0] for key in ours} == {"lora_te"}
    theirs = convert_state_dict_to_kohya(state)
    assert {key.split("_text_model")[0] for key in theirs} == {"lora_te1"}


@pytest.mark.parametrize("architecture", [SD15, SDXL])
def test_diffusers_reader_finds_every_layer_and_alpha_under_our_names(architecture):
    """The other direction is right for these names, but a private function."""
    sd = model(architecture)
    paths = list(layers_of(sd.unet))
    tensors = kohya_tensors({"unet": dict.fromkeys(paths, update())}, sd)
    tensors = _maybe_map_sgm_blocks_to_diffusers(tensors, sd.unet.config)  # SDXL has Stability's
    state, alphas = _convert_non_diffusers_lora_to_diffusers(tensors)
    assert len(state) == 2 * len(paths)
    assert len(alphas) == len(paths)
    assert set(alphas.values()) == {ALPHA}
    plain = {key.replace(".processor", "").replace("to_out_lora", "to_out.0_lora") for key in state}
    expected = {f"unet.{path}" for path in paths}
    ends = ("_lora.down.weight", ".lora.down.weight")
    assert {key.removesuffix(end) for key in plain for end in ends if key.endswith(end)} == expected
