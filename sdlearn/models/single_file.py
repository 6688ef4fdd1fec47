"""Whole models in one `.safetensors` file, as A1111, ComfyUI and sd-scripts read and write them.

A file from elsewhere holds weights only: it is taken for Stable Diffusion 1.5 or SDXL, by its keys.
Ours also says in its header how the parts are built, so that mini and others open as well.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sdlearn.models.architectures import ARCHITECTURES
from sdlearn.models.clip_tokenizer import clip_tokenizer
from sdlearn.models.model_metadata import model_spec
from sdlearn.models.original_keys import CLIP, UNET, XL_OPEN_CLIP, Place, as_in_file, places
from sdlearn.models.samplers import noise_scheduler_class
from sdlearn.models.stable_diffusion import StableDiffusion
from sdlearn.models.stable_diffusion_xl import StableDiffusionXL
from sdlearn.models.tensor_files import OWN_ENTRY, opened, own_entry, read_alone
from sdlearn.models.writing import full_disk_named, replaced_when_complete

WORDS = "text_model.embeddings.token_embedding.weight"
KINDS = {
    f"{XL_OPEN_CLIP}token_embedding.weight": "sdxl",
    f"{CLIP}{WORDS}": "sd15",
    f"{CLIP}{WORDS.removeprefix('text_model.')}": "sd15",  # merges of the first months
}
SCALE = ".scale_weight"  # of a weight in 8 bits, beside it
MARKS = {  # keys without content that ComfyUI goes by -> the noise scheduler's settings
    "v_pred": ("prediction_type", "v_prediction"),
    "ztsnr": ("rescale_betas_zero_snr", True),
}


def open_single_file(path: Path, parts: Collection[str] | None = None) -> StableDiffusion:
    """Open a single-file checkpoint of Stable Diffusion 1.x or SDXL, in the dtype of its weights.

    Where only some parts are asked for, the others have no weights. Raises ValueError for another
    kind of file, and for one that lacks weights or has other shapes.
    """
    with opened(path) as file:
        keys = set(file.keys())
        is_xl = _kind(keys, path) == "sdxl"
        sd = _from_header(own_entry(file, path), keys, is_xl, path)
        for name, found in places(sd).items():
            if parts is not None and name not in parts:
                continue
            model = getattr(sd, name)
            shapes = {key: weight.shape for key, weight in model.state_dict().items()}
            found = {key: _as_here(place, keys) for key, place in found.items()}
            missing = sorted({place.key for place in found.values()} - keys)
            if missing:
                raise ValueError(
                    f"{path} lacks {missing[0]}: fetch the whole file, or give a model of another "
                    "shape as a diffusers folder"
                )
            scales = {key for key in keys if key.endswith(SCALE)}
            weights = {
                key: _read(file, place, shapes[key], path, scales) for key, place in found.items()
            }
            model.load_state_dict(weights, assign=True)
    return sd


def save_single_file(
    sd: StableDiffusion, path: str | Path, *, dtype: torch.dtype | None = None
) -> Path:
    """Write a whole model as one `.safetensors` file in the original key names; return its path.

    Weights are written in `dtype`, or their own. Other programs take the file to have CLIP's
    vocabulary and the shape of Stable Diffusion 1.5 or SDXL; with `load` any model opens again.
    Raises ValueError for another suffix, and for a model with no such file: Stable Diffusion 2, or
    one with a LoRA beside its weights.
    """
    path = Path(path).expanduser()
    if not is_file(path):
        raise ValueError(f"{path} does not end in .safetensors, the only format that is written")
    check_single_file(sd)
    tensors: dict[str, torch.Tensor] = {}
    for name, found in places(sd).items():
        tensors |= as_in_file(getattr(sd, name).state_dict(), found)
    tensors = {key: tensor.to("cpu", dtype).contiguous() for key, tensor in tensors.items()}
    for mark, (setting, value) in MARKS.items():
        if sd.noise_scheduler.config.get(setting) == value:
            tensors[mark] = torch.zeros(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt", OWN_ENTRY: json.dumps(_header(sd)), **model_spec(sd, path.stem, {})}
    with full_disk_named(path), replaced_when_complete(path) as unfinished:
        save_file(tensors, unfinished, metadata=metadata)
    return path


def is_file(path: str | Path) -> bool:
    """Whether a path names one file, and not a folder."""
    return Path(path).suffix == ".safetensors"


def check_single_file(sd: StableDiffusion) -> None:
    """Raise ValueError for a model that no single file is known for."""
    if not isinstance(sd, StableDiffusionXL) and sd.unet.config.use_linear_projection:
        raise ValueError("Stable Diffusion 2 has other names in a single file: save a folder")


def _from_header(
    header: Mapping[str, Any], keys: set[str], is_xl: bool, path: Path
) -> StableDiffusion:
    """A model without weights, built as our header says, or else as published."""
    configs = header.get("parts") or _published(keys, "sdxl" if is_xl else "sd15")
    try:
        return _build(configs, header.get("tokenizers", {}), is_xl)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}, its header: does not say how a model is built ({error}): fetch the file again"
        ) from error


def _as_here(place: Place, keys: set[str]) -> Place:
    """A weight's place in a file, where merges of the first months leave a level out."""
    short = place.key.replace(f"{CLIP}text_model.", CLIP, 1)
    return replace(place, key=short) if place.key not in keys and short in keys else place


