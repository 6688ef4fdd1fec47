"""One loop for every stage of the recipe: time or steps, EMA, checkpoints, resuming, sample sheets.

A stage says what trains, how a batch becomes a loss, and what a sheet shows. Batches and noise come
from generators seeded by (seed, stage, step), so a resumed run repeats exactly what it lost.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from sdlearn.pretrain.config import PretrainConfig

LossOf = Callable[[int, torch.Generator], dict[str, Tensor]]


@dataclass(kw_only=True)
class Training:
    """A stage in training."""

    name: str
    model: nn.Module  # everything that trains, in one module
    losses: LossOf  # (step, generator) -> named losses; "loss" is minimised
    sheet: Callable[[Path], None] | None = None  # writes a sample sheet to a path
    learning_rate: float = 1e-3
    factors: dict[str, float] = field(default_factory=dict)  # on it, by the model's child module
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    ema_decay: float | None = None
    minutes: float = 1.0
    steps: int | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def device_and_dtype(config: PretrainConfig) -> tuple[torch.device, torch.dtype]:
    """Where and in which precision the recipe computes; parameters stay float32."""
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
    return device, torch.bfloat16 if bf16 else torch.float32


def step_generator(config: PretrainConfig, name: str, step: int) -> torch.Generator:
    """A CPU generator that depends on seed, stage and step alone."""
    salt = sum(ord(letter) * 131**i for i, letter in enumerate(name)) % 1_000_003
    seed = (config.seed * 1_000_003 + salt) * 10_000_019 + step
    return torch.Generator().manual_seed(seed)


def learning_rate_at(progress: float) -> float:
    """Factor on the learning rate: 2 % linear warm-up, then a cosine down to 2 %."""
    if progress < 0.02:
        return max(progress / 0.02, 0.02)
    rest = min((progress - 0.02) / 0.98, 1.0)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * rest))


def train(training: Training, config: PretrainConfig) -> None:
    """Runs a stage to its end, or on from its last checkpoint; the model ends as its EMA, if any.

    Raises:
        FloatingPointError: the loss is not finite; the last checkpoint stays.
    """
    run = _Run(training, config)
    run.resume()
    label = f"{training.name} loss"
    bar = tqdm(total=100, desc=training.name, unit="%", mininterval=5, bar_format=_BAR)
    while (progress := run.progress()) < 1:
        run.step(progress)
        bar.n = round(100 * progress, 1)
        if run.steps_done % 20 == 0:
            bar.set_postfix({label: f"{run.average():.4f}", "step": run.steps_done})
        bar.update(0)
        run.write_when_due()
    bar.close()
    run.average()
    run.save()
    run.preview()
    run.finish()


_BAR = "{desc}: {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {postfix}"


class _Run:
    def __init__(self, training: Training, config: PretrainConfig) -> None:
        self.training, self.config = training, config
        self.device, self.dtype = device_and_dtype(config)
        self.folder = config.work / training.name
        self.folder.mkdir(parents=True, exist_ok=True)
        groups = _parameter_groups(training)
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=training.learning_rate,
            betas=training.betas,
            weight_decay=training.weight_decay,
            foreach=True,
        )
        self.ema = None
        if training.ema_decay is not None:
            self.ema = EMAModel(self.parameters, decay=training.ema_decay, foreach=True)
        self.steps_done, self.elapsed = 0, 0.0
        self.started = self.saved = self.sheeted = time.monotonic()
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def progress(self) -> float:
        """Share of the stage that is done: by steps if they are fixed, else by time."""
        if self.training.steps is not None:
            return self.steps_done / max(self.training.steps, 1)
        return self.seconds() / max(self.training.minutes * 60, 1e-9)

    def seconds(self) -> float:
        return self.elapsed + time.monotonic() - self.started

    def step(self, progress: float) -> None:
        for group in self.optimizer.param_groups:
            peak = self.training.learning_rate * group["factor"]
            group["lr"] = peak * learning_rate_at(progress)
        generator = step_generator(self.config, self.training.name, self.steps_done)
        enabled = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled):
            losses = self.training.losses(self.steps_done, generator)
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema is not None:
            self.ema.step(self.parameters)
        self.steps_done += 1
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach().float()
        self._count += 1

    def average(self) -> float:
        """Writes the losses averaged since the last call to the history; returns the loss."""
        if not self._count:
            return math.nan
        row = {name: value.item() / self._count for name, value in self._sums.items()}
        row["step"] = self.steps_done
        self._sums, self._count = {}, 0
        self.training.history.append(row | {"seconds": round(self.seconds(), 1)})
        if not math.isfinite(row["loss"]):
            raise FloatingPointError(
                f"{self.training.name}: the loss is {row['loss']} at step {self.steps_done}; lower "
                f"{self.training.name}_learning_rate. The last checkpoint in {self.folder} is kept."
            )
        return row["loss"]

    def write_when_due(self) -> None:
        now = time.monotonic()
        if now - self.saved > self.config.checkpoint_seconds:
            self.save()
        if now - self.sheeted > self.config.sheet_seconds:
            self.preview()

    def preview(self) -> None:
        """Writes the stage's sample sheet, drawn with the averaged weights."""
        self.sheeted = time.monotonic()
        if self.training.sheet is None:
            return
        if self.ema is not None:
            self.ema.store(self.parameters)
            self.ema.copy_to(self.parameters)
        with torch.no_grad():
            self.training.sheet(self.folder / f"sheet-{self.steps_done:06d}.png")
        if self.ema is not None:
            self.ema.restore(self.parameters)

    def save(self) -> None:
        """Writes weights, optimizer, EMA and place to one file, moved into place when complete."""
        tensors = {f"model/{k}": v for k, v in self.training.model.state_dict().items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{i}/{k}": v for k, v in state.items()}
        facts = {
            "steps": self.steps_done,
            "seconds": self.seconds(),
            "history": self.training.history,
        }
        if self.ema is not None:
            tensors |= {f"ema/{i}": p for i, p in enumerate(self.ema.shadow_params)}
            facts["ema_steps"] = self.ema.optimization_step
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        temporary = self.folder / "checkpoint.safetensors.tmp"
        save_file(tensors, temporary, metadata={"facts": json.dumps(facts)})
        os.replace(temporary, self.folder / "checkpoint.safetensors")
        lines = "".join(json.dumps(row) + "\n" for row in self.training.history)
        (self.folder / "losses.jsonl").write_text(lines)
        self.saved = time.monotonic()

    def resume(self) -> None:
        path = self.folder / "checkpoint.safetensors"
        if not path.exists():
            return
        tensors, facts = load_file(path), _facts(path)
        self.training.model.load_state_dict(_part(tensors, "model/"))
        state = self.optimizer.state_dict()
        for key, value in _part(tensors, "optimizer/").items():
            index, name = key.split("/")
            state["state"].setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict(state)
        if self.ema is not None:
            shadow = _part(tensors, "ema/")
            self.ema.shadow_params = [shadow[str(i)].to(self.device) for i in range(len(shadow))]
            self.ema.optimization_step = facts["ema_steps"]
        self.steps_done, self.elapsed = facts["steps"], facts["seconds"]
        self.started = time.monotonic()
        self.training.history[:] = facts["history"]

    def finish(self) -> None:
        if self.ema is not None:
            self.ema.copy_to(self.parameters)
        self.training.model.eval()


def _parameter_groups(training: Training) -> list[dict]:
    """What trains, one group for each child module that has a factor, one for the rest."""
    groups: dict[str, dict] = {}
    for name, parameter in training.model.named_parameters():
        if parameter.requires_grad:
            child = name.partition(".")[0]
            child = child if child in training.factors else ""
            group = {"params": [], "factor": training.factors.get(child, 1.0)}
            groups.setdefault(child, group)["params"].append(parameter)
    return list(groups.values())


def _facts(path: Path) -> dict:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["facts"])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
