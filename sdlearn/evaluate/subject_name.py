"""What a saved artefact calls its subject, and what class that is of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdlearn.data.folder import Picture
from sdlearn.evaluate.config import SubjectConfig
from sdlearn.evaluate.situations import class_word_of
from sdlearn.finetune.templates import word_pattern
from sdlearn.models.learned_embeds import read_learned_embeds
from sdlearn.models.lora_files import is_lora
from sdlearn.models.records import RECORD_NAME, read_record

ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True, kw_only=True)
class SubjectName:
    """What prompts call a subject."""

    method: str  # that made the artefact, as far as can be told
    subject: str | None  # "sks person"; None: the class itself, as of full fine-tuning
    class_word: str  # "person"


def is_artefact(path: Path) -> bool:
    """Whether a path is something that a training run saved, rather than pictures."""
    if path.is_file():
        return path.suffix == ".safetensors"
    parts = (RECORD_NAME, "unet", "text_encoder")
    return any((path / part).exists() for part in parts) or any(path.glob("*.safetensors"))


def find_subject_name(
    path: Path, config: SubjectConfig, pictures: Sequence[Picture]
) -> SubjectName:
    """Take the subject's name and class from the configuration, else from what was saved.

    Raises ValueError, with what to give, where neither says what the subject is called.
    """
    record = read_record(path)
    settings: Mapping[str, Any] = record.get("config", {})
    class_word = config.class_word or _last_word(settings.get("class_prompt", ""))
    class_word = class_word or class_word_of(pictures[0].attributes.get("style", ""))
    token = None if record else _token(path)
    method = record.get("method", "not recorded" if token is None else "textual-inversion")
    subject = config.subject
    if subject is None and method != "full":
        subject = token or _from_prompt(settings, class_word)
        if subject is None:
            raise ValueError(
                f"{path} does not say what its subject is called in prompts: give --subject, such "
                f'as "sks {class_word}", or --subject "" if it has no name of its own'
            )
    return SubjectName(method=method, subject=subject or None, class_word=class_word)


def _token(path: Path) -> str | None:
    """The learned word of a Textual Inversion file, or of a folder that holds just that."""
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if len(files) != 1 or is_lora(files[0]):
        return None
    return read_learned_embeds(files[0])[0]


def _from_prompt(settings: Mapping[str, Any], class_word: str) -> str | None:
    """ "sks person" of "a picture of sks person": the class with the word in front of it."""
    prompt = settings.get("instance_prompt") or settings.get("prompt") or ""
    found = re.search(rf"(\S+)\s+{word_pattern(class_word).pattern}", prompt)
    if found is None or found[1].lower() in ARTICLES or "{" in found[1]:
        return None
    return f"{found[1]} {class_word}"


def _last_word(prompt: str) -> str:
    """ "person" of "a picture of a person"; nothing of a prompt with captions in it."""
    found = re.search(r"(\w+)\W*$", prompt)
    return found[1] if found and "{" not in prompt else ""
