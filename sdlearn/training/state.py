"""Everything that changes while training, so that it can be saved and put back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch.optim.lr_scheduler import LambdaLR

from sdlearn.training.accelerator import (
    Modes,
    float32_products,
    forward_kept,
    make_optimizer,
    recomputed,
)
from sdlearn.training.distributed import (
    ShardedCopy,
    is_deepspeed,
    is_sharded,
    match_layout,
    tell_deepspeed,
    whole,
)
from sdlearn.training.settings import choose_learning_rate

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.training.config import FitConfig
    from sdlearn.training.method import Stage
    from sdlearn.training.settings import Checkpoint, Run


@dataclass(kw_only=True)
class TrainingState:
    """What trains, what trains it, and how far it has come."""

    stage: Stage
    config: FitConfig
    accelerator: Accelerator
    models: dict[str, torch.nn.Module]  # ready for the loss
    parameters: dict[str, torch.nn.Parameter]  # what trains, by name
    buffers: dict[str, torch.Tensor]  # of what trains, such as the means of a batch normalisation
    optimizer: Any
    lr_scheduler: Any
    ema: EMAModel | None
    shards: ShardedCopy | None = None  # under FSDP and DeepSpeed
    step: int = 0  # optimizer steps done
    seconds: float = 0.0  # that they took
    undo: ExitStack = field(default_factory=ExitStack)  # what the run changed and gives back

    def __post_init__(self) -> None:
        self.modes = Modes(self.models.values())

    @property
    def is_done(self) -> bool:
        """Whether the run has come to its end."""
        return self.share(self.step) >= 1

    @property
    def samples(self) -> int:
        """Pictures seen so far, by all processes."""
        parts = self.config.gradient_accumulation_steps * self.accelerator.num_processes
        return self.step * self.config.train_batch_size * parts

    def batch_number(self, part: int) -> int:
        """Return the number of a batch of this step, over steps, accumulation and processes."""
        number = self.step * self.config.gradient_accumulation_steps + part
        return number * self.accelerator.num_processes + self.accelerator.process_index

    def is_due(self, steps: int) -> bool:
        """Whether what is done every so many steps, and at the end, is due."""
        return self.step % steps == 0 or self.is_done

    @contextmanager
    def training(self) -> Iterator[None]:
        """Have the models in training mode, and torch seeded by the step, for dropout."""
        accelerator, device = self.accelerator, self.accelerator.device
        self.modes.switch(training=True)
        own_step = self.step * accelerator.num_processes + accelerator.process_index
        with (
            torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []),
            float32_products(self.config.allow_tf32, device),
        ):
            torch.manual_seed(self.config.seed * 1_000_003 + own_step)
            yield
        self.modes.switch(training=False)

    @contextmanager
    def accumulation(self, part: int) -> Iterator[None]:
        """Let processes exchange their gradients in the last part of a step only."""
        last = part + 1 == self.config.gradient_accumulation_steps
        self.accelerator.sync_gradients = last
        with ExitStack() as stack:
            for model in () if last else self.models.values():
                stack.enter_context(self.accelerator.no_sync(model))
            yield

    def average(self) -> None:
        """Move the average along with the weights."""
        if self.ema is not None:
            self.ema.step(self.parameters.values())

    def count(self, started: float) -> float:
        """Count one step more, and return the seconds since it was started."""
        seconds = time.perf_counter() - started
        self.step += 1
        self.seconds += seconds
        self.stage.made |= {"steps": self.step, "seconds": self.seconds}
        return seconds

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors of the state by name; of shards, all processes must ask for them."""
        tensors: dict[str, torch.Tensor] = {
            f"weights/{name}": value for name, value in self.parameters.items()
        }
        tensors |= {f"buffers/{name}": value for name, value in self.buffers.items()}
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
            "made": {"seconds": self.seconds},
        }

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Put a saved state back, bit for bit."""
        weights = list(self.parameters.values())
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(match_layout(parameter, tensors[f"weights/{name}"]))
            for name, buffer in self.buffers.items():
                buffer.copy_(tensors[f"buffers/{name}"])
            if self.ema is not None:
                for name, shadow in zip(self.parameters, self.ema.shadow_params, strict=True):
                    shadow.copy_(match_layout(shadow, tensors[f"ema/{name}"]))
                self.ema.optimization_step = facts["ema_steps"]
        moments: dict[int, dict[str, Any]] = {}
        saved = {key: value for key, value in tensors.items() if key.startswith("optimizer/")}
        for name, value in (saved | facts["optimizer"]).items():
            _, index, key = name.split("/")
            moments.setdefault(int(index), {})[key] = match_layout(weights[int(index)], value)
        groups = facts["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.lr_scheduler.load_state_dict(facts["lr_scheduler"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(facts["scaler"])
        self.step, self.seconds = facts["step"], facts.get("made", {}).get("seconds", 0.0)

    def __enter__(self) -> TrainingState:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Put the moving average in place, and take off the models what the run put on them."""
        for model in self.models.values():
            model.eval()
        failed = kind is not None and issubclass(kind, Exception)
        if self.shards is not None and not failed:
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

    def share(self, step: int) -> float:
        """Return the share of the run that is done: of steps or of time, whichever is more."""
        share, limit = step / self.config.max_train_steps, self.config.max_seconds
        return share if limit is None else max(share, self.seconds / limit)


