"""What a fine-tuning method leaves behind, put back into a model.

Three kinds are known: a Textual Inversion file (see `sdlearn.models.learned_embeds`, or a folder
that holds just that), a folder with `unet/` and perhaps text encoders in diffusers' format
(DreamBooth), and a LoRA: a folder with `pytorch_lora_weights.safetensors`, or one file in
diffusers' or kohya's format. All also load in diffusers' own loaders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DConditionModel

from sdlearn.models.learned_embeds import read_learned_embeds, with_token_rows
from sdlearn.models.lora import adapter_names, merged, with_lora
from sdlearn.models.lora_files import DIFFUSERS_NAME, is_lora, read_lora
from sdlearn.models.text_encoder import load_text_encoder

if TYPE_CHECKING:
    from sdlearn.models.stable_diffusion import StableDiffusion

RECORD_NAME = "artefact.json"  # beside the parts: base model, method, configuration


def with_artefact(sd: StableDiffusion, path: str | Path, scale: float = 1.0) -> StableDiffusion:
    """Return a model with a learned artefact in it; the given model is not changed.

    `scale` weakens or strengthens a LoRA; the others have none. Several LoRAs add up, each by its
    scale. Parts that the artefact leaves alone are shared with `sd`. Raises FileNotFoundError for a
    missing path, ValueError for a file of another kind or one that does not fit this model.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no artefact {path}: check its name")
    lora_file = _lora_file(path)
    if lora_file is not None:
        return with_lora(sd, read_lora(lora_file, sd), scale)
    if scale != 1:
        raise ValueError(f"{path} is no LoRA, and only a LoRA has a scale: leave it at 1")
    if any((path / name).is_dir() for name in ("unet", *sd.text_encoders)):
        return _with_parts(sd, path)
    token, rows = read_learned_embeds(_embeds_file(path))
    return with_token_rows(sd, token, *rows)


def unmerged(sd: StableDiffusion, path: str | Path, scale: float = 1.0) -> StableDiffusion:
    """Take a LoRA that was merged out of the weights again; `sd` itself is not changed.

    What comes out is the base, but for the rounding of two additions. Raises as `with_artefact`.
    """
    return merged(with_artefact(sd, path, -scale))


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write beside saved parts what they were made from."""
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (folder / RECORD_NAME).write_text(text + "\n", encoding="utf-8")


def _lora_file(path: Path) -> Path | None:
    """The LoRA that is at a path, or None where something else is."""
    files = [path] if path.is_file() else list(path.glob("*.safetensors"))
    files = [path / DIFFUSERS_NAME] if path / DIFFUSERS_NAME in files else files
    only = files[0] if len(files) == 1 and files[0].suffix == ".safetensors" else None
    return only if only is not None and is_lora(only) else None


def _embeds_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        raise ValueError(
            f"{path} holds neither unet/ nor text_encoder/, nor exactly one .safetensors file: "
            "give what a training run saved"
        )
    return found[0]


def _with_parts(sd: StableDiffusion, folder: Path) -> StableDiffusion:
    parts: dict[str, Any] = {}
    for name, base in {"unet": sd.unet, **sd.text_encoders}.items():
        if (folder / name).is_dir():
            if adapter_names(base):
                raise ValueError(f"{folder} would take the place of a LoRA: load it before that")
            if name == "unet":
                model = UNet2DConditionModel.from_pretrained(folder / name, use_safetensors=True)
                model.to(memory_format=torch.channels_last)
            else:
                model = load_text_encoder(folder / name, type(base), base.config.eos_token_id)
            _check_same_shapes(model, base, folder / name)
            parts[name] = model.to(base.device, base.dtype).requires_grad_(False).eval()
    return replace(sd, **parts)


def _check_same_shapes(model: torch.nn.Module, base: torch.nn.Module, folder: Path) -> None:
    ours = {name: weight.shape for name, weight in model.named_parameters()}
    if ours != {name: weight.shape for name, weight in base.named_parameters()}:
        raise ValueError(f"{folder} was trained from another model: load the one it was made from")
