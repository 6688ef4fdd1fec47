"""What the settings of training check of their fields; imports no torch, for `--help`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdlearn.finetune.config import FitConfig


def at_least(config: object, least: float, *names: str) -> None:
    """Raise ValueError, naming the field, for a number that is too small; None is none."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value >= least:  # nan is none either
            raise ValueError(f"{name} is {value}: give at least {least}")


def expand_path(config: object, name: str) -> None:
    """Make a field that may be text, with ~ for the home folder, a whole path; None stays."""
    if getattr(config, name) is not None:
        path = Path(getattr(config, name)).expanduser()
        object.__setattr__(config, name, path)  # the dataclass is frozen


def check_text_encoder_rate(rate: float | None, train_text_encoder: bool) -> None:
    """Raise ValueError for a text encoder's learning rate that is wrong, or of no effect."""
    if rate is None:
        return
    if not rate > 0:
        raise ValueError(f"text_encoder_learning_rate is {rate}: give a number above 0")
    if not train_text_encoder:
        raise ValueError(
            f"text_encoder_learning_rate is {rate}, but the text encoder does not train: set "
            "train_text_encoder with it"
        )


def check_warmup(config: FitConfig) -> None:
    """Raise ValueError for a warm-up that the schedule has not, or that the run never leaves."""
    steps = config.lr_warmup_steps
    if steps and config.lr_scheduler == "constant":
        raise ValueError(
            f"lr_warmup_steps is {steps}, and a constant lr_scheduler has no warm-up: set "
            "lr_scheduler to constant_with_warmup, or lr_warmup_steps to 0"
        )
    if steps >= config.max_train_steps and config.lr_scheduler != "cosine":
        raise ValueError(  # of a cosine, full fine-tuning's, a short run may see the start only
            f"lr_warmup_steps is {steps}, and the run ends after {config.max_train_steps}: give "
            "fewer lr_warmup_steps, or more max_train_steps"
        )
