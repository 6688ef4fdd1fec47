"""`.safetensors` files: written whole or not at all, and named in the error where one is broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sdlearn.models.writing import replaced_when_complete


@contextmanager
def broken_named(path: Path) -> Iterator[None]:
    """Raise ValueError, with this path, where a `.safetensors` file turns out broken."""
    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{path} is broken ({error}): copy or download it again") from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file as `safetensors.safe_open` does; ValueError for a broken one."""
    with broken_named(path), safe_open(path, framework="pt") as file:
        yield file


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors as float32; the file takes the place of an earlier one when it is whole."""
    plain = {key: value.detach().float().cpu().contiguous() for key, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_when_complete(path) as unfinished:
        save_file(plain, unfinished, metadata={"format": "pt", **metadata})
