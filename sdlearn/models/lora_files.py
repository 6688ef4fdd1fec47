"""LoRA files: diffusers' and kohya's, which A1111 and ComfyUI read, written and read.

    FOLDER/
        pytorch_lora_weights.safetensors     for diffusers; alpha is in the weights, all of them
        FOLDER_comfyui_a1111.safetensors     for ComfyUI, A1111, Forge, kohya and OneTrainer

Both hold the same updates, and either is enough to draw with.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY, LORA_WEIGHT_NAME_SAFE
from peft.utils.other import get_pattern_key

from sdlearn.models.file_kinds import BUNDLED, kind_of, kohya_file_name, other_lora
from sdlearn.models.lora import TRAINED, Lora, LowRank, layers_of, parts_of, read_adapter
from sdlearn.models.lora_names import file_path, known_names, kohya_name
from sdlearn.models.model_metadata import lora_metadata, model_spec
from sdlearn.models.records import json_object
from sdlearn.models.tensor_files import (
    OWN_ENTRY,
    check_finite,
    content_hash,
    opened,
    own_entry,
    write_tensors,
)

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
PATH = re.compile(r"[\w.^$\\-]+")  # of a layer, in a pattern of peft's
KEY = re.compile(rf"(?P<name>.+)\.(?P<side>{'|'.join(map(re.escape, SIDES))})")


def write_lora(folder: Path, sd: StableDiffusion, record: Mapping[str, Any], made: Any) -> None:
    """Write the adapter that was trained in a model to a folder, for diffusers and for the rest.

    Weights are written in float32. The record goes to the header of both files, and what other
    programs look for with it; `made` says how the adapter came about.
    """
    lora, title = read_adapter(sd), folder.resolve().name
    facts = {**record, "made": made}
    metadata = model_spec(sd, title, facts, "lora")
    metadata[OWN_ENTRY] = json.dumps(record, ensure_ascii=False)
    configs = json.dumps(_peft_configs(sd, lora), indent=2, sort_keys=True)
    plain = diffusers_tensors(lora)
    write_tensors(folder / DIFFUSERS_NAME, plain, metadata | {LORA_ADAPTER_METADATA_KEY: configs})
    tensors = kohya_tensors(lora, sd)
    metadata |= lora_metadata(sd, title, facts) | {"sshs_model_hash": content_hash(tensors)}
    write_tensors(folder / kohya_file_name(title), tensors, metadata)


def diffusers_tensors(lora: Lora) -> dict[str, torch.Tensor]:
    """Return updates by diffusers' keys, which have no place for alpha: `up` times alpha / rank.

    Programs that look for alpha elsewhere, or take the rank for it, so draw the same.
    """
    tensors: dict[str, torch.Tensor] = {}
    for part, updates in lora.items():
        middle = "lora" if part == "unet" else "lora_linear_layer"
        for path, update in updates.items():
            name = f"{part}.{file_path(part, path)}.{middle}"
            tensors[f"{name}.down.weight"] = update.down
            tensors[f"{name}.up.weight"] = update.up * (update.alpha / update.rank)
    return tensors


def kohya_tensors(lora: Lora, sd: StableDiffusion) -> dict[str, torch.Tensor]:
    """Return updates of a model's layers by kohya's keys, alpha among them."""
    tensors: dict[str, torch.Tensor] = {}
    for part, updates in lora.items():
        for path, update in updates.items():
            name = kohya_name(sd, part, path)
            tensors[f"{name}.lora_down.weight"] = update.down
            tensors[f"{name}.lora_up.weight"] = update.up
            tensors[f"{name}.alpha"] = torch.tensor(update.alpha)
    return tensors


def is_lora(path: Path) -> bool:
    """Whether a safetensors file holds a LoRA, plain or not, judged by its header and keys."""
    with opened(path) as file:
        is_word = own_entry(file, path).get("method") == "textual-inversion"
        return not is_word and kind_of(list(file.keys())) == "lora"


def read_lora(path: Path, sd: StableDiffusion) -> Lora:
    """Read a LoRA file, diffusers', kohya's, LyCORIS', peft's or ComfyUI's, for a model.

    Words that come with it are left to `read_bundled_words`. Raises ValueError for keys that are
    none of a plain LoRA's, layers that are not the model's or of another size, and weights that are
    no finite numbers.
    """
    with opened(path) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        text = (file.metadata() or {}).get(LORA_ADAPTER_METADATA_KEY) or "{}"
    configs = json_object(text, f"{path}, {LORA_ADAPTER_METADATA_KEY} in its header")
    if any(configs.get(f"{part}.use_rslora") for part in parts_of(sd)):
        raise ValueError(f"{path} is a rank-stabilised LoRA: only plain ones load")
    names = known_names(sd)
    found: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    plain = {key: _name_and_side(path, key) for key in tensors if not key.startswith(BUNDLED)}
    for key, (name, side) in plain.items():
        if name not in names:
            raise ValueError(
                f'{path} updates "{name}", which {sd.name or "this model"} has not: load the '
                "model it was made for"
            )
        check_finite(tensors[key], f'{path}, "{key}",')
        found.setdefault(names[name], {})[side] = tensors[key]
    lora: Lora = {}
    for (part, layer), sides in found.items():
        update = _update(path, layer, sides, _alpha_in(configs, part, layer, path))
        _check_size(path, layer, update, layers_of(parts_of(sd)[part])[layer])
        lora.setdefault(part, {})[layer] = update
    return lora


def _name_and_side(path: Path, key: str) -> tuple[str, str]:
    """Take a plain LoRA's key apart; ValueError, with what it is instead, for another."""
    kind = other_lora(key)
    match = None if kind else KEY.fullmatch(key)
    if match is None:
        what = f" but {kind}" if kind else ""
        raise ValueError(
            f'{path} holds "{key}", which is no plain LoRA{what}: other kinds do not load'
        )
    return match["name"], SIDES[match["side"]]


