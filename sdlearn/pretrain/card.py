"""The facts of a run of the recipe: settings, losses, time, hardware and commit."""

import json
import subprocess
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import torch

from sdlearn.models.card import FACTS, hardware, refresh_card
from sdlearn.pretrain.config import PretrainConfig


def write_cards(config: PretrainConfig, folder: Path) -> None:
    """Writes `recipe.json` (settings, losses, time, hardware, commit) and the card beside it."""
    settings = {k: v for k, v in asdict(config).items() if k not in ("output", "work", "workers")}
    settings["start"] = None if config.start is None else config.start.name
    facts = {
        "made": datetime.now(timezone.utc).date().isoformat(),
        "commit": _commit(),
        "hardware": hardware(config.device),
        "torch": torch.__version__,
        "settings": settings,
        "stages": _stages(config),
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    refresh_card(folder)


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def _stages(config: PretrainConfig) -> dict[str, dict[str, float]]:
    """What each stage did, with those of the model that this run went on from."""
    here = {path.parent.name: _summary(path) for path in _histories(config)}
    if config.start is None or not (config.start / FACTS).is_file():
        return here
    before = json.loads((config.start / FACTS).read_text(encoding="utf-8"))["stages"]
    runs = {name: sum(other.startswith(name) for other in before) for name in here}
    return {f"{n}, run {runs[n]}" if n in here else n: v for n, v in before.items()} | here


def _histories(config: PretrainConfig) -> list[Path]:
    return sorted(config.work.glob("*/log.jsonl"))


def _summary(path: Path) -> dict[str, float]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    last = rows[-400:]
    names = [name for name in rows[-1] if name not in ("step", "seconds", "learning_rate")]
    means = {name: round(sum(row[name] for row in last) / len(last), 5) for name in names}
    return {
        "steps": rows[-1]["step"],
        "minutes": round(sum(row["seconds"] for row in rows) / 60, 1),
    } | means
