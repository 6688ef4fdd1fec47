"""Choosing settings that fit: the fastest ones that need no more memory than there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sdlearn.finetune.config import FitConfig, Precision
from sdlearn.plan.config import DEFAULT_FITS
from sdlearn.plan.machine import SLACK, Machine

if TYPE_CHECKING:
    from sdlearn.plan.config import MethodName, PlanConfig
    from sdlearn.plan.needs import StageNeeds, Tracer

MARGIN = 0.97  # of a machine's memory that may be planned with; predictions are that exact


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
    rows = (find_row(tracer, machine, way) for way in _ways(tracer.config, machine, fit))
    return next((row for row in rows if row.fits), None)


def most_sparing(tracer: Tracer, machine: Machine, fit: FitConfig) -> Row:
    """Return the row that needs the least memory.

    It need not be the one with the smallest parts of a batch: while those follow each other, the
    gradients of all that trains are kept.
    """
    ways = list(_ways(tracer.config, machine, fit))
    most = ways[-1]  # with every saver that may be used
    ways = [way for way in ways if _savers(way) == _savers(most)]
    return min((find_row(tracer, machine, way) for way in ways), key=lambda row: row.needed)


def compare(tracer: Tracer, machine: Machine, fit: FitConfig) -> list[Row]:
    """Return a row for each precision and saver, at the batch of `fit`."""
    half: Precision = "bf16" if machine.has_bf16 else "fp16"
    if fit.mixed_precision != "no":
        half = fit.mixed_precision
    precisions: tuple[Precision, ...] = ("no", half)
    return [
        find_row(
            tracer,
            machine,
            replace(
                fit, mixed_precision=precision, gradient_checkpointing=recompute, use_8bit_adam=bits
            ),
        )
        for precision in precisions
        for recompute in (False, True)
        for bits in ((False, True) if machine.has_8bit_adam else (False,))
    ]


def _ways(config: PlanConfig, machine: Machine, fit: FitConfig) -> Iterator[FitConfig]:
    """Settings from the fastest to the most sparing; what was asked for stays."""
    eights = (False, True) if machine.has_8bit_adam else (False,)
    for recompute in _asked(config.gradient_checkpointing, (False, True)):
        for parts in _divisors(fit.train_batch_size):
            for eight in _asked(config.use_8bit_adam, eights):
                yield replace(
                    fit,
                    gradient_checkpointing=recompute,
                    use_8bit_adam=eight,
                    train_batch_size=fit.train_batch_size // parts,
                    gradient_accumulation_steps=parts,
                )


def _savers(fit: FitConfig) -> tuple[bool, bool]:
    return fit.gradient_checkpointing, fit.use_8bit_adam


def _asked(asked: bool | None, choices: tuple[bool, ...]) -> tuple[bool, ...]:
    return choices if asked is None else (asked,)


def _divisors(number: int) -> list[int]:
    return [part for part in range(1, number + 1) if number % part == 0]


def _best_precision(machine: Machine) -> Precision:
    """Half precision on GPUs; on most processors it is emulated, and slower."""
    if not machine.on_cuda:
        return "no"
    return "bf16" if machine.has_bf16 else "fp16"
