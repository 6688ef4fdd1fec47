"""What a plan can be asked for. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdlearn.finetune.config import FULL_FIT
from sdlearn.training.config import MOST_PICTURES, FitConfig, Precision

MethodName = Literal["full", "textual-inversion", "dreambooth", "imagic", "lora"]
DEFAULT_FITS: dict[MethodName, FitConfig] = {  # where they are not the loop's own
    "full": FULL_FIT,
    "imagic": FitConfig(train_batch_size=1),
}


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """What is to be trained, and on what. What is None is chosen, so that it fits."""

    model: str = "mini"  # name (see `sdlearn info`) or folder in diffusers' format
    gpu_memory: float | None = None  # GB, of a GPU that is not here; None: what this machine has
    pictures: int = 20  # that there are to learn from
    resolution: int | None = None  # pixels, height and width; None: the model's own
    train_batch_size: int | None = None  # pictures an optimizer step; None: the method's default
    max_train_steps: int | None = None  # optimizer steps; None: the method's default
    mixed_precision: Precision | None = None  # bf16 needs an Ampere GPU or newer; fp16 any GPU
    gradient_checkpointing: bool | None = None  # or --no-...: compute activations twice
    use_8bit_adam: bool | None = None  # or --no-...: moments in 8 bits; GPUs only
    use_ema: bool | None = None  # or --no-use-ema: average the weights over the steps
    train_text_encoder: bool = False  # dreambooth, lora and full: it trains too
    with_prior_preservation: bool = True  # dreambooth: class pictures beside the subject's
    lora_rank: int | None = None  # dreambooth and imagic through LoRA; of lora 16 unless given
    cache_latents: bool | None = None  # full: all in memory; --no-...: made anew each step
    num_vectors: int = 1  # textual-inversion: rows of the new word
    output: Path = Path("outputs")  # where it will be written; its disk must have room

    def check(self, method: MethodName) -> None:
        """Raise ValueError, naming the option, for values that cannot be planned with."""
        for name in ("pictures", "resolution", "train_batch_size", "max_train_steps"):
            _at_least_one(self, name)
        for name in ("lora_rank", "num_vectors"):
            _at_least_one(self, name)
        if (self.train_batch_size or 1) > MOST_PICTURES:
            raise ValueError(
                f"--train-batch-size is {self.train_batch_size}: give at most {MOST_PICTURES}"
            )
        if self.gpu_memory is not None and not self.gpu_memory > 0:
            raise ValueError(f"--gpu-memory is {self.gpu_memory}: give the GPU's GB, such as 12")
        for name, methods in ONLY_FOR.items():
            if method not in methods and getattr(self, name) != getattr(PlanConfig, name):
                raise ValueError(
                    f"{_option(name)} says nothing to {method}: it is for {' and '.join(methods)}"
                )


ONLY_FOR: dict[str, tuple[MethodName, ...]] = {
    "train_text_encoder": ("dreambooth", "lora", "full"),
    "with_prior_preservation": ("dreambooth",),
    "lora_rank": ("dreambooth", "imagic", "lora"),
    "cache_latents": ("full",),
    "max_train_steps": ("full", "textual-inversion", "dreambooth", "lora"),  # imagic has its own
    "num_vectors": ("textual-inversion",),
}


def _at_least_one(config: PlanConfig, name: str) -> None:
    value = getattr(config, name)
    if value is not None and value < 1:
        raise ValueError(f"{_option(name)} is {value}: give at least 1")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
