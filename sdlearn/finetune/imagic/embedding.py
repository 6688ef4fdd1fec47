"""The embeddings that Imagic goes between: one that trains, the mixture, and the file."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from sdlearn.models.conditioning import Conditioning
from sdlearn.models.tensor_files import broken_named, write_tensors

EMBEDDINGS_NAME = "embeddings.safetensors"
LEARNT = ("encoder_hidden_states", "text_embeds")  # of a `Conditioning`; the second in SDXL only


class LearntEmbedding(torch.nn.Module):
    """A prompt's conditioning that trains; SDXL's pooled prompt trains with its states."""

    def __init__(self, start: Conditioning) -> None:
        super().__init__()
        for name, part in _parts(start).items():
            self.register_parameter(name, torch.nn.Parameter(part.detach().float().clone()))

    def forward(self, count: int) -> Conditioning:
        """The one row, `count` times."""
        parts: dict[str, Any] = dict(self.named_parameters())
        return Conditioning(**parts)[[0] * count]


def interpolate(e_tgt: Conditioning, e_opt: Conditioning, eta: float) -> Conditioning:
    """Return eta * e_tgt + (1 - eta) * e_opt: at 0 and 1 exactly one of them.

    Raises ValueError for an eta that is not finite. Beyond 0 and 1 it extrapolates.

    Source: Kawar et al. 2022, arXiv:2210.09276, eq. 3.
    """
    if not math.isfinite(eta):
        raise ValueError(f"eta is {eta}: give a number, 0 for the picture, 1 for the prompt")
    ends = _parts(e_tgt)
    mixed: dict[str, Any] = {
        name: torch.lerp(part, ends[name], eta) for name, part in _parts(e_opt).items()
    }
    return Conditioning(**mixed)


def write_embeddings(folder: Path, **embeddings: Conditioning) -> None:
    """Write embeddings to a folder, float32, by the names they are given with."""
    tensors = {
        f"{name}.{part_name}": part.detach().clone()  # without stage A they are one
        for name, embedding in embeddings.items()
        for part_name, part in _parts(embedding).items()
    }
    write_tensors(folder / EMBEDDINGS_NAME, tensors, {})


def read_embeddings(folder: Path, *names: str) -> list[Conditioning]:
    """Read embeddings by their names.

    Raises FileNotFoundError where the folder has none, and ValueError where one is missing.
    """
    if not (folder / EMBEDDINGS_NAME).is_file():
        raise FileNotFoundError(
            f"{folder} has no {EMBEDDINGS_NAME}: give a folder that `sdlearn train imagic` made"
        )
    with broken_named(folder / EMBEDDINGS_NAME):
        tensors = load_file(folder / EMBEDDINGS_NAME)
    for name in names:
        if f"{name}.{LEARNT[0]}" not in tensors:
            raise ValueError(f"{folder / EMBEDDINGS_NAME} holds no {name}: train it again")
    rows: list[dict[str, Any]] = [
        {part: tensors[f"{name}.{part}"] for part in LEARNT if f"{name}.{part}" in tensors}
        for name in names
    ]
    return [Conditioning(**row) for row in rows]


def checksum(embedding: Conditioning) -> str:
    """Name an embedding's values, to tell it from another."""
    digest = 0
    for part in _parts(embedding).values():
        digest = zlib.crc32(part.detach().float().cpu().numpy().tobytes(), digest)
    return f"checksum {digest:08x}"


def _parts(embedding: Conditioning) -> dict[str, torch.Tensor]:
    """What there is to learn of a conditioning."""
    found = {name: getattr(embedding, name) for name in LEARNT}
    return {name: part for name, part in found.items() if part is not None}
