"""Saving in the place of what an earlier run saved in the same folder.

Otherwise a LoRA, a U-Net or a text encoder of before would be drawn with as if it were new. Files
that saving did not write stay: pictures, checkpoints, logs, and whatever else a person keeps there.
Imports nothing heavy: the command line asks `refuse_model` before a model is loaded.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sdlearn.models.file_kinds import kohya_file_name
from sdlearn.models.records import RECORD_NAME, json_object, read_record
from sdlearn.models.writing import (
    PATIENCE,
    finish_moving,
    full_disk_named,
    move_into,
    one_writer,
    open_to_others,
)

MODEL_INDEX = "model_index.json"  # what makes a folder a whole model
PARTS = ("unet", "text_encoder", "text_encoder_2")
PART_FILES = ("config.json", "diffusion_pytorch_model*.safetensors*", "model*.safetensors*")
LORA_NAME, EMBEDDINGS_NAME = "pytorch_lora_weights.safetensors", "embeddings.safetensors"
UNFINISHED = ".unfinished"  # in the folder itself, as moving must not cross disks
CARD_NAME, SAMPLES = "README.md", "samples/*.png"  # with pictures that the card shows
CARD_MARK = "<!-- Written by sdlearn, anew at each save"
ORIGINS = ("_name_or_path", "name_or_path")  # paths on this machine, in configurations
BLOCKED_BY_FILES = (*PARTS, "samples", "lora", "pictures")
OTHER_PROGRAMS = "ComfyUI, A1111, Forge, kohya's scripts and OneTrainer"
INNER_LORA = "lora"  # where Imagic's LoRA lies in its folder


@contextmanager
def replace_folder(
    folder: Path, *, whole_model: bool = False, beside_words: bool = False
) -> Iterator[Path]:
    """Give an empty folder of the same name to save to, which then takes the place of `folder`.

    Until all is written, and if it cannot be, what an earlier run saved stays as it was. Then all
    files are moved to their places at once (see `move_into`), and what the earlier run left besides
    is taken away; other files stay, and `beside_words` words that were learnt before. `whole_model`
    says that a whole model is saved. Else raises ValueError where the folder holds one, as
    `refuse_model`, and OSError, naming the folder, where there is no room. Another run that saves
    to the folder is waited for.
    """
    if not whole_model:
        refuse_model(folder)
    folder = folder.resolve()
    was_there = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / UNFINISHED
    written = unfinished / folder.name
    try:
        with one_writer(folder, seconds=PATIENCE, again=True), full_disk_named(folder):
            finish_moving(folder)
            shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed while it saved
            written.mkdir(parents=True)
            yield written
            _leave_origins_out(written)
            open_to_others(written)
            _take_place(written, folder, beside_words)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not was_there and not any(folder.iterdir()):
            folder.rmdir()


def _take_place(written: Path, folder: Path, beside_words: bool) -> None:
    """Move what was written to its folder, and take away what the earlier run left besides."""
    if (folder / CARD_NAME).exists() and not is_own_card(folder / CARD_NAME):
        (written / CARD_NAME).unlink()  # somebody's own text stays
    earlier = [p for p in earlier_files(folder) if not (beside_words and _is_word(p))]
    gone = [path.relative_to(folder) for path in earlier]
    move_into(folder, written, [path for path in gone if not (written / path).exists()])


def _leave_origins_out(folder: Path) -> None:
    """Take out of configurations from where parts were loaded, which libraries write into them."""
    for path in [*folder.rglob("*config.json"), *folder.glob(MODEL_INDEX)]:
        config = json_object(path.read_text(encoding="utf-8"), str(path))
        kept = {key: value for key, value in config.items() if key not in ORIGINS}
        if kept != config:
            path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


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


def saved_names(folder_name: str) -> tuple[str, ...]:
    """The files that methods save to a folder of this name, beside those in its folders."""
    return (RECORD_NAME, CARD_NAME, LORA_NAME, kohya_file_name(folder_name), EMBEDDINGS_NAME)


def lora_files_named(folder: Path) -> list[str]:
    """Say which of a LoRA's two files is for which programs; nothing where there is no LoRA."""
    name = kohya_file_name(folder.name)
    if not (folder / LORA_NAME).is_file():
        return []
    return [f"for diffusers: {LORA_NAME}", f"for {OTHER_PROGRAMS}: {name}"]


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
