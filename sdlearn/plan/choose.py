"""Choosing settings that fit: the fastest ones that need no more memory than there is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isqrt
from typing import TYPE_CHECKING

from sdlearn.plan.config import DEFAULT_FITS
from sdlearn.plan.machine import SLACK, Machine
from sdlearn.training.config import FitConfig, Precision

if TYPE_CHECKING:
    from sdlearn.plan.config import MethodName, PlanConfig
    from sdlearn.plan.needs import StageNeeds, Tracer

MARGIN = 0.97  # of a machine's memory that may be planned with; predictions are that exact
MOST_AT_ONCE = 64  # pictures that a pass is always tried with; more take longer to find out


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one way to train needs on a machine."""

    fit: FitConfig
    stages: tuple[StageNeeds, ...]  # one after the other; two for Imagic
    machine: Machine

    @property
    def largest(self) -> StageNeeds:
        """The stage that needs the most memory."""
        return max(self.stages, key=lambda stage: stage.memory.total + self._overhead(stage))

    @property
    def overhead(self) -> int:
        """Bytes without a tensor in them: the programs, and what allocators cannot use again."""
        return self._overhead(self.largest)

    @property
    def needed(self) -> int:
        """Bytes, of everything together."""
        return self.largest.memory.total + self.overhead

    @property
    def fits(self) -> bool:
        """Whether the machine has that much, and some more."""
        return self.needed <= MARGIN * self.machine.memory

    @property
    def is_hopeless(self) -> bool:
        """Whether it would not fit even without activations: with smaller batches or pictures."""
        parts = [stage.memory for stage in self.stages]
        kept = max(part.weights + part.gradients + part.moments + part.ema for part in parts)
        return kept + self.machine.overhead > MARGIN * self.machine.memory

    def step_seconds(self, stage: StageNeeds) -> float | None:
        """Seconds of an optimizer step; None where the machine is not here to be measured."""
        speed = self.machine.speeds.get(self.fit.mixed_precision)
        if speed is None:
            return None
        return stage.flops / speed + stage.trained * self.machine.update_seconds

    @property
    def seconds(self) -> float | None:
        """Seconds in all, with what is drawn and encoded first; None where it is not known."""
        speed = self.machine.speeds.get(self.fit.mixed_precision)
        if speed is None:
            return None
        return sum(
            stage.preparing_flops / speed + stage.steps * (self.step_seconds(stage) or 0.0)
            for stage in self.stages
        )

    def _overhead(self, stage: StageNeeds) -> int:
        memory = stage.memory
        comes_and_goes = max(memory.gradients + memory.activations, memory.preparing)
        return self.machine.overhead + int(SLACK * comes_and_goes)


def find_row(tracer: Tracer, machine: Machine, fit: FitConfig) -> Row:
    """Find what settings need on a machine."""
    return Row(fit=fit, stages=tuple(tracer.needs(fit)), machine=machine)


def base_fit(method: MethodName, config: PlanConfig, machine: Machine) -> FitConfig:
    """Return the settings of the loop that nothing has to be chosen for."""
    asked = {
        name: getattr(config, name)
        for name in ("max_train_steps", "train_batch_size", "resolution", "use_ema")
        if getattr(config, name) is not None
    }
    precision = config.mixed_precision or _best_precision(machine)
    return replace(DEFAULT_FITS.get(method, FitConfig()), mixed_precision=precision, **asked)


def choose(tracer: Tracer, machine: Machine, fit: FitConfig) -> Row | None:
    """Return the first row that fits, from the fastest settings to the most sparing ones.

    What saves memory without costing time comes first: 8-bit moments, then parts of a batch after
    each other. Computing activations twice costs a third more time, and comes last.
    """
    eights = _asked(tracer.config.use_8bit_adam, _moments(machine))
    first = _asked(tracer.config.gradient_checkpointing, (False, True))[0]
    some = replace(fit, gradient_checkpointing=first, use_8bit_adam=eights[-1])
    if fit.train_batch_size > MOST_AT_ONCE:
        some = _in_parts(some, fit.train_batch_size)
    if find_row(tracer, machine, some).is_hopeless:
        return None
    for recompute in _asked(tracer.config.gradient_checkpointing, (False, True)):
        way = replace(fit, gradient_checkpointing=recompute)
        row = _fewest_parts(tracer, machine, way, eights)
        if row is not None:
            return row
    return None


