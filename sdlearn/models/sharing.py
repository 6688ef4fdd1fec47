"""Second models of the very same weights."""

from __future__ import annotations

import copy
from typing import Any

import torch


def copy_sharing_weights(model: torch.nn.Module) -> Any:
    """Return a second model of the very same weights, whose parts can be exchanged."""
    weights = [*model.parameters(), *model.buffers()]
    second = copy.deepcopy(model, {id(weight): weight for weight in weights})
    for name in ("forward", "_original_forward"):  # accelerate's, while a run goes on: would call
        second.__dict__.pop(name, None)  # the first model
    return second
