"""Rows of the text encoder's vocabulary under a new word: while they train, and in files.

Stable Diffusion 1 and 2: one key, the word. SDXL: `clip_l` and `clip_g`, rows for each text
encoder, as sd-scripts, A1111 and ComfyUI have them. There, in sd-scripts' own `emb_params` and in
OneTrainer's `emp_params`, the word is the file's name.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from sdlearn.models.file_kinds import BUNDLED, NAMELESS_KEYS, SDXL_KEYS, kind_of
from sdlearn.models.prompts import check_new_token, expand_prompt, shortened
from sdlearn.models.sharing import copy_sharing_weights
from sdlearn.models.tensor_files import OWN_ENTRY, check_finite, opened, own_entry, write_tensors

if TYPE_CHECKING:
    from sdlearn.models.stable_diffusion import StableDiffusion


def with_token_rows(sd: StableDiffusion, token: str, *rows: torch.Tensor) -> StableDiffusion:
    """Return a model whose vocabulary has one more token, of n vectors: `rows` (n, D).

    SDXL takes rows for each of its two text encoders. Raises ValueError for a token that is known
    already, and for rows of another width or of too few or too many text encoders.
    """
    if len(rows) != len(sd.text_encoders):
        raise ValueError(
            f'the token "{token}" was learned for {len(rows)} text encoder(s) and this model has '
            f"{len(sd.text_encoders)}: use a model of the kind that it was learned on"
        )
    parts: dict[str, Any] = {}
    for name, encoder_name, own in zip(sd.tokenizers, sd.text_encoders, rows, strict=True):
        parts[name] = with_new_token(sd.tokenizers[name], token, len(own))
        ids = parts[name].convert_tokens_to_ids(row_tokens(token, len(own)))
        parts[encoder_name] = _with_rows(sd.text_encoders[encoder_name], token, own, ids)
    return replace(sd, **parts)


def with_new_rows(
    sd: StableDiffusion, token: str, words: str | None, num_vectors: int
) -> tuple[StableDiffusion, list[NewRows]]:
    """Return a model that has yet to learn a new token, and its rows of each text encoder.

    They begin at known words, see `initial_rows`. All other weights are shared with the given
    model, which is not changed. Raises ValueError for a known token, and as `initial_rows`.
    """
    room = sd.text_encoder.config.max_position_embeddings - 2  # without start and end
    if num_vectors > room:
        raise ValueError(
            f"num_vectors is {num_vectors}, and a prompt has room for {room}: give fewer"
        )
    parts: dict[str, Any] = {}
    new: list[NewRows] = []
    for name, encoder_name in zip(sd.tokenizers, sd.text_encoders, strict=True):
        old, text_encoder = sd.tokenizers[name], sd.text_encoders[encoder_name]
        parts[name] = with_new_token(old, token, num_vectors)
        table = text_encoder.get_input_embeddings().weight
        start = initial_rows(old, table, words, num_vectors)
        new.append(NewRows(table, start, parts[name].convert_tokens_to_ids(token)))
        parts[encoder_name] = copy_sharing_weights(text_encoder)
        parts[encoder_name].set_input_embeddings(new[-1])
    return replace(sd, **parts), new


def check_read(sd: StableDiffusion, prompts: Sequence[str], token: str, num_vectors: int) -> None:
    """Raise ValueError for a prompt that has a token beyond what text encoders read of it."""
    last_id = sd.tokenizer.convert_tokens_to_ids(row_tokens(token, num_vectors)[-1])
    input_ids = sd.tokenize(prompts)
    for prompt, ids in zip(prompts, input_ids, strict=True):
        if not (ids == last_id).any():
            raise ValueError(
                f'"{shortened(prompt)}" has {token} beyond the {ids.shape[-1]} tokens that are '
                "read: write it further to the front"
            )


def with_new_token(tokenizer: Any, token: str, num_vectors: int) -> Any:
    """Return a tokenizer that also knows a token of n vectors; ValueError for one that is known."""
    check_new_token(token, tokenizer)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens(row_tokens(token, num_vectors))
    return tokenizer


def row_tokens(token: str, num_vectors: int) -> list[str]:
    """Name the rows of a token as diffusers does: "<cat>", "<cat>_1", "<cat>_2", ..."""
    return [token, *(f"{token}_{i}" for i in range(1, num_vectors))]


class NewRows(torch.nn.Module):
    """A token embedding whose first rows are frozen and shared, and whose last rows train.

    Only `rows` (n, D) is trained, so the other rows cannot move, and gradient and optimizer cost
    n rows instead of the whole table.
    """

    def __init__(self, table: torch.nn.Parameter, rows: torch.Tensor, first_id: int) -> None:
        super().__init__()
        self.table = table  # (V, D), frozen
        self.rows = torch.nn.Parameter(rows.float().clone())
        self.first_id = first_id

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(B, L) -> (B, L, D)."""
        is_new = input_ids >= self.first_id
        old = F.embedding(input_ids.masked_fill(is_new, 0), self.table)
        new = F.embedding((input_ids - self.first_id).clamp(min=0), self.rows).to(old.dtype)
        return torch.where(is_new.unsqueeze(-1), new, old)


