"""The results that the course ships: figures and small artefacts, in `data/results`."""

from __future__ import annotations

from pathlib import Path

from sdlearn.models.registry import shipped_path


def shipped_artefact(name: str) -> Path:
    """The artefact `name` that the course ships; raises FileNotFoundError, naming those it has."""
    folder = shipped_path("results/artefacts")
    if not (folder / name).exists():
        found = sorted(path.name for path in folder.iterdir())
        raise FileNotFoundError(f'the course ships no artefact "{name}", only {found}: train it')
    return folder / name
