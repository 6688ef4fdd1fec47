"""Everything that changes while training, so that it can be saved and put back."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel

from sdlearn.training.accelerator import forward_kept, recomputed
from sdlearn.training.checkpoint import FREE_FIELDS
from sdlearn.training.config import FLAT_SCHEDULES
from sdlearn.training.distributed import (
    ShardedCopy,
    is_deepspeed,
    is_sharded,
    laid_out_like,
    tell_deepspeed,
    whole,
)
from sdlearn.training.modes import Modes
from sdlearn.training.optimizer import make_optimizer

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.data.folder import Picture
    from sdlearn.training.config import FitConfig
    from sdlearn.training.method import Method


@dataclass(kw_only=True)
class TrainingState:
    """What trains, and what trains it."""

    accelerator: Accelerator
    models: dict[str, torch.nn.Module]  # ready for the loss
    parameters: dict[str, torch.nn.Parameter]  # what trains, by name
    optimizer: Any
    lr_scheduler: Any
    ema: EMAModel | None
    shards: ShardedCopy | None = None  # under FSDP and DeepSpeed
    step: int = 0  # optimizer steps done
    undo: ExitStack = field(default_factory=ExitStack)  # what the run changed and gives back

    def __post_init__(self) -> None:
        self.modes = Modes(self.models.values())

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors of the state by name; of shards, all processes must ask for them."""
        tensors: dict[str, torch.Tensor] = {
            f"weights/{name}": value for name, value in self.parameters.items()
        }
        tensors |= {key: value for key, value in self._moments().items() if torch.is_tensor(value)}
        if self.ema is not None:
            shadows = zip(self.parameters, self.ema.shadow_params, strict=True)
            tensors |= {f"ema/{name}": value for name, value in shadows}
        return {name: whole(value) for name, value in tensors.items()}

    def facts(self) -> dict[str, Any]:
        """Return all of the state that is no tensor."""
        scaler = self.accelerator.scaler
        return {
            "param_groups": self.optimizer.state_dict()["param_groups"],
            "optimizer": {  # bitsandbytes counts its steps in plain numbers
                key: value for key, value in self._moments().items() if not torch.is_tensor(value)
            },
            "lr_scheduler": self.lr_scheduler.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "ema_steps": None if self.ema is None else self.ema.optimization_step,
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Put a saved state back, bit for bit."""
        weights = list(self.parameters.values())
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(laid_out_like(parameter, tensors[f"weights/{name}"]))
            if self.ema is not None:
                for name, shadow in zip(self.parameters, self.ema.shadow_params, strict=True):
                    shadow.copy_(laid_out_like(shadow, tensors[f"ema/{name}"]))
                self.ema.optimization_step = facts["ema_steps"]
        moments: dict[int, dict[str, Any]] = {}
        saved = {key: value for key, value in tensors.items() if key.startswith("optimizer/")}
        for name, value in (saved | facts["optimizer"]).items():
            _, index, key = name.split("/")
            moments.setdefault(int(index), {})[key] = laid_out_like(weights[int(index)], value)
        groups = facts["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.lr_scheduler.load_state_dict(facts["lr_scheduler"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(facts["scaler"])
        self.step = facts["step"]

    def finish(self) -> None:
        """Put the moving average in place, and take off the models what the run put on them."""
        for model in self.models.values():
            model.eval()
        if self.shards is not None and not isinstance(sys.exc_info()[1], Exception):
            self.shards.follow(self._results())  # not where a process failed: all are needed
            self.shards.own.to(self.accelerator.device)
        elif self.ema is not None:
            self.ema.copy_to(self.parameters.values())
        self.undo.close()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the method's own models as they would be saved for a while; all processes must."""
        if self.shards is not None:
            with self.shards.drawable(self._results()):
                yield
            return
        if self.ema is None:
            yield
            return
        self.ema.store(self.parameters.values())
        self.ema.copy_to(self.parameters.values())
        try:
            yield
        finally:
            self.ema.restore(self.parameters.values())

    def _results(self) -> dict[str, torch.Tensor]:
        """The weights that a method ends with, by the names they have in its one module."""
        weights = self.parameters.values() if self.ema is None else self.ema.shadow_params
        names = (name.partition(".")[2] for name in self.parameters)
        return dict(zip(names, weights, strict=True))

    def _moments(self) -> dict[str, Any]:
        """What the optimizer keeps of each parameter, named optimizer/INDEX/KEY."""
        return {
            f"optimizer/{index}/{key}": value
            for index, parameter in enumerate(self.parameters.values())
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }


def start_state(method: Method, accelerator: Accelerator, config: FitConfig) -> TrainingState:
    """Make optimizer, schedule and moving average for what a method trains.

    Raises TypeError for a trained parameter that is not float32: its updates would be rounded away.
    """
    modules, shards = method.trained(), None
    learning_rate = choose_learning_rate(method, config)
    groups = method.parameter_groups(learning_rate)
    if is_sharded(accelerator):
        shards = ShardedCopy(modules["unet"], accelerator.device)
        modules, groups = {"unet": shards.model}, shards.groups(groups)
    names = _trained_names(modules, groups)
    undo = ExitStack()
    for module in modules.values():
        undo.enter_context(forward_kept(module))
    if config.gradient_checkpointing:
        undo.enter_context(recomputed([method.sd.unet, *modules.values()]))
    optimizer = make_optimizer(groups, learning_rate, config, accelerator)
    lr_scheduler = get_scheduler(
        config.lr_scheduler,
        optimizer,
        num_warmup_steps=config.lr_warmup_steps,
        num_training_steps=config.max_train_steps,
    )
    if is_deepspeed(accelerator):
        tell_deepspeed(accelerator, config)
    *models, prepared = accelerator.prepare(*modules.values(), optimizer)
    found = {f"{part}.{n}": p for part, m in modules.items() for n, p in m.named_parameters()}
    parameters = {name: found[name] for name in names}  # FSDP put shards in their places
    return TrainingState(
        accelerator=accelerator,
        undo=undo,
        models=dict(zip(modules, models, strict=True)),
        parameters=parameters,
        optimizer=prepared,
        lr_scheduler=lr_scheduler,  # not prepared: accelerate would step it once a process
        ema=EMAModel(parameters.values(), config.ema_decay, foreach=True)
        if config.use_ema
        else None,
        shards=shards,
    )


def _trained_names(
    modules: Mapping[str, torch.nn.Module], groups: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Names of what trains, in the optimizer's order; TypeError where one is not float32."""
    names = {id(p): f"{part}.{n}" for part, m in modules.items() for n, p in m.named_parameters()}
    for parameter in (p for group in groups for p in group["params"]):
        if parameter.dtype != torch.float32:
            raise TypeError(f"{names[id(parameter)]} trains in {parameter.dtype}: make it float32")
        parameter.grad = None  # a run that was stopped may have left one
    return [names[id(p)] for group in groups for p in group["params"]]


def choose_learning_rate(method: Method, config: FitConfig) -> float:
    """Return the learning rate asked for, else the model's for this method, else the method's."""
    if config.learning_rate is not None:
        return config.learning_rate
    return method.sd.learning_rates.get(method.name, method.default_learning_rate)


def with_snr_gamma(method: Method, config: FitConfig) -> FitConfig:
    """Return the settings with the gamma asked for, else the model's for this method, if any."""
    if config.snr_gamma is not None:
        return config
    return replace(config, snr_gamma=method.sd.snr_gammas.get(method.name))


def run_settings(method: Method, pictures: Sequence[Picture], config: FitConfig) -> dict[str, Any]:
    """Return what must be the same for one run to go on where another stopped."""
    processes = PartialState().num_processes
    fields = {**asdict(method.config), **asdict(config)}
    fixed = {
        key: value
        for key, value in fields.items()
        if key not in FREE_FIELDS and not isinstance(value, Path)
    }
    if config.lr_scheduler in FLAT_SCHEDULES:
        del fixed["max_train_steps"]
    return {
        **fixed,
        "method": method.name,
        "base_model": method.sd.name,
        "learning_rate": choose_learning_rate(method, config),
        "pictures": _fingerprint(pictures),
        **({"processes": processes} if processes > 1 else {}),
    }


def _fingerprint(pictures: Any) -> str:
    """What other pictures or captions do not share; streams and lazy folders have their own."""
    if hasattr(pictures, "fingerprint"):
        return pictures.fingerprint
    digest = 0
    for picture in pictures:
        digest = zlib.crc32(picture.image.tobytes() + picture.text.encode(), digest)
    return f"{len(pictures)}, checksum {digest:08x}"