def _kind(keys: set[str], path: Path) -> str:
    for key, kind in KINDS.items():
        if key in keys:
            return kind
    if any(key.startswith("cond_stage_model.model.") for key in keys):
        raise ValueError(f"{path} is a Stable Diffusion 2: give it as a diffusers folder")
    what = "a U-Net without text encoders" if any(k.startswith(UNET) for k in keys) else "no model"
    raise ValueError(f"{path} is {what}: give a whole checkpoint of Stable Diffusion 1.x or SDXL")


def _published(keys: set[str], kind: str) -> dict[str, Any]:
    """The configurations of Stable Diffusion 1.5 or SDXL, and what marks in the file change."""
    architecture = ARCHITECTURES[kind]
    names = ("unet", "vae", "text_encoder", "text_encoder_2")
    configs: dict[str, Any] = {name: getattr(architecture, name) for name in names}
    changes = dict(change for mark, change in MARKS.items() if mark in keys)
    scheduler = {"_class_name": "DDIMScheduler", **architecture.scheduler, **changes}
    return {**configs, "noise_scheduler": scheduler}


def _build(configs: Mapping[str, Any], tokenizers: Mapping[str, Any], is_xl: bool) -> Any:
    """A model without weights."""
    parts: dict[str, Any] = {"tokenizer": _tokenizer(tokenizers.get("tokenizer"))}
    scheduler = dict(configs["noise_scheduler"])
    kind = noise_scheduler_class(scheduler.pop("_class_name"), "its noise_scheduler")
    parts["noise_scheduler"] = kind.from_config(scheduler)
    with init_empty_weights(include_buffers=False):
        parts["unet"] = UNet2DConditionModel.from_config(dict(configs["unet"]))
        parts["vae"] = AutoencoderKL.from_config(dict(configs["vae"]))
        parts["text_encoder"] = CLIPTextModel(CLIPTextConfig(**configs["text_encoder"]))
        if is_xl:
            parts["tokenizer_2"] = _tokenizer(tokenizers.get("tokenizer_2"), pad_token="!")
            config = CLIPTextConfig(**configs["text_encoder_2"])
            config.eos_token_id = parts["tokenizer_2"].eos_token_id  # see `load_text_encoder`
            parts["text_encoder_2"] = CLIPTextModelWithProjection(config)
    return (StableDiffusionXL if is_xl else StableDiffusion)(**parts)


def _read(
    file: Any, place: Place, shape: torch.Size, path: Path, scales: Collection[str]
) -> torch.Tensor:
    convolution = len(shape) == 4  # is copied by `load`, and should not be there twice
    tensor = read_alone(path, place.key) if convolution else file.get_tensor(place.key)
    scale = place.key.removesuffix(".weight") + SCALE
    if place.key.endswith(".weight") and scale in scales:  # ComfyUI's scaled fp8
        tensor = tensor.float() * file.get_tensor(scale).float()
    weight = place.read(tensor)
    if weight.shape != shape:
        raise ValueError(
            f"{path} has {place.key} of {tuple(weight.shape)} and not {tuple(shape)}: its model "
            "has another shape; give it as a diffusers folder"
        )
    return weight.to(memory_format=torch.channels_last, copy=True) if convolution else weight


def _header(sd: StableDiffusion) -> dict[str, Any]:
    """How the parts are built, and the tokenizers that are not CLIP's own."""
    parts: dict[str, Any] = {"unet": _plain(sd.unet.config), "vae": _plain(sd.vae.config)}
    for name, text_encoder in sd.text_encoders.items():
        parts[name] = _plain(text_encoder.config.to_dict())
    scheduler: Any = sd.noise_scheduler
    parts["noise_scheduler"] = {"_class_name": type(scheduler).__name__, **_plain(scheduler.config)}
    known = clip_tokenizer().get_vocab()
    own = {n: t for n, t in sd.tokenizers.items() if t.get_vocab() != known}
    return {"format": 1, "parts": parts, "tokenizers": {n: _files(t) for n, t in own.items()}}


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without private entries, of which one is a path on this machine."""
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _files(tokenizer: Any) -> dict[str, str]:
    """The files of a tokenizer, by name."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_text(encoding="utf-8") for path in Path(folder).iterdir()}


def _tokenizer(files: Mapping[str, str] | None, pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """A tokenizer of its files, or CLIP's own."""
    if files is None:
        return clip_tokenizer(pad_token)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / Path(name).name).write_text(text, encoding="utf-8")
        return CLIPTokenizer.from_pretrained(folder)
