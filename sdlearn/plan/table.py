"""A plan for people: one table, the reasons, and the command to type."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from sdlearn.plan.advice import gigabytes
from sdlearn.plan.config import DEFAULT_FITS, PlanConfig
from sdlearn.training.config import FitConfig

if TYPE_CHECKING:
    from sdlearn.plan.choose import Row
    from sdlearn.plan.planning import Plan

HEAD = "precision checkpointing 8-bit weights gradients moments EMA activations caches other total"
UNCERTAIN = "time is an estimate, mostly within a factor of 1.5"


def describe(plan: Plan) -> str:
    """Write a plan as text: parameters, the table, time, disk, reasons and the command."""
    best = plan.best
    size = f" at {best.fit.resolution} pixels" if best.fit.resolution else ""
    lines = [
        f"{plan.method} with {plan.config.model}{size} trains {millions(plan.trained)} parameters.",
        f"On {plan.machine.name}: {gigabytes(plan.machine.memory)} for training.",
        "",
        *memory_table(plan),
        "",
        f"{'Chosen' if best.fits else 'The least'}: {settings_in_words(best)}.",
        *(f"- {reason}" for reason in plan.reasons),
        *_time(plan),
        f"Disk: {gigabytes(plan.artefact)} for what is learnt, {gigabytes(plan.checkpoint)} for "
        f"each checkpoint, {gigabytes(plan.disk)} at most.",
    ]
    if not plan.refusal:
        lines += ["", "Type, with your own folder for PICTURES:", "", f"    {train_command(plan)}"]
    return "\n".join(lines)


def memory_table(plan: Plan) -> list[str]:
    """Return the lines of the table: memory by part, a row for each saver looked at."""
    head = [*HEAD.split(), *(["step"] if plan.machine.speeds else [])]
    if not plan.machine.has_8bit_adam:
        head.remove("8-bit")
    unit = "GB" if plan.best.needed > 10**10 else "MB"
    cells = [[*head, ""]]
    for row in plan.rows:
        verdict = "too much" if not row.fits else "<- chosen" * (row.fit == plan.best.fit)
        parts = [
            f"{part / 1e9:.2f}" if unit == "GB" else f"{part / 1e6:.0f}" for part in _parts(row)
        ]
        if "step" in head:
            parts.append(duration(row.step_seconds(row.largest) or 0))
        cells.append([*_settings(row, "8-bit" in head), *parts, verdict])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    pictures = plan.best.fit.train_batch_size
    return [f"Memory in {unit}, {_pictures(pictures)} at once:", "", *lines]


def settings_in_words(row: Row) -> str:
    """Name the settings of a row."""
    fit = row.fit
    words: list[str] = ["float32" if fit.mixed_precision == "no" else fit.mixed_precision]
    words.append(f"{_pictures(fit.train_batch_size)} at once")
    if fit.gradient_accumulation_steps > 1:
        words.append(f"{fit.gradient_accumulation_steps} times a step")
    if fit.gradient_checkpointing:
        words.append("gradient checkpointing")
    if fit.use_8bit_adam:
        words.append("8-bit Adam")
    return ", ".join(words)


def train_command(plan: Plan) -> str:
    """Return the `sdlearn train` line that trains as planned; PICTURES is left to be replaced."""
    config, fit, base = plan.config, plan.best.fit, PlanConfig()
    words = ["sdlearn train", plan.method, "PICTURES", f"--output {config.output / plan.method}"]
    words.append(f"--model {config.model}")
    if plan.method == "imagic":
        words.append('--target-prompt "what the picture should show"')
    defaults = DEFAULT_FITS.get(plan.method, FitConfig())
    for entry in fields(FitConfig):
        if (value := getattr(fit, entry.name)) != getattr(defaults, entry.name):
            words.append(_option(entry.name, value))
    for name in ("train_text_encoder", "with_prior_preservation", "num_vectors", "cache_latents"):
        value = getattr(config, name)
        if value not in (getattr(base, name), True if name == "cache_latents" else None):
            words.append(_option(name, value))
    if config.lora_rank is not None:
        words.append(_option("rank" if plan.method == "lora" else "lora_rank", config.lora_rank))
    return " ".join(words)


def millions(number: int) -> str:
    """Write a number of parameters for people: 859.5 million, or 768."""
    return f"{number / 1e6:,.1f} million" if number >= 10**5 else f"{number:,}"


def _settings(row: Row, with_bits: bool) -> list[str]:
    """The first cells of a row."""
    fit = row.fit
    savers = [fit.gradient_checkpointing, *([fit.use_8bit_adam] if with_bits else [])]
    precision = "float32" if fit.mixed_precision == "no" else fit.mixed_precision
    return [precision, *("yes" if saver else "-" for saver in savers)]


def _parts(row: Row) -> list[int]:
    """Bytes by part, which add up to the last."""
    memory = row.largest.memory
    kept = [memory.weights, memory.gradients, memory.moments, memory.ema]
    # where preparing takes more than a step, its space is counted here
    activations = memory.total - memory.caches - sum(kept)
    return [*kept, activations, memory.caches, row.overhead, row.needed]


def _time(plan: Plan) -> list[str]:
    best = plan.best
    if best.seconds is None:
        work = sum(stage.flops * stage.steps for stage in best.stages) / 1e15
        return [f"Time: not known without the GPU; {work:,.2f} petaflop in all."]
    steps = ", ".join(
        f"{stage.steps} steps of {duration(best.step_seconds(stage) or 0)}" for stage in best.stages
    )
    return [f"Time: about {duration(best.seconds)} in all ({steps}); {UNCERTAIN}."]


def duration(seconds: float) -> str:
    """Write a time for people: 0.35 s, 4.2 minutes, 3.1 hours."""
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _pictures(number: int) -> str:
    return "1 picture" if number == 1 else f"{number} pictures"


def _option(name: str, value: object) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {value}"
