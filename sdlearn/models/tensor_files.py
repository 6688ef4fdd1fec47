"""`.safetensors` files: written whole or not at all, and named in the error where one is broken."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file

from sdlearn.models.records import json_object
from sdlearn.models.writing import full_disk_named, replaced_when_complete

OWN_ENTRY = "sdlearn"  # ours in the header


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


def read_alone(path: Path, key: str) -> torch.Tensor:
    """Read one tensor through a mapping of its own: once it is copied, none of its pages stay.

    What is read through the mapping of a whole file stays in memory as long as any of its tensors.
    """
    with opened(path) as file:
        return file.get_tensor(key)


def own_entry(file: Any, path: Path) -> dict[str, Any]:
    """Return what saving wrote into a file's header; ValueError where it is no JSON object."""
    record = json_object((file.metadata() or {}).get(OWN_ENTRY, "{}"), f"{path}, its header")
    if not isinstance(record.get("config", {}), dict):
        raise ValueError(f"{path}, its header: config holds no JSON object")
    return record


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors as float32; the file takes the place of an earlier one when it is whole.

    Raises OSError, naming the file, where there is no room for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with full_disk_named(path), replaced_when_complete(path) as unfinished:
        save_file(_plain(tensors), unfinished, metadata={"format": "pt", **metadata})


def add_to_header(path: Path, entries: Mapping[str, str]) -> None:
    """Write a file anew with more entries in its header; what it holds stays, byte for byte."""
    with (
        full_disk_named(path),
        replaced_when_complete(path) as unfinished,
        path.open("rb") as file,
        unfinished.open("wb") as new,
    ):
        length = int.from_bytes(file.read(8), "little")
        header = json_object(file.read(length), f"{path}, its header")
        header["__metadata__"] = {**header.get("__metadata__", {}), **entries}
        text = json.dumps(header, ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
        new.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(file, new)


def content_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of a file of tensors without its header, as sd-scripts names a LoRA."""
    data = save(_plain(tensors))
    return hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()


def check_finite(tensor: torch.Tensor, what: str) -> None:
    """Raise ValueError for weights that are no numbers, or infinite ones."""
    if not tensor.is_floating_point() or not torch.isfinite(tensor.float()).all():
        raise ValueError(f"{what} holds what are no finite numbers: train or fetch it again")


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value.detach().float().cpu().contiguous() for key, value in tensors.items()}