def most_sparing(tracer: Tracer, machine: Machine, fit: FitConfig) -> Row:
    """Return the row that needs the least memory.

    It has every saver that may be used, but need not be the one with the smallest parts of a batch:
    while those follow each other, the gradients of all that trains are kept.
    """
    return min(sparing(tracer, machine, fit), key=lambda row: row.needed)


def sparing(tracer: Tracer, machine: Machine, fit: FitConfig) -> Iterator[Row]:
    """Yield the rows of which one needs the least memory."""
    way = replace(
        fit,
        gradient_checkpointing=_asked(tracer.config.gradient_checkpointing, (False, True))[-1],
        use_8bit_adam=_asked(tracer.config.use_8bit_adam, _moments(machine))[-1],
    )
    pictures = fit.train_batch_size
    numbers = {1, pictures} if pictures <= MOST_AT_ONCE else {pictures}
    for parts in sorted(numbers, reverse=True):
        yield find_row(tracer, machine, _in_parts(way, parts))


def compare(tracer: Tracer, machine: Machine, fit: FitConfig) -> list[Row]:
    """Return a row for each saver that needs no other run, at the precision and batch of `fit`.

    The row of `fit` is among them, and what was too much before it was chosen.
    """
    ways = (
        replace(fit, gradient_checkpointing=recompute, use_8bit_adam=bits)
        for recompute in (False, True)
        for bits in _moments(machine)
    )
    return [find_row(tracer, machine, way) for way in ways if tracer.is_known(way)]


def _fewest_parts(
    tracer: Tracer, machine: Machine, fit: FitConfig, eights: tuple[bool, ...]
) -> Row | None:
    """The row that fits with the fewest parts of a batch; float32 moments before 8-bit ones."""

    def first(parts: int) -> Row | None:
        ways = (replace(_in_parts(fit, parts), use_8bit_adam=eight) for eight in eights)
        rows = (find_row(tracer, machine, way) for way in ways)
        return next((row for row in rows if row.fits), None)

    whole = first(1) if fit.train_batch_size <= MOST_AT_ONCE else None
    if whole is not None:
        return whole
    # from two parts on, more parts need less, so that a few tries find the fewest that fit
    several = _divisors(fit.train_batch_size)[1:]
    place = bisect_left(several, True, key=lambda parts: first(parts) is not None)
    if place == 0 and fit.train_batch_size > MOST_AT_ONCE:
        whole = first(1)
    return whole or (first(several[place]) if place < len(several) else None)


def _in_parts(fit: FitConfig, parts: int) -> FitConfig:
    at_once = fit.train_batch_size // parts
    return replace(fit, train_batch_size=at_once, gradient_accumulation_steps=parts)


def _moments(machine: Machine) -> tuple[bool, ...]:
    """Whether moments are kept in 8 bits: the ways there are."""
    return (False, True) if machine.has_8bit_adam else (False,)


def _asked(asked: bool | None, choices: tuple[bool, ...]) -> tuple[bool, ...]:
    return choices if asked is None else (asked,)


def _divisors(number: int) -> list[int]:
    small = [part for part in range(1, isqrt(number) + 1) if number % part == 0]
    return sorted({*small, *(number // part for part in small)})


def _best_precision(machine: Machine) -> Precision:
    """Half precision on GPUs; on most processors it is emulated, and slower."""
    if not machine.on_cuda:
        return "no"
    return "bf16" if machine.has_bf16 else "fp16"
