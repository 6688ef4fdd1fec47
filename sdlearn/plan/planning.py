"""The plan itself: what is needed, what is chosen and why, and what would fit if nothing does."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from sdlearn.plan.advice import disk_refusal, gigabytes, reasons_for, refusal_for
from sdlearn.plan.blank import find_architecture
from sdlearn.plan.choose import MOST_AT_ONCE, Row, base_fit, choose, compare, most_sparing
from sdlearn.plan.config import PlanConfig
from sdlearn.plan.machine import Machine, gpu_of, measure_speed, this_machine
from sdlearn.plan.needs import Tracer
from sdlearn.training.accelerator import check_optimizer, make_accelerator
from sdlearn.training.config import FitConfig

if TYPE_CHECKING:
    from sdlearn.models.architectures import Architecture
    from sdlearn.plan.config import MethodName

PNG = 0.6  # of its pixels' bytes that a photograph's file takes, about
FULL_CACHE = 8 * 2**30  # bytes of latents; full fine-tuning refuses to keep more in memory
FEW = (4, 8)  # pictures of two batches, to see what one takes


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a method will need, and the settings that fit; `refusal` says why if none do."""

    method: MethodName
    config: PlanConfig
    machine: Machine
    rows: tuple[Row, ...]  # the savers that were looked at, at the batch of `best`
    best: Row  # what is chosen, or where nothing fits what needs the least
    reasons: tuple[str, ...]  # why these settings, a sentence each
    refusal: str = ""  # "" where there is room; else a sentence

    @property
    def trained(self) -> int:
        """Parameters that train; the most of all stages."""
        return max(stage.trained for stage in self.best.stages)

    @property
    def artefact(self) -> int:
        """Bytes of what is learnt, on disk: what trains, in float32; LoRAs in two formats."""
        copies = 2 if self.method == "lora" or self.config.lora_rank else 1
        return copies * sum(4 * stage.trained for stage in self.best.stages)

    @property
    def checkpoint(self) -> int:
        """Bytes of one checkpoint: what trains, its moments and its average."""
        stages = self.best.stages
        return max(4 * s.trained + s.memory.moments + s.memory.ema for s in stages)

    @property
    def class_pictures(self) -> int:
        """Bytes of the files of class pictures."""
        return int(PNG * 3 * sum(stage.drawn_pixels for stage in self.best.stages))

    @property
    def disk(self) -> int:
        """Bytes on disk at most: the artefact, class pictures, and one checkpoint too many.

        A new checkpoint is complete before an old one goes.
        """
        kept = (FitConfig.checkpoints_total_limit or 1) + 1
        return self.artefact + self.class_pictures + kept * self.checkpoint


def plan(method: MethodName, config: PlanConfig | None = None, **settings: Any) -> Plan:
    """Say what a method will need, and choose settings that fit; nothing is loaded.

    Settings are those of `PlanConfig`. Memory is found by running the method's own code on tensors
    that have shapes and no numbers. Time follows from that run's operations and the speed of layers
    as wide as the model's, which is measured for some seconds.

    Raises ValueError for options that contradict each other or that training refuses on this
    machine, a model of unknown shape, and what does not fit that shape. What fits no memory or disk
    is told in `Plan.refusal`.
    """
    config = replace(config or PlanConfig(), **settings)
    config.check(method)
    shape = find_architecture(config.model)
    config = _with_caches(method, config, shape)
    check_rank(config, shape)
    machine = this_machine() if config.gpu_memory is None else gpu_of(config.gpu_memory)
    check_machine(config, machine)
    with tqdm(desc="Planning", unit="try", delay=2, leave=False) as bar:
        tracer = Tracer(method, shape, config, machine.on_cuda)
        tracer.bar = bar
        made = _planned(tracer, machine)
    return made if made.refusal else replace(made, refusal=_full_disk(made))


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


def check_batch(method: MethodName, config: PlanConfig, fit: FitConfig) -> None:
    """Raise ValueError for a batch whose activations alone no memory here holds.

    What one picture more takes tells. Batches that a plan tries at once are let through, and models
    of a shape that is not known.
    """
    if fit.train_batch_size <= MOST_AT_ONCE:
        return
    try:
        shape = find_architecture(config.model)
    except ValueError:
        return
    machine = this_machine()
    tracer = Tracer(method, shape, config, machine.on_cuda)
    few, more = (
        max(stage.memory.activations for stage in tracer.needs(replace(fit, train_batch_size=size)))
        for size in FEW
    )
    needed = (more - few) / (FEW[1] - FEW[0]) * fit.train_batch_size
    if needed > machine.memory:
        raise ValueError(
            f"--train-batch-size is {fit.train_batch_size}: so many pictures take "
            f"{gigabytes(needed)}, and {machine.name} has {gigabytes(machine.memory)}: give fewer, "
            "with --gradient-accumulation-steps to make up for it"
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


def _planned(tracer: Tracer, machine: Machine) -> Plan:
    """The plan, whatever the disk has."""
    config = tracer.config
    fit = base_fit(tracer.method, config, machine)
    chosen = choose(tracer, machine, fit)
    best = chosen or most_sparing(tracer, machine, fit)
    rows = compare(tracer, machine, best.fit)
    if config.gpu_memory is None:
        machine = _timed(machine, tracer.shape, best, rows)
    return Plan(
        method=tracer.method,
        config=config,
        machine=machine,
        rows=tuple(replace(row, machine=machine) for row in rows),
        best=replace(best, machine=machine),
        reasons=reasons_for(tracer, best, config),
        refusal="" if chosen else refusal_for(tracer, best),
    )


def _with_caches(method: MethodName, config: PlanConfig, shape: Architecture) -> PlanConfig:
    """Decide whether full fine-tuning keeps all latents in memory."""
    if method != "full" or config.cache_latents is not None:
        return config
    side = shape.unet["sample_size"]
    if config.resolution is not None:
        side = config.resolution // 2 ** (len(shape.vae["block_out_channels"]) - 1)
    moments = 4 * 2 * shape.vae["latent_channels"] * side**2  # bytes a picture, float32
    return replace(config, cache_latents=config.pictures * moments <= FULL_CACHE)


def _timed(machine: Machine, shape: Architecture, best: Row, rows: list[Row]) -> Machine:
    precisions = sorted({row.fit.mixed_precision for row in [best, *rows]})
    reduction = 2 ** (len(shape.vae["block_out_channels"]) - 1)
    side = shape.unet["sample_size"]
    if best.fit.resolution is not None:
        side = best.fit.resolution // reduction
    return measure_speed(machine, shape, precisions, best.fit.train_batch_size, side)


def _full_disk(made: Plan) -> str:
    """Say what is wrong with the disk; "" where it has room."""
    folder = made.config.output.expanduser().absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return "" if made.disk <= free else disk_refusal(Path(folder), made.disk, free)
