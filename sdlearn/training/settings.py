"""What is known and checked of a run before its first step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from accelerate import PartialState

from sdlearn.data.streams import PictureStream
from sdlearn.training.accelerator import check_optimizer, make_accelerator
from sdlearn.training.checkpoint import (
    MAY_CHANGE_ON_RESUME,
    check_same_run,
    load_checkpoint,
    prepare_output,
)
from sdlearn.training.config import FLAT_SCHEDULES, FitConfig
from sdlearn.training.distributed import check_sharding

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.training.method import Stage, StagePlan


class Checkpoint(NamedTuple):
    """What a run goes on from."""

    path: Path
    tensors: dict[str, torch.Tensor]
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run of one stage, which nothing stands in the way of."""

    stage: Stage
    config: FitConfig
    pictures: Any
    validation_pictures: Sequence[Any]
    accelerator: Accelerator
    settings: Mapping[str, Any]  # what must be the same to go on from a checkpoint
    checkpoint: Checkpoint | None  # to go on from


def check_run(plan: StagePlan, pictures: Any, validation_pictures: Sequence[Any] = ()) -> Run:
    """Make sure that a stage can be trained as planned; nothing is computed, no folder is touched.

    Raises ValueError for pictures, settings and devices that do not go together, and for a folder
    with the checkpoints of another run.
    """
    stage, config = plan.stage, with_snr_gamma(plan.stage, plan.config)
    if isinstance(pictures, PictureStream) and not stage.takes_streams:
        raise ValueError(f"{stage.name} takes no stream: give it a list of pictures")
    stage.check(pictures, config)
    if validation_pictures:
        stage.captions(validation_pictures)
    accelerator = make_accelerator(config)
    check_optimizer(config, accelerator.device)
    _check_tensorboard(config)
    _check_clock(config, accelerator)
    check_sharding(stage, accelerator, config)
    settings = run_settings(stage, pictures, config)
    return Run(
        stage=stage,
        config=config,
        pictures=pictures,
        validation_pictures=validation_pictures,
        accelerator=accelerator,
        settings=settings,
        checkpoint=_find_checkpoint(config, settings),
    )


def choose_learning_rate(stage: Stage, config: FitConfig) -> float:
    """Return the learning rate asked for, else the model's for this method, else the method's."""
    if config.learning_rate is not None:
        return config.learning_rate
    return stage.suited_learning_rate


def with_snr_gamma(stage: Stage, config: FitConfig) -> FitConfig:
    """Return the settings with the gamma asked for, else the model's for this method, if any."""
    if config.snr_gamma is not None:
        return config
    return replace(config, snr_gamma=stage.suited_snr_gamma)


def run_settings(stage: Stage, pictures: Any, config: FitConfig) -> dict[str, Any]:
    """Return what must be the same for one run to go on where another stopped."""
    processes = PartialState().num_processes
    fixed = {
        key: value
        for key, value in {**stage.identity(pictures), **asdict(config)}.items()
        if key not in MAY_CHANGE_ON_RESUME and not isinstance(value, Path)
    }
    if config.lr_scheduler in FLAT_SCHEDULES:
        del fixed["max_train_steps"]
    return {
        **fixed,
        "learning_rate": choose_learning_rate(stage, config),
        **({"processes": processes} if processes > 1 else {}),
    }


def _check_tensorboard(config: FitConfig) -> None:
    if config.tensorboard and find_spec("tensorboard") is None:
        raise ValueError(
            "tensorboard needs the package of that name: install it with `pip install tensorboard`,"
            " or leave tensorboard out"
        )


def _check_clock(config: FitConfig, accelerator: Accelerator) -> None:
    """Raise ValueError where several processes would each go by a clock of their own."""
    for name in ("max_seconds", "checkpointing_seconds", "preview_seconds"):
        if getattr(config, name) is not None and accelerator.num_processes > 1:
            raise ValueError(f"{name} works in one process only: give a number of steps instead")


def _find_checkpoint(config: FitConfig, settings: Mapping[str, Any]) -> Checkpoint | None:
    """Read the newest checkpoint of the same run that is whole; None where there is none at all.

    One that is not is told, and the one before taken.
    """
    broken: ValueError | None = None
    found = [] if config.output_dir is None else prepare_output(config.output_dir, config.resume)
    for path in found:
        try:
            tensors, facts = load_checkpoint(path)
        except ValueError as error:
            broken = broken or error
            continue
        if broken is not None:
            warnings.warn(f"{broken}: the run goes on from {path.name}", stacklevel=2)
        check_same_run(settings, facts["settings"], path)
        if facts["step"] > config.max_train_steps:
            raise ValueError(
                f"{path} is past max_train_steps {config.max_train_steps}: set it to "
                f"{facts['step']} or more"
            )
        return Checkpoint(path, tensors, facts)
    if broken is not None:
        raise ValueError(f"{broken}, and none is whole: choose another output_dir to start anew")
    return None
