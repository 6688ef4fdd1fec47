"""`artefact.json`, beside what a training run saved: base model, method, configuration.

Imports nothing heavy: the command line reads it before a model is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdlearn.models.writing import replaced_when_complete

RECORD_NAME = "artefact.json"


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write beside saved parts what they were made from."""
    text = json.dumps(record, indent=2, ensure_ascii=False)
    with replaced_when_complete(folder / RECORD_NAME) as unfinished:
        unfinished.write_text(text + "\n", encoding="utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """Read what a training run wrote beside what it saved; nothing where there is none.

    Raises ValueError for a record that cannot be read.
    """
    file = path / RECORD_NAME
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{file} cannot be read: take it out, or save the artefact again"
        ) from error
