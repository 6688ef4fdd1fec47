"""What a plan refuses before anything is worked out, as training would or as there is no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdlearn.plan.advice import gigabytes
from sdlearn.training.accelerator import check_optimizer, make_accelerator
from sdlearn.training.config import FitConfig

if TYPE_CHECKING:
    from sdlearn.models.architectures import Architecture
    from sdlearn.plan.config import PlanConfig
    from sdlearn.plan.machine import Machine


def check_rank(config: PlanConfig, shape: Architecture) -> None:
    """Raise ValueError for a LoRA of more rows than any layer that it changes."""
    widest = max(shape.unet["block_out_channels"])
    if config.train_text_encoder:
        encoders = [shape.text_encoder, shape.text_encoder_2 or {}]
        widest = max(widest, *(encoder.get("hidden_size", 0) for encoder in encoders))
    if (config.lora_rank or 1) > widest:
        raise ValueError(
            f"--lora-rank is {config.lora_rank}: the layers of {config.model} have a rank of at "
            f"most {widest}, so give no more"
        )


def check_machine(config: PlanConfig, machine: Machine) -> None:
    """Raise ValueError for what training refuses on a machine, in the same words, and for no room.

    What a GPU that is not here would refuse is not known.
    """
    if machine.memory <= machine.overhead:
        here = "free some, or give the GB of a GPU with --gpu-memory"
        mend = here if config.gpu_memory is None else "give a larger --gpu-memory"
        raise ValueError(
            f"{machine.name} has {gigabytes(machine.memory)} for training, and the programs alone "
            f"take {gigabytes(machine.overhead)}: {mend}"
        )
    if config.gpu_memory is not None:
        return
    fit = FitConfig(
        mixed_precision=config.mixed_precision or "no", use_8bit_adam=bool(config.use_8bit_adam)
    )
    check_optimizer(fit, make_accelerator(fit).device)
