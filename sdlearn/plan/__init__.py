"""What training will need, said before anything is loaded. Names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.plan.config import PlanConfig
    from sdlearn.plan.planning import Plan, plan
    from sdlearn.plan.table import describe, train_command

_FILE_OF = {
    "Plan": "planning",
    "PlanConfig": "config",
    "describe": "table",
    "plan": "planning",
    "train_command": "table",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its file on first use."""
    if name not in _FILE_OF:
        raise AttributeError(f"module 'sdlearn.plan' has no attribute '{name}'")
    return getattr(import_module(f"sdlearn.plan.{_FILE_OF[name]}"), name)
