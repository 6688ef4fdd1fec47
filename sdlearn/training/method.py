"""What the loop trains: a method, which is one stage of training, or several in turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from sdlearn.training.batches import Batches, ListBatches, ProcessRank
from sdlearn.training.config import FitConfig

if TYPE_CHECKING:
    from sdlearn.models import StableDiffusion


@dataclass(frozen=True, kw_only=True)
class TrainStep:
    """One optimizer step, just done."""

    step: int  # optimizer steps so far, from 1
    max_train_steps: int  # of the whole run
    loss: torch.Tensor  # scalar on the device, mean over the step's pictures; float() waits for it
    learning_rate: float  # of this step, the first parameter group's
    seconds: float  # since the step began on the host; a GPU may still be working
    epoch: float  # times each picture was seen so far; of a stream, in whole times
    validation_loss: float | None = None  # on a fixed grid, at the steps where it is due
    named_losses: Mapping[str, torch.Tensor] = field(default_factory=dict)  # see `Stage`
    stage: str | None = None  # which stage it is of, where a method has several


class Trainable(Protocol):
    """What `fit` takes."""

    @property
    def fit_defaults(self) -> FitConfig:
        """How `fit` trains it unless told otherwise."""
        ...

    def stages(self, pictures: Any, config: FitConfig) -> Iterator[StagePlan]:
        """Yield the stages in turn, each when the one before is trained.

        Raises ValueError before the first for what cannot work.
        """
        ...


class Method(Trainable, Protocol):
    """What teaches a Stable Diffusion something, and saves what was learnt."""

    name: str  # on the command line, such as "textual-inversion"
    config: Any  # the method's own dataclass

    @property
    def sd(self) -> StableDiffusion:
        """The model; what trains is a copy in it, the rest is shared with what was given."""
        ...

    @property
    def made(self) -> dict[str, Any]:
        """How it was trained last, for its card."""
        ...

    def modules(self) -> list[torch.nn.Module]:
        """Return the modules that train in its stages, as far as they have begun."""
        ...

    def save(self, path: str | Path) -> Path:
        """Write what was learned, and return where."""
        ...


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """A stage, how it trains, and its place among the stages of a method."""

    stage: Stage
    config: FitConfig
    name: str | None = None  # where there are several
    steps_before: int = 0  # of the stages before
    steps_in_all: int | None = None  # of all stages; None: of this one

    def placed(self, step: TrainStep) -> TrainStep:
        """Return a step of the stage as one of the whole method, whose steps count on."""
        if self.name is None:
            return step
        number = self.steps_before + step.step
        return replace(
            step,
            stage=self.name,
            step=number,
            max_train_steps=self.steps_in_all or step.max_train_steps,
            epoch=step.epoch / step.step * number,
        )


class Stage(ABC):
    """What trains, and how a batch becomes a loss: one run of the loop. `fit` takes it as it is."""

    name: str
    default_learning_rate: float  # for Stable Diffusion 1.5
    config: Any
    made: dict[str, Any]  # `steps` and `seconds` are written by the loop
    fit_defaults: FitConfig = FitConfig()
    takes_streams: ClassVar[bool] = False  # whether pictures may come as a `PictureStream`
    learning_rate_factor: Callable[[float], float] | None = None
    """of the share of the run that is done, 0 to 1, in place of `lr_scheduler`"""
    named_losses: Mapping[str, torch.Tensor] = MappingProxyType({})
    """what else there is to say of the last batch, scalars, for the log"""
    loss: Callable[..., torch.Tensor]
    """`loss(batch, **models)`: a scalar; `models` are those of `trained`, made ready"""

    @abstractmethod
    def trained(self) -> dict[str, torch.nn.Module]:
        """Return modules that run in the loss and hold what trains, by names that `loss` takes."""

    @abstractmethod
    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return what trains, as groups for the optimizer; all float32."""

    def stages(self, pictures: Any, config: FitConfig) -> Iterator[StagePlan]:
        """Yield the one stage."""
        yield StagePlan(stage=self, config=config)

    def modules(self) -> list[torch.nn.Module]:
        """Return the modules of `trained`."""
        return list(self.trained().values())

    @property
    def suited_learning_rate(self) -> float:
        """What suits the method on its model."""
        return self.default_learning_rate

    @property
    def suited_snr_gamma(self) -> float | None:
        """What suits the method on its model; None: no weights."""
        return None

    def identity(self, pictures: Any) -> dict[str, Any]:
        """Return what must be the same, beside the settings, for a stopped run to go on."""
        return {**asdict(self.config), "method": self.name}

    def check(self, pictures: Any, config: FitConfig) -> None:  # noqa: B027
        """Raise ValueError for what cannot work, before anything is computed; change nothing."""

    def to(self, device: torch.device) -> None:  # noqa: B027
        """Move what runs in the loss to a device."""

    def recomputable(self) -> list[torch.nn.Module]:
        """Return frozen modules in the loss whose activations gradient checkpointing may drop."""
        return []

    def begin(self, pictures: Any, config: FitConfig, device: torch.device) -> None:
        """Note what a run is made of in `made`, even where no step is left to do."""
        self.made = {}

    def prepare(self, pictures: Any, config: FitConfig) -> None:  # noqa: B027
        """Compute what stays the same all through training, on the device."""

    def make_batches(self, pictures: Any, config: FitConfig, rank: ProcessRank) -> Batches:
        """Make the batches of one process."""
        return ListBatches(pictures=pictures, size=config.train_batch_size, seed=config.seed)

    def captions(self, pictures: Sequence[Any]) -> list[str]:
        """Return what the loss on validation pictures is measured under.

        Raises ValueError where that lacks words, or where the stage measures none.
        """
        raise ValueError(f"{self.name} measures no loss on validation pictures: leave them out")

    def validation(self, pictures: Sequence[Any], config: FitConfig) -> Callable[[], float]:
        """Encode pictures once, and return what measures the loss on them again and again."""
        raise NotImplementedError

    def draw_previews(self, config: FitConfig, step: int) -> None:  # noqa: B027
        """Draw what was learnt so far into `output_dir`."""
