"""A note beside files that says what they were made from, so that they are not taken for others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdlearn.models.writing import replaced_when_complete


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