def start_state(run: Run) -> TrainingState:
    """Make optimizer, schedule and moving average for what a stage trains, or go on with a run.

    Raises TypeError for a trained parameter that is not float32: its updates would be rounded away.
    """
    stage, config, accelerator = run.stage, run.config, run.accelerator
    stage.to(accelerator.device)
    modules, shards = stage.trained(), None
    learning_rate = choose_learning_rate(stage, config)
    groups = stage.parameter_groups(learning_rate)
    if is_sharded(accelerator):
        shards = ShardedCopy(modules["unet"], accelerator.device)
        modules, groups = {"unet": shards.model}, shards.groups(groups)
    names = _trained_names(modules, groups)
    undo = ExitStack()
    for module in modules.values():
        undo.enter_context(forward_kept(module))
    if config.gradient_checkpointing:
        undo.enter_context(recomputed([*stage.recomputable(), *modules.values()]))
    optimizer = make_optimizer(groups, learning_rate, config, accelerator)
    lr_scheduler = _make_lr_scheduler(stage, optimizer, config, lambda step: state.share(step))
    if is_deepspeed(accelerator):
        tell_deepspeed(accelerator, config)
    *models, prepared = accelerator.prepare(*modules.values(), optimizer)
    found = {f"{part}.{n}": p for part, m in modules.items() for n, p in m.named_parameters()}
    parameters = {name: found[name] for name in names}  # FSDP put shards in their places
    state = TrainingState(
        stage=stage,
        config=config,
        accelerator=accelerator,
        undo=undo,
        models=dict(zip(modules, models, strict=True)),
        parameters=parameters,
        buffers=_saved_buffers(modules),
        optimizer=prepared,
        lr_scheduler=lr_scheduler,  # not prepared: accelerate would step it once a process
        ema=EMAModel(parameters.values(), config.ema_decay, foreach=True)
        if config.use_ema
        else None,
        shards=shards,
    )
    if run.checkpoint is not None:
        _restore(state, run.checkpoint)
    stage.begin(run.pictures, config, accelerator.device)
    stage.made |= {"steps": state.step, "seconds": state.seconds}
    return state


def _restore(state: TrainingState, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's state back; ValueError where parts of it are missing or of another kind.

    Only of versions that wrote no checksum: else that is known before.
    """
    try:
        state.restore(checkpoint.tensors, checkpoint.facts)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{checkpoint.path} is not as it was written ({type(error).__name__}: {error}): delete "
            "it to go on from the one before"
        ) from error


def _make_lr_scheduler(
    stage: Stage, optimizer: Any, config: FitConfig, share: Callable[[int], float]
) -> Any:
    """Make the schedule that the stage brings, else the one that the settings name."""
    factor = stage.learning_rate_factor
    if factor is not None:
        return LambdaLR(optimizer, lambda step: factor(share(step) if step else 0.0))
    return get_scheduler(
        config.lr_scheduler,
        optimizer,
        num_warmup_steps=config.lr_warmup_steps,
        num_training_steps=config.max_train_steps,
    )


def _saved_buffers(modules: Mapping[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """Return the buffers that a module's state has: they change while it trains."""
    return {
        f"{part}.{name}": buffer
        for part, module in modules.items()
        for name, buffer in module.named_buffers()
        if name in module.state_dict()
    }


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
