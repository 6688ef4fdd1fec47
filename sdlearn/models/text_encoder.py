"""CLIP text encoders: opened as they were meant, saved so that every tool can read them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sdlearn.models.quiet import without_loading_bar
from sdlearn.models.tensor_files import broken_named

WRAPPER = "text_model."


def load_text_encoder(folder: Path, model_class: Any, eos_token_id: int) -> Any:
    """Open a text encoder from safetensors, its pooled output that of the given end token.

    The configurations of Stable Diffusion 1.5 and SDXL name a wrong one, 2, upon which transformers
    pools at the token with the highest id: a learned one, where the prompt has one.
    """
    config = CLIPTextConfig.from_pretrained(folder, local_files_only=True)
    config.eos_token_id = eos_token_id
    with without_loading_bar(), broken_named(folder):
        return model_class.from_pretrained(
            folder, config=config, use_safetensors=True, local_files_only=True
        )


def save_text_encoder(
    text_encoder: CLIPTextModel | CLIPTextModelWithProjection, folder: str | Path
) -> Path:
    """Write `config.json` and `model.safetensors` with keys that begin with `text_model.`.

    transformers 5.6 took the `text_model` level out of `CLIPTextModel`, so a model built there
    saves `embeddings...`, which older transformers, A1111 and ComfyUI cannot read. Every version
    reads the older keys. Weights keep their dtype. Returns the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state_dict = {key: value.contiguous() for key, value in text_encoder.state_dict().items()}
    if not any(key.startswith(WRAPPER) for key in state_dict):
        state_dict = {WRAPPER + key: value for key, value in state_dict.items()}
    save_file(state_dict, folder / "model.safetensors", metadata={"format": "pt"})
    config = copy.deepcopy(text_encoder.config)
    config.architectures = [type(text_encoder).__name__]
    config.dtype = str(text_encoder.dtype).removeprefix("torch.")
    config.save_pretrained(folder)
    return folder
