"""What a fine-tuning method leaves behind, put back into a model.

Two kinds are known: a Textual Inversion file (one `.safetensors` with one key, the token, or a
folder that holds just that) and a folder with `unet/` and perhaps `text_encoder/` in diffusers'
format (DreamBooth). Both also load in diffusers' own loaders.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPTextModel

from sdlearn.models.prompts import check_new_token

if TYPE_CHECKING:
    from sdlearn.models.stable_diffusion import StableDiffusion

RECORD_NAME = "artefact.json"  # beside the parts: base model, method, configuration


def with_artefact(sd: StableDiffusion, path: str | Path) -> StableDiffusion:
    """Return a model with a learned artefact in it; the given model is not changed.

    Parts that the artefact leaves alone are shared with `sd`. Raises FileNotFoundError for a
    missing path, ValueError for a file of another kind or one that does not fit this model.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no artefact {path}: check its name")
    if (path / "unet").is_dir() or (path / "text_encoder").is_dir():
        return _with_parts(sd, path)
    token, rows = read_learned_embeds(_embeds_file(path))
    return with_token_rows(sd, token, rows)


def with_token_rows(sd: StableDiffusion, token: str, rows: torch.Tensor) -> StableDiffusion:
    """Return a model whose vocabulary has one more token, of n vectors: `rows` (n, D).

    Raises ValueError for a token that is known already, or rows of another width.
    """
    check_new_token(token, sd.tokenizer)
    width = sd.text_encoder.config.hidden_size
    if rows.shape[-1] != width:
        raise ValueError(
            f'the token "{token}" was learned at width {rows.shape[-1]} and this text encoder has '
            f"{width}: use the model it was learned on"
        )
    tokenizer = copy.deepcopy(sd.tokenizer)
    text_encoder = copy.deepcopy(sd.text_encoder)
    tokenizer.add_tokens(row_tokens(token, len(rows)))
    if len(tokenizer) > text_encoder.config.vocab_size:
        text_encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    embeddings: Any = text_encoder.get_input_embeddings()
    ids = tokenizer.convert_tokens_to_ids(row_tokens(token, len(rows)))
    with torch.no_grad():
        embeddings.weight[ids] = rows.to(embeddings.weight)
    text_encoder.requires_grad_(False).eval()
    return replace(sd, tokenizer=tokenizer, text_encoder=text_encoder)


def row_tokens(token: str, num_vectors: int) -> list[str]:
    """Name the rows of a token as diffusers does: "<cat>", "<cat>_1", "<cat>_2", ..."""
    return [token, *(f"{token}_{i}" for i in range(1, num_vectors))]


def read_learned_embeds(path: Path) -> tuple[str, torch.Tensor]:
    """Read a Textual Inversion file: the token and its rows (n, D).

    Raises ValueError for a file that is not safetensors or does not hold exactly one key.
    """
    if path.suffix != ".safetensors":
        raise ValueError(
            f"{path} is no .safetensors file, and other formats run code when they are opened: "
            "convert it to safetensors"
        )
    with safe_open(path, framework="pt") as file:
        tokens = list(file.keys())
        if len(tokens) != 1:
            raise ValueError(
                f"{path} holds {len(tokens)} tensors: a Textual Inversion file holds one, named "
                "by its token"
            )
        rows = file.get_tensor(tokens[0])
    return tokens[0], rows.reshape(-1, rows.shape[-1])


def write_learned_embeds(
    path: Path, token: str, rows: torch.Tensor, record: Mapping[str, Any]
) -> Path:
    """Write a Textual Inversion file, `rows` (n, D) float32, with its record in the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt", "sdlearn": json.dumps(record, ensure_ascii=False)}
    save_file({token: rows.detach().float().cpu().contiguous()}, path, metadata=metadata)
    return path


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write beside saved parts what they were made from."""
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (folder / RECORD_NAME).write_text(text + "\n", encoding="utf-8")


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
    classes = {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
    for name, model_class in classes.items():
        if (folder / name).is_dir():
            base = getattr(sd, name)
            model = model_class.from_pretrained(folder / name, use_safetensors=True)
            _check_same_shapes(model, base, folder / name)
            parts[name] = model.to(base.device, base.dtype).requires_grad_(False).eval()
    if "unet" in parts:
        parts["unet"].to(memory_format=torch.channels_last)
    return replace(sd, **parts)


def _check_same_shapes(model: torch.nn.Module, base: torch.nn.Module, folder: Path) -> None:
    ours = {name: weight.shape for name, weight in model.named_parameters()}
    if ours != {name: weight.shape for name, weight in base.named_parameters()}:
        raise ValueError(f"{folder} was trained from another model: load the one it was made from")
