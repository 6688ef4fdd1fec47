"""Models without weights: every shape is right, and there is not a number in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sdlearn.models import SOURCES, StableDiffusion, StableDiffusionXL
from sdlearn.models.architectures import ARCHITECTURES, Architecture
from sdlearn.models.registry import shipped_folder


def find_architecture(name_or_path: str) -> Architecture:
    """Return the shape of a model from its configuration files, or from the facts we ship.

    Raises ValueError for what is neither a name of the registry nor a folder in diffusers' format,
    and FileNotFoundError for a folder that lacks a configuration.
    """
    if name_or_path in ARCHITECTURES:
        return ARCHITECTURES[name_or_path]
    if name_or_path in SOURCES:
        return _read_folder(shipped_folder(name_or_path))
    folder = Path(name_or_path).expanduser()
    if not folder.is_dir():
        names = ", ".join(f'"{name}"' for name in SOURCES)
        raise ValueError(
            f'the shape of "{name_or_path}" is not known: give {names}, or a folder in diffusers\' '
            "format"
        )
    return _read_folder(folder)


def blank_model(
    shape: Architecture, dtype: torch.dtype, name: str = "", device: str = "meta"
) -> StableDiffusion:
    """Make a model of a shape, in the layout that `load` gives it; on a real device at random.

    Its tokenizer knows letters only: ids do not matter where embeddings have no meaning.
    """
    with torch.device(device):
        parts: dict[str, Any] = {
            "text_encoder": CLIPTextModel(CLIPTextConfig.from_dict(dict(shape.text_encoder))),
            "vae": AutoencoderKL.from_config(dict(shape.vae)),
            "unet": UNet2DConditionModel.from_config(dict(shape.unet)),
        }
        if shape.text_encoder_2 is not None:
            config = CLIPTextConfig.from_dict(dict(shape.text_encoder_2))
            parts["text_encoder_2"] = CLIPTextModelWithProjection(config)
            parts["tokenizer_2"] = _tokenizer()
    parts["unet"].to(memory_format=torch.channels_last)
    parts["vae"].to(memory_format=torch.channels_last)
    source = SOURCES.get(name)
    kind = StableDiffusion if shape.text_encoder_2 is None else StableDiffusionXL
    sd = kind(
        tokenizer=_tokenizer(),
        noise_scheduler=DDIMScheduler.from_config(dict(shape.scheduler)),
        name=name,
        learning_rates=source.learning_rates if source else {},
        train_steps=source.train_steps if source else {},
        snr_gammas=source.snr_gammas if source else {},
        **parts,
    )
    return sd.freeze().to(dtype=dtype)


def _tokenizer() -> CLIPTokenizer:
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])


def _read_folder(folder: Path) -> Architecture:
    configs = {
        part: _read_json(folder / part / "config.json") for part in ("unet", "vae", "text_encoder")
    }
    if (folder / "text_encoder_2").is_dir():
        configs["text_encoder_2"] = _read_json(folder / "text_encoder_2" / "config.json")
    scheduler = _read_json(folder / "scheduler" / "scheduler_config.json")
    return Architecture(scheduler=scheduler, **configs)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: give a folder in diffusers' format")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON: fetch the model again") from error