def initial_rows(
    tokenizer: Any, table: torch.Tensor, words: str | None, num_vectors: int
) -> torch.Tensor:
    """Return the rows of the tokens of known words in turn: (num_vectors, D), float32.

    They begin anew where there are fewer tokens than vectors. The mean of the whole vocabulary is
    taken where `words` is None. Raises ValueError for more tokens than vectors, naming them.
    """
    if words is None:
        return table.float().mean(dim=0, keepdim=True).repeat(num_vectors, 1)
    ids = tokenizer.encode(expand_prompt(words, tokenizer), add_special_tokens=False)
    if not 0 < len(ids) <= num_vectors:
        pieces = " + ".join(tokenizer.convert_ids_to_tokens(ids)) or "nothing"
        raise ValueError(
            f'the initializer_token "{words}" is {len(ids)} tokens ({pieces}) and num_vectors is '
            f"{num_vectors}: give as many vectors, or a word that is one token, such as person"
        )
    return table[[ids[i % len(ids)] for i in range(num_vectors)]].float()


def read_learned_embeds(path: Path) -> tuple[str, list[torch.Tensor]]:
    """Read a Textual Inversion file: the token, and its rows (n, D) for each text encoder.

    Raises ValueError for a file that is not safetensors, or that holds something else.
    """
    if path.suffix != ".safetensors":
        raise ValueError(
            f"{path} is no .safetensors file, and other formats run code when they are opened: "
            "convert it to safetensors"
        )
    with opened(path) as file:
        keys = list(file.keys())
        if kind_of(keys) == "model":
            raise ValueError(f"{path} is a whole model and no word: give it as the model")
        if set(keys) == set(SDXL_KEYS):
            keys = list(SDXL_KEYS)
        elif len(keys) != 1:
            raise ValueError(
                f"{path} holds {len(keys)} tensors: a Textual Inversion file holds one, named by "
                "its token, or clip_l and clip_g"
            )
        rows = [_rows(file.get_tensor(key), path) for key in keys]
        config = own_entry(file, path).get("config", {})
    token = keys[0]
    if token in NAMELESS_KEYS:
        token = str(config.get("placeholder_token", path.stem))
    return token, rows


def read_bundled_words(path: Path) -> dict[str, list[torch.Tensor]]:
    """Read the words that come with a LoRA in one file: token -> its rows, as those of a word."""
    words: dict[str, dict[str, torch.Tensor]] = {}
    with opened(path) as file:
        for key in (key for key in file.keys() if key.startswith(BUNDLED)):  # noqa: SIM118
            token, _, kind = key.removeprefix(BUNDLED).removesuffix(".*").rpartition(".")
            words.setdefault(token, {})[kind] = _rows(file.get_tensor(key), path)
    return {
        token: [rows[kind] for kind in sorted(rows, key=_order)] for token, rows in words.items()
    }


def _order(kind: str) -> int:
    return SDXL_KEYS.index(kind) if kind in SDXL_KEYS else 0


def _rows(tensor: torch.Tensor, path: Path) -> torch.Tensor:
    """The rows (n, D) in a file's tensor; ValueError for what are no rows of finite numbers."""
    if tensor.ndim not in (1, 2) or not tensor.numel():
        raise ValueError(f"{path} holds a tensor of {tuple(tensor.shape)}, which are no rows")
    check_finite(tensor, str(path))
    return tensor.reshape(-1, tensor.shape[-1])


def write_learned_embeds(
    path: Path,
    token: str,
    rows: Sequence[torch.Tensor],
    record: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a Textual Inversion file with its record in the header, and what others read there.

    `rows` (n, D) of each text encoder are written as float32.
    """
    keys = SDXL_KEYS if len(rows) > 1 else (token,)
    facts = {OWN_ENTRY: json.dumps(record, ensure_ascii=False), **(metadata or {})}
    write_tensors(path, dict(zip(keys, rows, strict=True)), facts)
    return path


def _with_rows(text_encoder: Any, token: str, rows: torch.Tensor, ids: Sequence[int]) -> Any:
    """A copy of a text encoder with rows at the given ids."""
    width = text_encoder.config.hidden_size
    if rows.shape[-1] != width:
        raise ValueError(
            f'the token "{token}" was learned at width {rows.shape[-1]} and this text encoder has '
            f"{width}: use the model it was learned on"
        )
    text_encoder = copy.deepcopy(text_encoder)
    if max(ids) >= text_encoder.config.vocab_size:
        text_encoder.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    table: Any = text_encoder.get_input_embeddings()
    with torch.no_grad():
        table.weight[ids] = rows.to(table.weight)
    return text_encoder.requires_grad_(False).eval()
