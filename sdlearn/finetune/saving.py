"""Saving in the place of what an earlier run saved in the same folder.

Otherwise a LoRA, a U-Net or a text encoder of before would be drawn with as if it were new. Files
that saving did not write stay: pictures, checkpoints, logs, and whatever else a person keeps there.
Imports nothing heavy: the command line asks `refuse_model` before a model is loaded.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sdlearn.models.file_kinds import kohya_file_name
from sdlearn.models.records import RECORD_NAME, json_object, read_record
from sdlearn.models.writing import full_disk_named, open_to_others

MODEL_INDEX = "model_index.json"  # what makes a folder a whole model
PARTS = ("unet", "text_encoder", "text_encoder_2")
PART_FILES = ("config.json", "diffusion_pytorch_model*.safetensors*", "model*.safetensors*")
LORA_NAME, EMBEDDINGS_NAME = "pytorch_lora_weights.safetensors", "embeddings.safetensors"
UNFINISHED = ".unfinished"  # in the folder itself, as moving must not cross disks
CARD_NAME, SAMPLES = "README.md", "samples/*.png"  # with pictures that the card shows
CARD_MARK = "<!-- Written by sdlearn, anew at each save"
INNER_LORA = "lora"  # where Imagic's LoRA lies in its folder


@contextmanager
def replace_folder(
    folder: Path, *, whole_model: bool = False, beside_words: bool = False
) -> Iterator[Path]:
    """Give an empty folder of the same name to save to, which then takes the place of `folder`.

    Until all is written, and if it cannot be, what an earlier run saved stays as it was. Then each
    file is moved to its place, the record last, and what the earlier run left besides is taken
    away; other files stay, and `beside_words` words that were learnt before. `whole_model` says
    that a whole model is saved. Else raises ValueError where the folder holds one, as
    `refuse_model`, and OSError, naming the folder, where there is no room.
    """
    if not whole_model:
        refuse_model(folder)
    folder = folder.resolve()
    was_there = folder.exists()
    unfinished = folder / UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed while it saved
    written = unfinished / folder.name
    written.mkdir(parents=True)
    try:
        with full_disk_named(folder):
            yield written
        open_to_others(written)
        earlier = [p for p in earlier_files(folder) if not (beside_words and _is_word(p))]
        new = [path.relative_to(written) for path in written.rglob("*") if path.is_file()]
        if (folder / CARD_NAME).exists() and not is_own_card(folder / CARD_NAME):
            new.remove(Path(CARD_NAME))  # somebody's own text stays
        for path in sorted(new, key=lambda path: path.name == RECORD_NAME):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(written / path, folder / path)
        _remove([path for path in earlier if path.relative_to(folder) not in new], folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not was_there and not any(folder.iterdir()):
            folder.rmdir()


def earlier_files(folder: Path) -> list[Path]:
    """The files in a folder that an earlier save wrote, its record first."""
    try:
        record = read_record(folder)
    except ValueError:
        record = {}
    found = []
    if "method" in record:
        found = [folder / RECORD_NAME]
        found += [p for part in PARTS for name in PART_FILES for p in (folder / part).glob(name)]
        loras = [folder / LORA_NAME, *folder.glob("*.safetensors")]
        found += [path for path in dict.fromkeys(loras) if _is_lora(path)]
    if record.get("method") == "imagic":
        found += [path for path in [folder / EMBEDDINGS_NAME] if path.is_file()]
        found += earlier_files(folder / INNER_LORA)
    if is_own_card(folder / CARD_NAME):
        found += [folder / CARD_NAME, *folder.glob(SAMPLES)]
    return found + [path for path in folder.glob("*.safetensors") if _is_word(path)]


def refuse_model(folder: Path) -> None:
    """Raise ValueError where a folder holds a whole model, which saving would break."""
    if (folder / MODEL_INDEX).is_file():
        raise ValueError(f"{folder} holds a whole model, which this would break: name another one")


def is_own_card(path: Path) -> bool:
    """Whether a file is a card that saving wrote, and not somebody's own text."""
    try:
        return CARD_MARK in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def word_file_name(token: str) -> str:
    """The file of a learned word: its name without brackets, as other programs call it by that."""
    return (re.sub(r"[^\w-]+", "", token) or "learned_embeds") + ".safetensors"


def _is_word(path: Path) -> bool:
    """Whether saving wrote a file that holds a word, and gave it this name."""
    header, _ = _header(path)
    if header.get("method") != "textual-inversion":
        return False
    return path.name == word_file_name(str(header.get("config", {}).get("placeholder_token", "")))


def _is_lora(path: Path) -> bool:
    """Whether saving wrote a LoRA's file and gave it this name, whatever its folder was called."""
    header, title = _header(path)
    names = (LORA_NAME, kohya_file_name(title), f"{path.parent.name}.safetensors")
    return path.name in names and str(header.get("method", "")).endswith("lora")


def _header(path: Path) -> tuple[dict[str, Any], str]:
    """What saving wrote into a file's header, and its title; nothing where it did not write it."""
    if not path.is_file():
        return {}, ""
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
        header = json_object(metadata.get("sdlearn", "{}"), str(path))
    except (SafetensorError, OSError, ValueError):
        return {}, ""
    return header, metadata.get("ss_output_name", "")


def _remove(files: Sequence[Path], folder: Path) -> None:
    """Remove files, and those folders within `folder` in which nothing is left then."""
    for path in files:
        path.unlink()
    for parent in {path.parent for path in files} - {folder}:
        if not any(parent.iterdir()):
            parent.rmdir()
