"""The figures of an artefact or of pictures: a table to read, and the same as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sdlearn.evaluate.bootstrap import LEVEL
from sdlearn.evaluate.figures import Figure
from sdlearn.models.registry import SOURCES, shipped_folder
from sdlearn.models.writing import replaced_when_complete
from sdlearn.pretrain.model_card import MEASUREMENTS
from sdlearn.training.accelerator import hardware

PACKAGES = ("sdlearn", "torch", "diffusers", "transformers")


def measurement_facts(command: str, device: str) -> dict[str, Any]:
    """When, by which command, on what and with which versions something was measured."""
    return {
        "measured": datetime.now(timezone.utc).date().isoformat(),
        "command": command,
        "hardware": hardware(device),
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
    }


def report(
    figures: Sequence[Figure], facts: Mapping[str, Any], notes: Sequence[str], judges: str
) -> dict[str, Any]:
    """All that is kept: the facts, the figures, what to know of them, the judges and the table.

    `judges` is the model, name or folder, that they lie beside.
    """
    accuracy = judges_accuracy(judges)
    notes = [*(note for note in notes if note), _judges_note(accuracy)]
    return {
        **facts,
        "figures": {
            f.name: {**asdict(f.interval), "better": f.better, "pictures": f.pictures}
            for f in figures
        },
        "judges": accuracy,
        "notes": notes,
        "table": as_table(figures, notes),
    }


def as_table(figures: Sequence[Figure], notes: Sequence[str]) -> str:
    """A table in Markdown, and below it a line for each note."""
    head = ["measure", "figure", f"{LEVEL:.0%} interval".replace("%", " %"), "better", "pictures"]
    rows = [head, ["---"] * len(head)]
    for f in figures:
        i = f.interval
        between = f"{i.low:.3f} to {i.high:.3f}"
        rows.append([f.label, f"{i.value:.3f}", between, f.better, str(f.pictures)])
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", *notes])


def judges_accuracy(model: str) -> dict[str, Any] | None:
    """How often a model's judges are right about real pictures, from its `measurements.json`.

    None where they have not been measured.
    """
    folder = shipped_folder(model) if model in SOURCES else Path(model).expanduser()
    try:
        figures = json.loads((folder / MEASUREMENTS).read_text(encoding="utf-8"))["figures"]
        return {
            "real_pictures": figures["real_pictures"],
            "attributes": {name: row["real"] for name, row in figures["attributes"].items()},
            "retrieval": figures["retrieval"]["en"],
            "retrieval_among": figures["retrieval_among"],
        }
    except (OSError, ValueError, KeyError):
        return None


def write_report(measured: Mapping[str, Any], path: Path) -> None:
    """Write the JSON complete or not at all. Raises OSError."""
    with replaced_when_complete(path) as unfinished:
        text = json.dumps(measured, indent=1, ensure_ascii=False)
        unfinished.write_text(text + "\n", encoding="utf-8")


def _judges_note(accuracy: Mapping[str, Any] | None) -> str:
    if accuracy is None:
        return "How often these judges are right is not known: `sdlearn evaluate mini` measures it."
    shares = accuracy["attributes"]
    worst = min(shares, key=shares.__getitem__)
    return (
        f"The judges themselves, on {accuracy['real_pictures']} real pictures: the reader sees "
        f"{sum(shares.values()) / len(shares):.1%} of the attributes ({worst.replace('_', ' ')} "
        f"least, {shares[worst]:.1%}), and CLIP finds a picture's caption among "
        f"{accuracy['retrieval_among']} in {accuracy['retrieval']:.1%}."
    )
