"""What an earlier run saved in a folder, taken away before something else is saved there.

Otherwise a LoRA, a U-Net or a text encoder of before would be drawn with as if it were new. Files
that saving did not write stay: pictures, checkpoints, logs, and whatever else a person keeps there.
Imports nothing heavy: the command line asks `refuse_model` before a model is loaded.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sdlearn.models.records import RECORD_NAME, read_record

MODEL_INDEX = "model_index.json"  # what makes a folder a whole model
PARTS = ("unet", "text_encoder", "text_encoder_2")
PART_FILES = ("config.json", "diffusion_pytorch_model*.safetensors*", "model*.safetensors*")
LORA_NAME, EMBEDDINGS_NAME = "pytorch_lora_weights.safetensors", "embeddings.safetensors"
INNER_LORA = "lora"  # where Imagic's LoRA lies in its folder


def remove_earlier(folder: Path, *, whole_model: bool = False) -> None:
    """Take away what an earlier save left in a folder, which may be missing; other files stay.

    `whole_model` says that a whole model takes its place. Else raises ValueError where the folder
    holds one, as `refuse_model`.
    """
    if not whole_model:
        refuse_model(folder)
    try:
        record = read_record(folder)
    except ValueError:
        record = {}
    if "method" in record:
        for part in PARTS:
            _remove(folder / part, PART_FILES)
        for name in (LORA_NAME, f"{folder.resolve().name}.safetensors"):
            if _header(folder / name):
                (folder / name).unlink()
        if record["method"] == "imagic":
            (folder / EMBEDDINGS_NAME).unlink(missing_ok=True)
            remove_earlier(folder / INNER_LORA)
            _remove(folder / INNER_LORA, ())
        (folder / RECORD_NAME).unlink()
    for path in folder.glob("*.safetensors"):
        if path.name == _word_file_of(_header(path)):
            path.unlink()


def refuse_model(folder: Path) -> None:
    """Raise ValueError where a folder holds a whole model, which saving would break."""
    if (folder / MODEL_INDEX).is_file():
        raise ValueError(f"{folder} holds a whole model, which this would break: name another one")


def word_file_name(token: str) -> str:
    """The file of a learned word: its name without brackets, as other programs call it by that."""
    return (re.sub(r"[^\w-]+", "", token) or "learned_embeds") + ".safetensors"


def _word_file_of(header: dict[str, Any]) -> str | None:
    """The name that saving gives to the file of a word with this header; None where it is none."""
    if header.get("method") != "textual-inversion":
        return None
    return word_file_name(header.get("config", {}).get("placeholder_token", ""))


def _header(path: Path) -> dict[str, Any]:
    """What saving wrote into a file's header; nothing where it did not write that file."""
    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="np") as file:
            return dict(json.loads((file.metadata() or {}).get("sdlearn", "{}")))
    except (SafetensorError, OSError, ValueError, TypeError):
        return {}


def _remove(folder: Path, patterns: tuple[str, ...]) -> None:
    """Remove files of these names, and the folder if nothing is left in it."""
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
