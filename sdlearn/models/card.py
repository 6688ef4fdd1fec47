"""The model card: what mini is made of, how, when, on what, and what it measures.

It is written from two files beside it: `recipe.json` by the recipe, `measurements.json` by
`sdlearn evaluate mini`.
"""

import json
import os
import platform
from pathlib import Path

import torch

from sdlearn.models.writing import replaced_when_complete

FACTS, MEASUREMENTS, CARD = "recipe.json", "measurements.json", "README.md"


def hardware(device: str) -> str:
    """The processor or the GPU, in words."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def refresh_card(folder: Path) -> None:
    """Writes the card anew from `recipe.json` and, if it is there, `measurements.json`."""
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
        unfinished.write_text(text, encoding="utf-8")


def _losses(summary: dict[str, float]) -> str:
    return ", ".join(f"{k} {v:.4g}" for k, v in summary.items() if k not in ("steps", "minutes"))


_CARD = """---
language: [en, ja]
license: cc-by-4.0
library_name: diffusers
pipeline_tag: text-to-image
---

# mini: a small Stable Diffusion that ships with sdlearn

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
