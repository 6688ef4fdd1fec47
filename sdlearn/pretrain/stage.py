"""A stage of the recipe as what the one training loop trains: what it learns, and its sheets.

Batches and noise come from generators seeded by (seed, stage, step), so a resumed run repeats
exactly what it lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, nn
from tqdm.auto import tqdm

from sdlearn.pretrain.config import PretrainConfig
from sdlearn.training.batches import Batch, ProcessRank
from sdlearn.training.config import FitConfig
from sdlearn.training.loop import fit
from sdlearn.training.method import Stage
from sdlearn.training.muon import suits_muon

LossOf = Callable[[int, torch.Generator], dict[str, Tensor]]
NO_LIMIT = 10**9  # optimizer steps, of what goes by the clock
SHOWN_STEPS = 20  # optimizer steps between losses that are shown and written


def device_and_dtype(config: PretrainConfig) -> tuple[torch.device, torch.dtype]:
    """Where and in which precision the recipe computes; parameters stay float32."""
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
    return device, torch.bfloat16 if bf16 else torch.float32


def step_generator(seed: int, name: str, step: int) -> torch.Generator:
    """A CPU generator that depends on seed, stage and step alone."""
    salt = sum(ord(letter) * 131**i for i, letter in enumerate(name)) % 1_000_003
    return torch.Generator().manual_seed((seed * 1_000_003 + salt) * 10_000_019 + step)


def learning_rate_at(progress: float) -> float:
    """Factor on the learning rate: 2 % linear warm-up, then a cosine down to 2 %."""
    if progress < 0.02:
        return max(progress / 0.02, 0.02)
    rest = min((progress - 0.02) / 0.98, 1.0)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * rest))


@dataclass(kw_only=True)
class Training(Stage):
    """A stage in training."""

    name: str
    model: nn.Module  # everything that trains, in one module
    losses: LossOf  # (step, generator) -> named losses; "loss" is minimised
    sheet: Callable[[Path], None] | None = None  # writes a sample sheet to a path
    learning_rate: float = 1e-3
    factors: dict[str, float] = field(default_factory=dict)  # on it, by the model's child module
    muon_factor: float | None = None  # on it, of hidden layers' matrices; None: AdamW for all
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    ema_decay: float | None = None
    minutes: float = 1.0
    steps: int | None = None

    learning_rate_factor = staticmethod(learning_rate_at)

    def fit_config(self, config: PretrainConfig) -> FitConfig:
        """How the loop trains the stage: for its steps if they are given, else for its minutes."""
        by_clock = self.steps is None
        return FitConfig(
            max_train_steps=NO_LIMIT if self.steps is None else self.steps,
            max_seconds=60 * self.minutes if by_clock else None,
            learning_rate=self.learning_rate,
            adam_beta1=self.betas[0],
            adam_beta2=self.betas[1],
            adam_weight_decay=self.weight_decay,
            mixed_precision="no" if device_and_dtype(config)[1] == torch.float32 else "bf16",
            use_ema=self.ema_decay is not None,
            ema_decay=self.ema_decay or 0.0,
            seed=config.seed,
            output_dir=config.work / self.name,
            resume=True,
            logging_steps=SHOWN_STEPS,
            checkpointing_steps=NO_LIMIT,
            checkpointing_seconds=config.checkpoint_seconds,
            checkpoints_total_limit=1,
            preview_seconds=None if self.sheet is None else config.sheet_seconds,
        )

    def trained(self) -> dict[str, nn.Module]:
        """Return the one module."""
        return {"model": self.model}

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return groups by the model's children that have a factor, and by Muon or AdamW."""
        groups: dict[tuple[str, bool], dict[str, Any]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                child = name.partition(".")[0]
                child = child if child in self.factors else ""
                muon = self.muon_factor is not None and suits_muon(name, parameter)
                rate = learning_rate * self.factors.get(child, 1.0)
                if muon and self.muon_factor is not None:
                    rate *= self.muon_factor
                group = groups.setdefault((child, muon), {"params": [], "lr": rate, "muon": muon})
                group["params"].append(parameter)
        return list(groups.values())

    def identity(self, pictures: Any) -> dict[str, Any]:
        """Return the stage's name: its settings are all in those of the loop."""
        return {"method": self.name}

    def make_batches(self, pictures: Any, config: FitConfig, rank: ProcessRank) -> _Steps:
        """Make batches of one generator each, from which the losses draw all else."""
        return _Steps(self.name, config.seed)

    def loss(self, batch: Batch, model: nn.Module) -> Tensor:
        """Return the loss to minimise, and keep the others for the log."""
        losses = self.losses(batch.step, batch.generators[0])
        self.named_losses = {
            name: value.detach().float() for name, value in losses.items() if name != "loss"
        }
        return losses["loss"]

    @torch.no_grad()
    def draw_previews(self, config: FitConfig, step: int) -> None:
        """Write the stage's sample sheet."""
        if self.sheet is not None and config.output_dir is not None:
            self.sheet(config.output_dir / f"sheet-{step:06d}.png")


@dataclass(frozen=True)
class _Steps:
    """Batches without pictures: each has the generator of its step."""

    name_of_stage: str
    seed: int

    def batch(self, number: int) -> Batch:
        generator = step_generator(self.seed, self.name_of_stage, number)
        return Batch(indices=[], generators=[generator], number=number, seed=self.seed)

    def epoch(self, samples: int) -> float:
        return 0.0  # pictures are drawn at random, with repetition

    def name(self, index: int) -> str:
        return f"picture {index}"


def train(training: Training, config: PretrainConfig) -> None:
    """Train a stage to its end, or on from its last checkpoint; the model ends as its average.

    Raises FloatingPointError for a loss that is not finite; the last checkpoint stays.
    """
    device, _ = device_and_dtype(config)
    PartialState(cpu=device.type == "cpu")
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    with tqdm(total=100, desc=training.name, unit="%", mininterval=5, bar_format=_BAR) as bar:
        for step in fit(training, (), training.fit_config(config)):
            by_clock = training.made["seconds"] / (60 * training.minutes)
            done = step.step / training.steps if training.steps else min(by_clock, 1.0)
            bar.n = round(100 * done, 1)
            if step.step % SHOWN_STEPS == 0:
                loss = f"{float(step.loss):.4f}"
                bar.set_postfix({f"{training.name} loss": loss, "step": step.step})
            bar.update(0)


_BAR = "{desc}: {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {postfix}"
