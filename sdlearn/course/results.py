"""The results that the course ships: figures and small artefacts, in `data/results`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdlearn.models.registry import shipped_path

if TYPE_CHECKING:
    from PIL import Image


def shipped_artefact(name: str) -> Path:
    """The artefact `name` that the course ships; raises FileNotFoundError, naming those it has."""
    folder = shipped_path("results/artefacts")
    if not (folder / name).exists():
        found = sorted(path.name for path in folder.iterdir())
        raise FileNotFoundError(f'the course ships no artefact "{name}", only {found}: train it')
    return folder / name


def shipped_picture(name: str) -> Image.Image:
    """The picture `data/results/NAME.png`, in RGB; raises FileNotFoundError where there is none."""
    from sdlearn.data.image_files import read_image

    return read_image(shipped_path(f"results/{name}.png"))


def shipped_result(name: str) -> dict[str, Any]:
    """Return the figures of `data/results/NAME.json`, such as "claims/comparison".

    Raises FileNotFoundError where there are none.
    """
    return json.loads(shipped_path(f"results/{name}.json").read_text(encoding="utf-8"))
