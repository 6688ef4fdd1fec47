"""The model card: what mini is made of, how, when, on what, and what it measures.

It is written from two files beside it: `recipe.json` by the recipe, `measurements.json` by
`sdlearn evaluate mini`.
"""

import json
import subprocess
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import torch
from huggingface_hub import ModelCardData

from sdlearn.models.writing import replaced_when_complete
from sdlearn.pretrain.config import PretrainConfig
from sdlearn.training.accelerator import hardware

FACTS, MEASUREMENTS, CARD = "recipe.json", "measurements.json", "README.md"


def write_cards(config: PretrainConfig, folder: Path) -> None:
    """Write `recipe.json` (settings, losses, time, hardware, commit) and the card beside it."""
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


def refresh_card(folder: Path) -> None:
    """Write the card anew from `recipe.json` and, if it is there, `measurements.json`."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    measured = folder / MEASUREMENTS
    table = "Not measured yet: run `sdlearn evaluate mini`."
    if measured.exists():
        table = json.loads(measured.read_text(encoding="utf-8"))["table"]
    rows = [
        f"| {name} | {s['steps']} | {s['minutes']} | {_losses(s)} |"
        for name, s in facts["stages"].items()
    ]
    settings = facts["settings"]
    front = ModelCardData(
        language=["en", "ja"],
        license="cc-by-4.0",
        library_name="diffusers",
        pipeline_tag="text-to-image",
    )
    text = _CARD.format(
        size=settings["image_size"],
        pictures=settings["pictures"],
        notes=settings.get("notes", ""),
        made=facts["made"],
        commit=facts["commit"],
        hardware=facts["hardware"],
        torch=facts["torch"],
        stages="\n".join(rows),
        measurements=table,
    )
    with replaced_when_complete(folder / CARD) as unfinished:
        unfinished.write_text(f"---\n{front.to_yaml()}\n---\n\n{text}", encoding="utf-8")


def _losses(summary: dict[str, float]) -> str:
    return ", ".join(f"{k} {v:.4g}" for k, v in summary.items() if k not in ("steps", "minutes"))


_CARD = """# mini: a small Stable Diffusion that ships with sdlearn

A complete Stable Diffusion in diffusers' folder format, {size} x {size} pixels, for prompts in
English and Japanese. It draws one world only: characters in six avatar styles (micah, open-peeps,
toon-head, personas, voxel-art, critters) on plain backgrounds. It is for learning; it draws
nothing else.

## Data and licence

{pictures} pictures drawn from the DiceBear avatar styles by their exact attributes, with captions
made from the attributes. Artists, sources, licences and changes are in the course's
`data/licenses.json`: open-peeps, voxel-art and critters are CC0 1.0; micah (Micah Lanier),
toon-head (Johan Melin) and personas (Draftbit) are CC BY 4.0. The weights are CC BY 4.0. One
attribute combination in ten is held out by rule and was never trained on. No picture from the
web, and no other model, had a part in it.

## Recipe

`sdlearn pretrain`; all settings are in `recipe.json`. Made {made} at commit {commit} on {hardware},
torch {torch}. {notes}

| stage | steps | minutes | losses at the end (mean of the last 400 steps) |
| --- | --- | --- | --- |
{stages}

The folder `judges` holds what measures and never generates: a CLIP, a self-supervised image
encoder and an attribute reader, trained apart from the generator.

## Measurements

{measurements}
"""
