"""LoRA files: diffusers' and kohya's, which A1111 and ComfyUI read, written and read.

    FOLDER/
        pytorch_lora_weights.safetensors    for diffusers; alpha is in its metadata
        FOLDER.safetensors                  for everything else; other programs name it by its file

Both hold the same weights, and either is enough to draw with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY, LORA_WEIGHT_NAME_SAFE
from peft.utils.other import get_pattern_key

from sdlearn.models.lora import TRAINED, Lora, LowRank, layers_of, parts_of, read_adapter
from sdlearn.models.lora_names import file_path, known_names, kohya_name
from sdlearn.models.tensor_files import opened, write_tensors

if TYPE_CHECKING:
    from sdlearn.models.stable_diffusion import StableDiffusion

DIFFUSERS_NAME: str = LORA_WEIGHT_NAME_SAFE  # pytorch_lora_weights.safetensors
SIDES = {  # how keys end -> which side of the update it is
    "lora_down.weight": "down",
    "lora_up.weight": "up",
    "alpha": "alpha",
    "lora.down.weight": "down",
    "lora.up.weight": "up",
    "lora_linear_layer.down.weight": "down",
    "lora_linear_layer.up.weight": "up",
    "lora_A.weight": "down",
    "lora_B.weight": "up",
}
KEY = re.compile(rf"(?P<name>.+)\.(?P<side>{'|'.join(map(re.escape, SIDES))})")


def write_lora(folder: Path, sd: StableDiffusion, record: Mapping[str, Any]) -> None:
    """Write the adapter that was trained in a model to a folder, for diffusers and for kohya.

    Weights are written in float32. The record goes to the header of both files.
    """
    lora = read_adapter(sd)
    facts = {"sdlearn": json.dumps(record, ensure_ascii=False)}
    configs = json.dumps(_peft_configs(sd, lora), indent=2, sort_keys=True)
    metadata = facts | {LORA_ADAPTER_METADATA_KEY: configs}
    write_tensors(folder / DIFFUSERS_NAME, diffusers_tensors(lora), metadata)
    tensors = kohya_tensors(lora, len(parts_of(sd)))
    write_tensors(folder / f"{folder.resolve().name}.safetensors", tensors, facts)


def diffusers_tensors(lora: Lora) -> dict[str, torch.Tensor]:
    """Return updates by diffusers' keys, which have no place for alpha."""
    tensors: dict[str, torch.Tensor] = {}
    for part, updates in lora.items():
        middle = "lora" if part == "unet" else "lora_linear_layer"
        for path, update in updates.items():
            for side in ("down", "up"):
                key = f"{part}.{file_path(part, path)}.{middle}.{side}.weight"
                tensors[key] = getattr(update, side)
    return tensors


def kohya_tensors(lora: Lora, parts: int) -> dict[str, torch.Tensor]:
    """Return updates by kohya's keys, alpha among them; `parts` are those of the whole model."""
    tensors: dict[str, torch.Tensor] = {}
    for part, updates in lora.items():
        for path, update in updates.items():
            name = kohya_name(part, path, parts)
            tensors[f"{name}.lora_down.weight"] = update.down
            tensors[f"{name}.lora_up.weight"] = update.up
            tensors[f"{name}.alpha"] = torch.tensor(update.alpha)
    return tensors


def is_lora(path: Path) -> bool:
    """Whether a safetensors file holds a LoRA, judged by its keys."""
    with opened(path) as file:
        return any("lora" in key for key in file.keys())  # noqa: SIM118


def read_lora(path: Path, sd: StableDiffusion) -> Lora:
    """Read a LoRA file, diffusers' or kohya's, for a model.

    Raises ValueError for keys that are none of a plain LoRA's, and layers that are not the model's
    or of another size.
    """
    with opened(path) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        configs = json.loads((file.metadata() or {}).get(LORA_ADAPTER_METADATA_KEY) or "{}")
    if any(configs.get(f"{part}.use_rslora") for part in parts_of(sd)):
        raise ValueError(f"{path} is a rank-stabilised LoRA: only plain ones load")
    names = known_names(sd)
    found: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = KEY.fullmatch(key)
        if match is None:
            raise ValueError(
                f'{path} holds "{key}", which is no plain LoRA: other kinds do not load'
            )
        if match["name"] not in names:
            raise ValueError(
                f'{path} updates "{match["name"]}", which {sd.name or "this model"} has not: load '
                "the model it was made for"
            )
        found.setdefault(names[match["name"]], {})[SIDES[match["side"]]] = tensor
    lora: Lora = {}
    for (part, layer), sides in found.items():
        update = _update(path, layer, sides, _alpha_in(configs, part, layer))
        _check_size(path, layer, update, layers_of(parts_of(sd)[part])[layer])
        lora.setdefault(part, {})[layer] = update
    return lora


def _peft_configs(sd: StableDiffusion, lora: Lora) -> dict[str, Any]:
    """What peft must know of each part's adapter, by diffusers' keys.

    Not all of peft's own configuration: an older peft refuses fields that it does not know. The two
    patterns are empty, as all layers have one rank and alpha, and older diffusers asks for them.
    """
    facts: dict[str, Any] = {}
    for part in lora:
        config = parts_of(sd)[part].peft_config[TRAINED]
        facts |= {
            f"{part}.r": config.r,
            f"{part}.lora_alpha": config.lora_alpha,
            f"{part}.target_modules": sorted(config.target_modules),
            f"{part}.rank_pattern": {},
            f"{part}.alpha_pattern": {},
        }
    return facts


def _alpha_in(configs: Mapping[str, Any], part: str, layer: str) -> float | None:
    """A layer's alpha as a diffusers file's metadata has it."""
    pattern = configs.get(f"{part}.alpha_pattern") or {}
    default = configs.get(f"{part}.lora_alpha")
    return pattern.get(get_pattern_key(list(pattern), layer), default)


def _update(
    path: Path, layer: str, sides: Mapping[str, torch.Tensor], alpha: float | None
) -> LowRank:
    """Put the sides of one layer's update together; without any alpha it is the rank."""
    if "down" not in sides or "up" not in sides:
        raise ValueError(f"{path} is not whole: {layer} has only its {' and '.join(sides)}")
    if "alpha" in sides:
        alpha = float(sides["alpha"])
    rank = len(sides["down"])
    return LowRank(down=sides["down"], up=sides["up"], alpha=rank if alpha is None else alpha)


def _check_size(path: Path, layer: str, update: LowRank, base: Any) -> None:
    """Raise ValueError unless an update fits a layer's weight (out, in, ...)."""
    out, *rest = base.weight.shape
    one = (1,) * (len(rest) - 1)  # the kernel of `up` in a convolution
    fits = update.down.shape[1:] == torch.Size(rest)
    if not fits or update.up.shape != torch.Size((out, update.rank, *one)):
        raise ValueError(
            f"{path} updates {layer} by {tuple(update.up.shape)} @ {tuple(update.down.shape)}, and "
            f"its weight here is {tuple(base.weight.shape)}: load the model it was made for"
        )
