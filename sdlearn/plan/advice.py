"""The sentences of a plan: why these settings, and what would make fit what does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdlearn.plan.choose import MOST_AT_ONCE, Row, base_fit, find_row, sparing
from sdlearn.plan.config import PlanConfig
from sdlearn.plan.machine import GB, Machine, gpu_of
from sdlearn.plan.needs import Tracer

if TYPE_CHECKING:
    from sdlearn.models.architectures import Architecture
    from sdlearn.plan.config import MethodName

CARDS = (8, 12, 16, 24, 32, 40, 48, 80)  # GB that GPUs are sold with
SMALLER = (0.75, 0.5)  # resolutions to try, as shares


def gigabytes(number: float) -> str:
    """Write bytes for people: 11.9 GB, 530 MB, 12 kB."""
    for unit, size in (("GB", GB), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.{1 if number < 100 * size else 0}f} {unit}"
    return f"{number:.0f} bytes"


def reasons_for(tracer: Tracer, best: Row, config: PlanConfig) -> tuple[str, ...]:
    """Say why each setting was chosen, by what would be needed without it."""
    fit, machine = best.fit, best.machine
    reasons = []
    if config.mixed_precision is None:
        reasons.append(_precision_reason(best, is_here=config.gpu_memory is None))
    if fit.gradient_checkpointing and config.gradient_checkpointing is None:
        other = find_row(tracer, machine, replace(fit, gradient_checkpointing=False))
        reasons.append(
            f"activations are computed twice, a third more time: else {gigabytes(other.needed)}"
        )
    if fit.use_8bit_adam and config.use_8bit_adam is None:
        other = find_row(tracer, machine, replace(fit, use_8bit_adam=False))
        reasons.append(f"the optimizer's moments in 8 bits: else {gigabytes(other.needed)}")
    parts = fit.gradient_accumulation_steps
    if parts > 1:
        whole = fit.train_batch_size * parts
        take = "take too much"
        if whole <= MOST_AT_ONCE:
            fit = replace(fit, train_batch_size=whole, gradient_accumulation_steps=1)
            take = f"take {gigabytes(find_row(tracer, machine, fit).needed)}"
        reasons.append(
            f"{parts} parts of a batch after each other, with the same result: {whole} pictures at "
            f"once {take}"
        )
    if best.fits and not (parts > 1 or fit.gradient_checkpointing or fit.use_8bit_adam):
        reasons.append("nothing has to be saved: it fits as it is")
    return tuple(reasons)


def _precision_reason(best: Row, is_here: bool) -> str:
    if best.fit.mixed_precision == "no":
        return "float32: half precision is no faster on most processors"
    name = best.fit.mixed_precision
    other = "" if is_here else "; a GPU older than Ampere needs fp16 instead"
    return f"{name}: faster on a GPU, and half the memory for parts that do not train{other}"


def refusal_for(tracer: Tracer, best: Row) -> str:
    """Say that nothing fits, and what would."""
    method, config, shape, machine = tracer.method, tracer.config, tracer.shape, best.machine
    enough: list[str] = []
    for words, other_method, other in smaller(method, config, shape, machine):
        is_known = enough and words.split()[0] == enough[-1].split()[0]  # a larger resolution fits
        is_vain = words.startswith("--resolution") and best.is_hopeless
        if not (is_known or is_vain) and _fits(tracer.asked(other_method, other), best):
            enough.append(words)
    if machine.on_cuda:
        cards = [card for card in CARDS if gpu_of(card).memory >= best.needed]
        enough += [f"a GPU of {cards[0]} GB"] if cards else []
    else:
        enough.append(f"{gigabytes(best.needed)} of free memory")
    advice = "take " + ", or ".join(enough) if enough else "no single change makes it fit"
    return (
        f"{method} with {config.model} needs {gigabytes(best.needed)} at least, and {machine.name} "
        f"has {gigabytes(machine.memory)} for it: {advice}"
    )


def disk_refusal(folder: Path, needed: int, free: int) -> str:
    """Say that the disk is too small."""
    return (
        f"up to {gigabytes(needed)} will be written, and the disk of {folder} has "
        f"{gigabytes(free)} left: make room, or name another --output"
    )


def _fits(tracer: Tracer, best: Row) -> bool:
    fit = base_fit(tracer.method, tracer.config, best.machine)
    try:
        return any(row.fits for row in sparing(tracer, best.machine, fit))
    except ValueError:  # a resolution that does not fit the model
        return False


def smaller(
    method: MethodName, config: PlanConfig, shape: Architecture, machine: Machine
) -> Iterator[tuple[str, MethodName, PlanConfig]]:
    """Ways to need less, each with its words: options as `sdlearn plan` takes them."""
    free = replace(config, gradient_checkpointing=None, use_8bit_adam=None, mixed_precision=None)
    if free != config:
        yield "the settings that are chosen for you", method, free
    if method in ("dreambooth", "imagic") and config.lora_rank is None:
        yield "--lora-rank 4", method, replace(config, lora_rank=4)
    if method == "full":
        yield "the method lora", "lora", replace(config, cache_latents=None)
    if config.train_text_encoder:
        yield "no --train-text-encoder", method, replace(config, train_text_encoder=False)
    if base_fit(method, config, machine).use_ema:
        yield "--no-use-ema", method, replace(config, use_ema=False)
    if method == "dreambooth" and config.with_prior_preservation:
        other = replace(config, with_prior_preservation=False)
        yield "--no-with-prior-preservation", method, other
    reduction = 2 ** (len(shape.vae["block_out_channels"]) - 1)
    size = config.resolution or shape.unet["sample_size"] * reduction
    for share in SMALLER:
        yield (
            f"--resolution {int(size * share)}",
            method,
            replace(config, resolution=int(size * share)),
        )
