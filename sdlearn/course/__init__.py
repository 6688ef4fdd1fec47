"""What the notebooks and their presenters need, and a trainer would not.

The names are imported on first use, so that the command line's help needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.course.session import start

__all__ = ["start"]


def __getattr__(name: str) -> Any:
    """Import a public name from its file on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'sdlearn.course' has no attribute '{name}'")
    return getattr(import_module("sdlearn.course.session"), name)