def _peft_configs(sd: StableDiffusion, lora: Lora) -> dict[str, Any]:
    """What peft must know of each part's adapter, by diffusers' keys; alpha is in the weights.

    Not all of peft's own configuration: an older peft refuses fields that it does not know. The two
    patterns are empty, as all layers have one rank and alpha, and older diffusers asks for them.
    """
    facts: dict[str, Any] = {}
    for part in lora:
        config = parts_of(sd)[part].peft_config[TRAINED]
        facts |= {
            f"{part}.r": config.r,
            f"{part}.lora_alpha": config.r,
            f"{part}.target_modules": sorted(config.target_modules),
            f"{part}.rank_pattern": {},
            f"{part}.alpha_pattern": {},
        }
    return facts


def _alpha_in(configs: Mapping[str, Any], part: str, layer: str, path: Path) -> float | None:
    """A layer's alpha as a diffusers file's metadata has it."""
    pattern = configs.get(f"{part}.alpha_pattern") or {}
    if not isinstance(pattern, dict) or not all(map(PATH.fullmatch, pattern)):
        raise ValueError(f"{path}, its header: {part}.alpha_pattern does not name layers")
    default = configs.get(f"{part}.lora_alpha")
    alpha = pattern.get(get_pattern_key(list(pattern), layer), default)
    if alpha is not None and not (isinstance(alpha, int | float) and math.isfinite(alpha)):
        raise ValueError(f"{path}, its header: the alpha of {part} is no number")
    return alpha


def _update(
    path: Path, layer: str, sides: Mapping[str, torch.Tensor], alpha: float | None
) -> LowRank:
    """Put the sides of one layer's update together; without any alpha it is the rank."""
    if "down" not in sides or "up" not in sides:
        raise ValueError(f"{path} is not whole: {layer} has only its {' and '.join(sides)}")
    if any(sides[side].ndim < 2 or not len(sides[side]) for side in ("down", "up")):
        raise ValueError(f"{path} is not whole: the update of {layer} has no rows")
    if "alpha" in sides:
        if sides["alpha"].numel() != 1:
            raise ValueError(f"{path}: the alpha of {layer} is not one number")
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
