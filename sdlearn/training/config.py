"""Every number of a training run, with its unit and where its default comes from.

This file imports no torch: the command line builds its `--help` from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

Precision = Literal["no", "bf16", "fp16"]
LearningRateSchedule = Literal[
    "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"
]
FLAT_SCHEDULES = ("constant", "constant_with_warmup")  # do not depend on how long a run is
MOST_PICTURES = 8192  # a batch; four times what Stable Diffusion was trained with
MOST_PIXELS = 4096  # height and width
MAX_SEED = 2**43  # torch takes 64 bits, and each step multiplies by a million


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to train, whatever the method."""

    max_train_steps: int = 400  # optimizer steps; 200 to 800 for DreamBooth (diffusers)
    max_seconds: float | None = None  # of training; ends it before its last step; None: no limit
    train_batch_size: int = 4  # pictures a forward pass and process
    gradient_accumulation_steps: int = 1  # forward passes an optimizer step
    learning_rate: float | None = None  # None: what suits the method and the model
    lr_scheduler: LearningRateSchedule = "constant"  # diffusers' name
    lr_warmup_steps: int = 0  # optimizer steps
    adam_beta1: float = 0.9  # AdamW's own default
    adam_beta2: float = 0.999  # AdamW's own default
    adam_weight_decay: float = 1e-2  # a step and learning rate; methods may take none
    adam_epsilon: float = 1e-8  # AdamW's own default
    max_grad_norm: float = 1.0  # L2 norm over everything trained; 0: no clipping
    snr_gamma: float | None = None
    """min-SNR weights, 5 in the paper (Hang et al. 2023, arXiv:2303.09556); inf: all weigh 1; None:
    what suits method and model, for most the same"""
    resolution: int | None = None  # pixels, height and width; None: the model's own
    random_flip: bool = False  # mirror half the pictures; off, as hair partings and text have sides
    mixed_precision: Precision = "no"  # of the forward pass; what trains stays float32
    gradient_checkpointing: bool = False  # compute activations twice instead of keeping them
    use_8bit_adam: bool = False  # moments in 8 bits, by bitsandbytes; on CUDA GPUs only
    allow_tf32: bool = False  # faster, coarser float32 products on Ampere GPUs and newer
    use_ema: bool = False  # average the weights over the steps, and end with the average
    ema_decay: float = 0.9999  # a step, reached over a ramp (diffusers)
    seed: int = 0  # of every random number of the run
    output_dir: Path | None = None  # checkpoints and log; None: neither
    checkpointing_steps: int = 100  # optimizer steps; the last step is always kept
    checkpointing_seconds: float | None = None  # seconds to the next checkpoint at most; None: any
    checkpoints_total_limit: int | None = 2  # newest ones to keep; None: all
    logging_steps: int = 10  # optimizer steps between writes to the log
    tensorboard: bool = False  # write the log for TensorBoard too, to output_dir/tensorboard
    preview_prompts: tuple[str, ...] = ()  # drawn as it trains, to output_dir/previews
    preview_steps: int = 100  # optimizer steps between previews; the last step is drawn too
    preview_seconds: float | None = None  # seconds between previews, in place of preview_steps
    preview_inference_steps: int = 20  # sampler steps of a preview
    preview_guidance_scale: float = 5.0  # of the previews; 1 is none
    validation_steps: int = 100  # optimizer steps between losses on validation pictures, if given
    resume: bool = False  # go on from the newest checkpoint in output_dir

    def __post_init__(self) -> None:
        """Raise ValueError, naming the field, for bad values."""
        expand_path(self, "output_dir")
        at_least(self, 1, "max_train_steps", "train_batch_size", "gradient_accumulation_steps")
        at_least(self, 1, "checkpointing_steps", "checkpoints_total_limit", "logging_steps")
        at_least(self, 1, "preview_steps", "preview_inference_steps", "validation_steps")
        at_least(self, 0, "preview_guidance_scale", "checkpointing_seconds", "preview_seconds")
        at_least(self, 0, "lr_warmup_steps", "max_grad_norm", "adam_weight_decay", "seed")
        at_least(self, 8, "resolution")  # one latent
        at_most(self, MOST_PICTURES, "train_batch_size")
        at_most(self, MOST_PIXELS, "resolution")
        above_zero(self, "learning_rate", "adam_epsilon", "max_seconds")
        if self.snr_gamma is not None and not self.snr_gamma > 0:
            raise ValueError(f"snr_gamma is {self.snr_gamma}: give a number above 0")
        for name in ("adam_beta1", "adam_beta2", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: give a number from 0 to below 1"
                )
        if self.seed > MAX_SEED:
            raise ValueError(f"seed is {self.seed}: give a whole number from 0 to {MAX_SEED}")
        check_warmup(self)
        if self.resume and self.output_dir is None:
            raise ValueError("resume needs an output_dir: name the folder with the checkpoints")
        for name in ("tensorboard", "preview_prompts"):
            if getattr(self, name) and self.output_dir is None:
                raise ValueError(f"{name} needs an output_dir: name the folder to write to")


def at_least(config: object, least: float, *names: str) -> None:
    """Raise ValueError, naming the field, for a number that is too small; None is let through."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not least <= value < inf:  # which NaN is not either
            limit = f"at least {least}" if value != inf else "a finite number"
            raise ValueError(f"{name} is {value}: give {limit}")


def at_most(config: object, most: float, *names: str) -> None:
    """Raise ValueError, naming the field, for a number beyond all machines; None is let through."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value > most:
            raise ValueError(f"{name} is {value}: give at most {most}")


def above_zero(config: object, *names: str) -> None:
    """Raise ValueError, naming the field, for what is no finite number above 0; None is let by."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 < value < inf:
            raise ValueError(f"{name} is {value}: give a number above 0")


def expand_path(config: object, name: str) -> None:
    """Make a field that may be text, with ~ for the home folder, a whole path; None stays."""
    if getattr(config, name) is not None:
        path = Path(getattr(config, name)).expanduser()
        object.__setattr__(config, name, path)  # the dataclass is frozen


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
