"""Notes in JSON beside files, that say what these were made from.

`artefact.json` is that of a training run: base model, method, configuration.

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


def keep_record(path: Path, settings: Mapping[str, Any], *, what: str, mend: str) -> None:
    """Write the settings to a JSON file, or check that those it holds are the same.

    `what` names the files in an error ("the class pictures"), `mend` says what to do about them.
    Raises ValueError for a file that cannot be read, and for other settings, naming each.
    """
    if not path.exists():
        with replaced_when_complete(path) as unfinished:
            unfinished.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        return
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {mend}") from error
    here = json.loads(json.dumps(settings))
    changed = [f"{k} was {saved.get(k)!r}, is {here[k]!r}" for k in here if saved.get(k) != here[k]]
    if changed:
        raise ValueError(
            f"{what} in {path.parent} are of other settings ({'; '.join(changed)}): {mend}"
        )
