"""Notes in JSON beside files, that say what these were made from.

`artefact.json` is that of a training run: base model, method, configuration.

Imports nothing heavy: the command line reads it before a model is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdlearn.models.writing import finish_moving, replaced_when_complete

RECORD_NAME = "artefact.json"


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write beside saved parts what they were made from."""
    text = json.dumps(record, indent=2, ensure_ascii=False)
    with replaced_when_complete(folder / RECORD_NAME) as unfinished:
        unfinished.write_text(text + "\n", encoding="utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """Read what a training run wrote beside what it saved; nothing where there is none.

    A save that was killed in its middle is brought to its end first. Raises ValueError for a record
    that cannot be read.
    """
    finish_moving(path)
    file, mend = path / RECORD_NAME, "take it out, or save the artefact again"
    record = read_json(file, mend) if file.is_file() else {}
    if not isinstance(record.get("method", ""), str) or not isinstance(
        record.get("config", {}), dict
    ):
        raise ValueError(f"{file} does not say how it was made: {mend}")
    return record


def read_json(path: Path, mend: str) -> dict[str, Any]:
    """Read a file that holds a JSON object; ValueError, with what mends it, where it does not."""
    try:
        return json_object(path.read_text(encoding="utf-8"), str(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a JSON object: {mend}") from error


def json_object(text: str | bytes, where: str) -> dict[str, Any]:
    """Read a JSON object; ValueError, naming where it stands, for anything else."""
    value = parse_json(text, where)
    if not isinstance(value, dict):
        raise ValueError(f"{where}: holds {json.dumps(value)[:40]}, where a JSON object should be")
    return value


def parse_json(text: str | bytes, where: str) -> Any:
    """Read JSON; ValueError, naming where it stands, for what cannot be read."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error.msg} at character {error.pos + 1})") from error
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, brackets without end
        raise ValueError(f"{where}: JSON that is not to be read ({error})") from error


def keep_record(path: Path, settings: Mapping[str, Any], *, what: str, mend: str) -> None:
    """Write the settings to a JSON file, or check that those it holds are the same.

    `what` names the files in an error ("the class pictures"), `mend` says what to do about them.
    Raises ValueError for a file that cannot be read, and for other settings, naming each.
    """
    if not path.exists():
        with replaced_when_complete(path) as unfinished:
            unfinished.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        return
    saved = read_json(path, mend)
    here = json.loads(json.dumps(settings))
    changed = [f"{k} was {saved.get(k)!r}, is {here[k]!r}" for k in here if saved.get(k) != here[k]]
    if changed:
        raise ValueError(
            f"{what} in {path.parent} are of other settings ({'; '.join(changed)}): {mend}"
        )
