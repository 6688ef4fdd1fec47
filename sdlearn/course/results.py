"""Where the results that the course ships lie: figures and small artefacts, in `data/results`."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def results_folder() -> Path:
    """`data/results` of a checkout, or `sdlearn/_data/results` of an installed wheel.

    Raises FileNotFoundError where neither is there.
    """
    places = [PACKAGE.parent / "data" / "results", PACKAGE / "_data" / "results"]
    for folder in places:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the course's results are neither in {places[0]} nor in {places[1]}: "
        "install the wheel or fetch the whole repository"
    )


def shipped_artefact(name: str) -> Path:
    """The artefact `name` that the course ships; raises FileNotFoundError, naming those it has."""
    folder = results_folder() / "artefacts"
    if not (folder / name).exists():
        found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        raise FileNotFoundError(f'the course ships no artefact "{name}", only {found}: train it')
    return folder / name
