"""What a check is: it takes a learner's own function or answer, and says in words what is wrong.

A check returns `Right`, which a notebook shows, or raises: `NotImplementedError` for a stub that is
still one, `WrongAnswer` for everything else. So a wrong answer fails its cell, as graders expect,
and nothing but the sentence is shown.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


class WrongAnswer(AssertionError):
    """What is wrong with an answer, in one sentence; notebooks show it without a traceback."""

    def _render_traceback_(self) -> list[str]:  # what IPython asks an exception for
        return [f"\N{HEAVY BALLOT X} Not yet: {self}"]


@dataclass(frozen=True)
class Right:
    """A right answer."""

    name: str  # of the check
    points: int
    remark: str  # what the answer shows

    def __repr__(self) -> str:
        unit = "point" if self.points == 1 else "points"
        return f"\N{HEAVY CHECK MARK} {self.name}: right ({self.points} {unit}). {self.remark}"


Check = Callable[..., Right]


def check(*, points: int = 1) -> Callable[[Callable[..., str]], Check]:
    """Make a check of a function that takes an answer, raises `WrongAnswer` or returns a remark.

    What it takes beside the answer is what the notebook computed for it.
    """

    def decorate(judge: Callable[..., str]) -> Check:
        @functools.wraps(judge)
        def checked(answer: Any, *computed: Any) -> Right:
            if answer is None or answer is ...:
                raise NotImplementedError(f"{judge.__name__} is still to be answered")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return Right(judge.__name__, points, judge(answer, *computed))

        checked.points = points  # type: ignore[attr-defined]
        return checked

    return decorate


def call(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a learner's function by keyword; WrongAnswer says what it raised, or that it is none."""
    names = ", ".join(arguments)
    if not callable(function):
        raise WrongAnswer(f"the check takes your function itself, not {type(function).__name__}")
    name = getattr(function, "__name__", "your function")
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise WrongAnswer(f"{name} must take the arguments {names} ({error})") from error
    except ValueError:
        pass  # a built-in function tells nothing of its arguments
    try:
        return function(**arguments)
    except NotImplementedError:
        raise
    except Exception as error:  # whatever a learner's code does is the answer
        raise WrongAnswer(f"{name} raised {type(error).__name__}: {error}") from error


def tensor(value: Any, shape: tuple[int, ...], what: str) -> torch.Tensor:
    """Take a result as a finite tensor of a shape; WrongAnswer tells which shape it has instead."""
    if not isinstance(value, torch.Tensor):
        raise WrongAnswer(f"{what} should be a tensor, and is {type(value).__name__}")
    if tuple(value.shape) != shape:
        raise WrongAnswer(f"{what} should have shape {shape}, and has {tuple(value.shape)}")
    if not torch.isfinite(value).all():
        raise WrongAnswer(f"{what} holds numbers that are not finite")
    return value.detach().double()


def same(
    got: torch.Tensor,
    expected: torch.Tensor,
    what: str,
    slips: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Compare two tensors of one shape; `slips` are known wrong results, by the sentence they earn.

    Raises WrongAnswer with that sentence, or with how far apart the two are.
    """
    if _close(got, expected):
        return
    for sentence, wrong in (slips or {}).items():
        if wrong.shape == got.shape and _close(got, wrong):
            raise WrongAnswer(sentence)
    worst = int((got - expected.double()).abs().argmax())
    raise WrongAnswer(
        f"{what} is off: {got.flatten()[worst]:.4g} where {expected.flatten()[worst]:.4g} is right"
    )


def number(value: Any, what: str) -> float:
    """Take an answer as a finite number."""
    try:
        result = float(value)
    except (TypeError, ValueError) as error:
        raise WrongAnswer(f"{what} should be a number, and is {value!r}") from error
    if not math.isfinite(result):
        raise WrongAnswer(f"{what} should be a finite number, and is {result}")
    return result


def _close(got: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(got.double(), expected.double(), rtol=1e-4, atol=1e-5)
