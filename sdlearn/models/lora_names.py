"""What files call the layers that a LoRA updates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sdlearn.models.lora import layers_of, parts_of
from sdlearn.models.text_encoder import WRAPPER

if TYPE_CHECKING:
    from sdlearn.models.stable_diffusion import StableDiffusion

RESNET_NAMES = {  # diffusers' name of a layer -> Stability's
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}


KOHYA_NAMES = {  # kohya's names of SDXL's own layers, which diffusers knows by no other
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


def file_path(part: str, path: str) -> str:
    """Return a layer's path as it is in files: a CLIP's begins with `text_model.`.

    transformers 5.6 took that level out of `CLIPTextModel`, but not out of its files.
    """
    if part == "unet" or path.startswith((WRAPPER, "text_projection")):
        return path
    return WRAPPER + path


def kohya_prefix(part: str, parts: int) -> str:
    """Return how kohya's keys of a part begin, in a model of so many parts: SDXL has three."""
    if part == "unet":
        return "lora_unet"
    number = "2" if part.endswith("_2") else "1"
    return "lora_te" if parts == 2 else f"lora_te{number}"


def kohya_name(part: str, path: str, parts: int) -> str:
    """Return kohya's name of a layer: a prefix, and the path with every dot an underscore."""
    name = KOHYA_NAMES.get(path, file_path(part, path))
    return f"{kohya_prefix(part, parts)}_{name.replace('.', '_')}"


def known_names(sd: StableDiffusion) -> dict[str, tuple[str, str]]:
    """Return every name that a file may give to a layer -> (part, path) of this model.

    kohya's SDXL files follow Stability's own names of the U-Net's blocks.
    """
    models = parts_of(sd)
    names: dict[str, tuple[str, str]] = {}
    for part, model in models.items():
        for path in layers_of(model):
            place = part, path
            names[f"{part}.{path}"] = names[f"{part}.{file_path(part, path)}"] = place
            names[kohya_name(part, path, len(models))] = place
            other = _stability_path(path, sd.unet.config.layers_per_block)
            if part == "unet" and other is not None:
                names[f"lora_unet_{other.replace('.', '_')}"] = place
    return names


def _stability_path(path: str, layers_per_block: int) -> str | None:
    """A U-Net layer's path in Stability's own code, for residual and attention blocks."""
    match = re.fullmatch(
        r"(down|mid|up)_blocks?\.(?:(\d+)\.)?(resnets|attentions)\.(\d+)\.(.+)", path
    )
    if match is None:
        return None
    side, block, kind, layer, rest = match.groups()
    is_attention = kind == "attentions"
    rest = rest if is_attention else RESNET_NAMES.get(rest, rest)
    if side == "mid":
        return f"middle_block.{1 if is_attention else 2 * int(layer)}.{rest}"
    number = int(block) * (layers_per_block + 1) + int(layer)
    name = f"input_blocks.{number + 1}" if side == "down" else f"output_blocks.{number}"
    return f"{name}.{int(is_attention)}.{rest}"
