"""What files call the layers that a LoRA updates: one table, by which they are written and read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sdlearn.models.lora import layers_of, parts_of
from sdlearn.models.original_keys import unet_path
from sdlearn.models.stable_diffusion_xl import StableDiffusionXL
from sdlearn.models.text_encoder import WRAPPER

if TYPE_CHECKING:
    from sdlearn.models.stable_diffusion import StableDiffusion

COMFYUI_CLIPS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}


def file_path(part: str, path: str) -> str:
    """Return a layer's path as it is in files: a CLIP's begins with `text_model.`.

    transformers 5.6 took that level out of `CLIPTextModel`, but not out of its files.
    """
    if part == "unet" or path.startswith((WRAPPER, "text_projection")):
        return path
    return WRAPPER + path


def kohya_name(sd: StableDiffusion, part: str, path: str) -> str:
    """Return kohya's name of a layer: a prefix, and the path with every dot an underscore.

    Of SDXL's U-Net sd-scripts knows Stability's paths only, of Stable Diffusion 1's diffusers'.
    """
    is_xl = isinstance(sd, StableDiffusionXL)
    prefix, name = "lora_unet", file_path(part, path)
    if part != "unet":
        number = "2" if part.endswith("_2") else "1"
        prefix = f"lora_te{number if is_xl else ''}"
    elif is_xl:
        name = unet_path(path, sd.unet.config) or name
    return f"{prefix}_{name.replace('.', '_')}"


def known_names(sd: StableDiffusion) -> dict[str, tuple[str, str]]:
    """Return every name that a file may give to a layer -> (part, path) of this model."""
    return {
        name: (part, path)
        for part, model in parts_of(sd).items()
        for path in layers_of(model)
        for name in _names(sd, part, path)
    }


def _names(sd: StableDiffusion, part: str, path: str) -> Iterator[str]:
    """What diffusers, kohya, LyCORIS, peft and ComfyUI call one layer."""
    in_file = file_path(part, path)
    yield f"{part}.{path}"
    yield f"{part}.{in_file}"
    yield kohya_name(sd, part, path)
    if part != "unet":
        yield f"text_encoders.{COMFYUI_CLIPS[part]}.transformer.{in_file}"
        return
    yield f"base_model.model.{path}"
    for own in filter(None, (path, unet_path(path, sd.unet.config))):
        yield f"lora_unet_{own.replace('.', '_')}"
        yield f"lycoris_{own.replace('.', '_')}"
        yield f"diffusion_model.{own}"
