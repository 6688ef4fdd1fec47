"""The optimizer: AdamW in the form that is fastest where it runs, or with moments in 8 bits."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.training.config import FitConfig


def check_optimizer(config: FitConfig, device: torch.device) -> None:
    """Raise ValueError where 8-bit moments are asked for and cannot be had."""
    if not config.use_8bit_adam:
        return
    if device.type != "cuda":
        raise ValueError(f"use_8bit_adam works on CUDA GPUs only, and this is {device}: leave it")
    if find_spec("bitsandbytes") is None:
        raise ValueError(
            "use_8bit_adam needs the package bitsandbytes: install it with "
            "`pip install bitsandbytes`, or leave use_8bit_adam out"
        )


def make_optimizer(
    groups: list[dict[str, Any]],
    learning_rate: float,
    config: FitConfig,
    accelerator: Accelerator,
) -> torch.optim.Optimizer:
    """Make the AdamW of a run for groups of parameters."""
    settings: dict[str, Any] = {
        "lr": learning_rate,
        "betas": (config.adam_beta1, config.adam_beta2),
        "eps": config.adam_epsilon,
        "weight_decay": config.adam_weight_decay,
    }
    if config.use_8bit_adam:
        return import_module("bitsandbytes").optim.AdamW8bit(groups, **settings)
    # A fused step looks for overflow by itself, so that accelerate never learns of a skipped one,
    # and schedule and average would move on: under a scaler take torch's next best, foreach.
    fused = accelerator.scaler is None and accelerator.device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, fused=True if fused else None, **settings)
