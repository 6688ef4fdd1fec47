"""Devices, precision and processes by accelerate; the optimizer; what saves memory and time."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin

from sdlearn.training.muon import MuonAdamW

if TYPE_CHECKING:
    from sdlearn.training.config import FitConfig

CHECKPOINTING = (  # methods that start and stop it: diffusers, transformers, older transformers
    ("enable_gradient_checkpointing", "disable_gradient_checkpointing"),
    ("activation_checkpointing_enable", "activation_checkpointing_disable"),
    ("gradient_checkpointing_enable", "gradient_checkpointing_disable"),
)


@contextmanager
def forward_kept(module: torch.nn.Module) -> Iterator[None]:
    """Take off in the end what accelerate puts around a module's `forward` for mixed precision.

    Its own way back, `unwrap_model`, peels too far: a text encoder of transformers 5 comes out
    without the decorators that give hidden states and tuples.
    """
    before = module.__dict__.get("forward")
    try:
        yield
    finally:
        for name in ("forward", "_original_forward"):
            module.__dict__.pop(name, None)
        if before is not None:
            module.__dict__["forward"] = before


@contextmanager
def recomputed(modules: Iterable[Any]) -> Iterator[None]:
    """Keep few activations of diffusers' and transformers' models: the rest is computed again.

    Models that do so already stay as they are; the others are put back at the end.
    """
    with ExitStack() as undo:
        for module in modules:
            if any(getattr(part, "gradient_checkpointing", False) for part in module.modules()):
                continue
            for start, stop in CHECKPOINTING:
                if hasattr(module, start):
                    getattr(module, start)()
                    undo.callback(getattr(module, stop))
                    break
        yield


@contextmanager
def float32_products(allow_tf32: bool, device: torch.device) -> Iterator[None]:
    """Let a GPU multiply float32 matrices in TF32 for a while."""
    if not allow_tf32 or device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def make_accelerator(config: FitConfig) -> Accelerator:
    """Make the Accelerator of a run; raises ValueError for float16 on a CPU."""
    state = AcceleratorState._shared_state
    if state and state.get("_mixed_precision") != config.mixed_precision:
        # accelerate keeps the precision of a process's first run for good, and a notebook trains
        # more than once; there is no public way to let go of it
        AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        # the loop accumulates by itself, whatever number `accelerate launch` was given
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )
    if accelerator.device.type == "cpu" and config.mixed_precision == "fp16":
        raise ValueError('mixed_precision "fp16" does not work on a CPU: take "no" or "bf16"')
    return accelerator


def frozen_dtype(config: FitConfig) -> torch.dtype:
    """The dtype to load a model in, for parts that a run only reads: half in mixed precision.

    What trains is float32 all the same. On a CPU, nothing is half.
    """
    if config.mixed_precision == "no" or not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if config.mixed_precision == "bf16" else torch.float16


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
    """Make the AdamW of a run for groups of parameters, with Muon for those that ask for it."""
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
    optimizer = MuonAdamW if any("muon" in group for group in groups) else torch.optim.AdamW
    return optimizer(groups, fused=True if fused else None, **settings)


class Modes:
    """Switches models between training and evaluation mode, all of their modules.

    `Module.train` asks every module for its children and sets the mode through `__setattr__`, which
    shows in the step of a small model with many modules. Here they are found once, as none come or
    go while a run goes on. Models with a `train` of their own (DDP, DeepSpeed) are left to it.
    """

    def __init__(self, models: Iterable[torch.nn.Module]) -> None:
        self.others: list[torch.nn.Module] = []
        self.modules: list[torch.nn.Module] = []
        for model in models:
            modules = list(model.modules())
            if all(type(module).train is torch.nn.Module.train for module in modules):
                self.modules += modules
            else:
                self.others.append(model)

    def switch(self, *, training: bool) -> None:
        """Put every module into training mode, or into evaluation mode."""
        for module in self.modules:
            module.__dict__["training"] = training
        for model in self.others:
            model.train(training)


def hardware(device: str) -> str:
    """The processor or the GPU, in words."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"
