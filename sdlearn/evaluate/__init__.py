"""The judges and what they measure. The names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.evaluate.judges import Judges
    from sdlearn.evaluate.metrics import (
        attribute_fit,
        attribute_shift,
        class_drift,
        prompt_fit,
        subject_fidelity,
        total_variation,
    )

__all__ = [
    "Judges",
    "attribute_fit",
    "attribute_shift",
    "class_drift",
    "prompt_fit",
    "subject_fidelity",
    "total_variation",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its file on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'sdlearn.evaluate' has no attribute '{name}'")
    file = "judges" if name == "Judges" else "metrics"
    return getattr(import_module(f"sdlearn.evaluate.{file}"), name)
