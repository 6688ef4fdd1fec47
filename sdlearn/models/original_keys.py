"""Where single-file checkpoints keep each weight: Stability's names, as other programs read them.

One table of places serves both directions, so that what is written reads back bit for bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.models.stable_diffusion_xl import StableDiffusionXL
from sdlearn.models.text_encoder import WRAPPER

if TYPE_CHECKING:
    from sdlearn.models.stable_diffusion import StableDiffusion

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP = "cond_stage_model.transformer."  # the text encoder of Stable Diffusion 1
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."

UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",  # SDXL's sizes and pooled prompt
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
OPEN_CLIP = {
    "embeddings.token_embedding": "token_embedding",
    "embeddings.position_embedding": "positional_embedding",
    "final_layer_norm": "ln_final",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


@dataclass(frozen=True)
class Place:
    """A weight's name in the file, and how it lies there."""

    key: str
    third: int | None = None  # of a tensor that holds q, k and v below each other
    is_transposed: bool = False
    is_conv: bool = False  # (out, in, 1, 1), where our layer is linear: (out, in)

    def read(self, tensor: torch.Tensor) -> torch.Tensor:
        """Take the weight out of the file's tensor."""
        if self.third is not None:
            tensor = tensor.chunk(3)[self.third]
        if self.is_conv and tensor.ndim > 2:
            tensor = tensor.flatten(1)
        return tensor.T if self.is_transposed else tensor

    def write(self, weight: torch.Tensor) -> torch.Tensor:
        """Make the file's tensor, or a third of it, of the weight."""
        if self.is_conv and weight.ndim == 2:
            weight = weight[:, :, None, None]
        return weight.T if self.is_transposed else weight


def places(sd: StableDiffusion) -> dict[str, dict[str, Place]]:
    """Return for each part of a model where the file keeps its weights: part -> key -> place.

    Raises ValueError for weights that single files have no place for, such as a LoRA's.
    """
    is_xl = isinstance(sd, StableDiffusionXL)
    clip = XL_CLIP if is_xl else CLIP
    found = {
        "unet": _places(sd.unet, lambda key: Place(UNET + _unet_key(key, sd.unet.config))),
        "vae": _places(sd.vae, lambda key: _vae_place(key, len(sd.vae.config.block_out_channels))),
        "text_encoder": _places(sd.text_encoder, lambda key: Place(clip + _clip_key(key))),
    }
    if is_xl:
        found["text_encoder_2"] = _places(sd.text_encoders["text_encoder_2"], _open_clip_place)
    return found


def as_in_file(
    state_dict: Mapping[str, torch.Tensor], places: Mapping[str, Place]
) -> dict[str, torch.Tensor]:
    """Return a part's weights as the file has them."""
    tensors: dict[str, torch.Tensor] = {}
    thirds: dict[str, dict[int, torch.Tensor]] = {}
    for key, place in places.items():
        tensor = place.write(state_dict[key])
        if place.third is None:
            tensors[place.key] = tensor
        else:
            thirds.setdefault(place.key, {})[place.third] = tensor
    return tensors | {key: torch.cat([of[i] for i in range(3)]) for key, of in thirds.items()}


def _places(model: Any, place: Callable[[str], Place]) -> dict[str, Place]:
    return {key: place(key) for key in model.state_dict()}


def _unet_key(key: str, config: Any) -> str:
    path, _, kind = key.rpartition(".")
    found = None if "lora_" in path or "base_layer" in path else unet_path(path, config)
    if found is None:
        raise _no_place(key)
    return f"{found}.{kind}"


def unet_path(path: str, config: Any) -> str | None:
    """Return Stability's path of a U-Net's layer, by diffusers'; None for what has none.

    `config` is that of diffusers' U-Net. Whole models and kohya's LoRAs of SDXL go by these.
    """
    if path in UNET_ENDS:
        return UNET_ENDS[path]
    match = re.fullmatch(r"(down|mid|up)_blocks?\.(?:(\d+)\.)?([a-z]+)\.(\d+)\.(.+)", path)
    if match is None:
        return None
    side, block, group, layer, rest = match.groups()
    rest = UNET_RESNET.get(rest, rest) if group == "resnets" else rest
    if side == "mid":
        return f"middle_block.{2 * int(layer) + (group == 'attentions')}.{rest}"
    first = int(block) * (config.layers_per_block + 1)
    if group == "downsamplers":
        return f"input_blocks.{first + config.layers_per_block + 1}.0.op"
    if group == "upsamplers":
        after = 2 if "CrossAttn" in config.up_block_types[int(block)] else 1
        return f"output_blocks.{first + config.layers_per_block}.{after}.{rest}"
    number = first + int(layer)
    name = f"input_blocks.{number + 1}" if side == "down" else f"output_blocks.{number}"
    return f"{name}.{int(group == 'attentions')}.{rest}"


def _vae_place(key: str, blocks: int) -> Place:
    path, _, kind = key.rpartition(".")
    match = re.fullmatch(
        r"(encoder|decoder)\.(down|mid|up)_blocks?\.(?:(\d+)\.)?([a-z]+)\.(\d+)\.(.+)", path
    )
    if match is None:
        return Place(VAE + key.replace("conv_norm_out", "norm_out"))
    half, side, block, group, layer, rest = match.groups()
    rest = rest.replace("conv_shortcut", "nin_shortcut")
    if group == "attentions":
        name = VAE_ATTENTION[rest]
        return Place(f"{VAE}{half}.mid.attn_1.{name}.{kind}", is_conv=name != "norm")
    if side == "mid":
        return Place(f"{VAE}{half}.mid.block_{int(layer) + 1}.{rest}.{kind}")
    number = int(block) if side == "down" else blocks - 1 - int(block)
    if group == "resnets":
        return Place(f"{VAE}{half}.{side}.{number}.block.{layer}.{rest}.{kind}")
    return Place(f"{VAE}{half}.{side}.{number}.{side}sample.{rest}.{kind}")


def _clip_key(key: str) -> str:
    """A text encoder's key in files, which always begins with `text_model.`."""
    key = WRAPPER + key.removeprefix(WRAPPER)
    if not re.fullmatch(r"text_model\.(embeddings|encoder|final_layer_norm)\..+", key) or (
        key.endswith(".table") or "lora_" in key or "base_layer" in key
    ):
        raise _no_place(key)
    return key


def _open_clip_place(key: str) -> Place:
    if key == "text_projection.weight":
        return Place(f"{XL_OPEN_CLIP}text_projection", is_transposed=True)
    path, _, kind = _clip_key(key).removeprefix(WRAPPER).rpartition(".")
    path = re.sub(r"^encoder\.layers\.", "transformer.resblocks.", path)
    if match := re.fullmatch(r"(.+)\.self_attn\.([qkv])_proj", path):
        return Place(f"{XL_OPEN_CLIP}{match[1]}.attn.in_proj_{kind}", third="qkv".index(match[2]))
    for ours, theirs in OPEN_CLIP.items():
        path = path.replace(ours, theirs)
    name = path if path == "positional_embedding" else f"{path}.{kind}"
    return Place(XL_OPEN_CLIP + name)


def _no_place(key: str) -> ValueError:
    return ValueError(
        f"the weight {key} has no place in a single file: merge a LoRA first, and draw a word "
        "that is being learned into the model by with_artefact"
    )
