"""Keeping what an experiment has done, so that one that was stopped goes on where it was.

FOLDER/
    settings.json         size and model; other settings are refused
    units/KEY.json        what one run of one experiment measured
    pictures/KEY.png      what it drew, to look at
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sdlearn.data.record import keep_record
from sdlearn.models.writing import prepare_folder, replaced_when_complete

Unit = dict[str, Any]  # what JSON holds


class Work:
    """A folder of units; raises ValueError where it holds those of other settings."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = prepare_folder(folder)
        keep_record(
            self.folder / "settings.json",
            settings,
            what="the measurements",
            mend="choose another folder, or delete that one to start over",
        )

    def unit(self, key: str, compute: Callable[[], Unit]) -> Unit:
        """What was measured under `key` ("claim/what"): from its file, or now."""
        path = self.folder / "units" / f"{key}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        unit = compute()
        prepare_folder(path.parent)
        with replaced_when_complete(path) as unfinished:
            unfinished.write_text(json.dumps(unit, indent=1) + "\n", encoding="utf-8")
        return json.loads(json.dumps(unit))

    def picture(self, key: str) -> Path:
        """Where a unit's picture goes; its folder is there."""
        path = self.folder / "pictures" / f"{key}.png"
        prepare_folder(path.parent)
        return path
