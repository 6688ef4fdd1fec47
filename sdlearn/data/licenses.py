"""Whose every picture and weight is: the manifest `data/licenses.json`, and what may be in it."""

import json
from functools import lru_cache

from sdlearn.models.registry import shipped_path

ALLOWED = ("CC0-1.0", "CC-BY-4.0", "MIT", "Apache-2.0")
FIELDS = ("license", "author", "source", "changes")


@lru_cache(maxsize=1)
def manifest() -> dict[str, dict[str, str]]:
    """Name of a drawing style or a model -> its licence, author, source and what was changed."""
    return json.loads(shipped_path("licenses.json").read_text(encoding="utf-8"))


def license_of(name: str) -> dict[str, str]:
    """Licence, author, source and changes of a style or a model.

    Raises:
        ValueError: nothing of that name is in the manifest, so it may not be used.
    """
    if name not in manifest():
        raise ValueError(f"{name!r} has no entry in data/licenses.json: only what has one is used")
    return manifest()[name]
