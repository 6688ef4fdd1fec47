"""The demo: one character, three methods that learn it, and a sheet on which they compare.

The names are imported on first use, so that the command line's help needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.course.demo.config import DemoConfig
    from sdlearn.course.demo.run import DemoResult, run_demo

__all__ = ["DemoConfig", "DemoResult", "run_demo"]

_FILE_OF = {"DemoConfig": "config", "DemoResult": "run", "run_demo": "run"}


def __getattr__(name: str) -> Any:
    """Import a public name from its file on first use."""
    if name not in _FILE_OF:
        raise AttributeError(f"module 'sdlearn.course.demo' has no attribute '{name}'")
    return getattr(import_module(f"sdlearn.course.demo.{_FILE_OF[name]}"), name)
