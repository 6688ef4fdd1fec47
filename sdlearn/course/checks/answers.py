"""What a check is: it takes a learner's own function or answer, and says in words what is wrong.

A check returns `Right`, which a notebook shows, or raises: `NotImplementedError` for a stub that is
still one, `WrongAnswer` for everything else. So a wrong answer fails its cell, as graders expect,
and nothing but the sentence is shown.

A check asks with fresh numbers each time, so a value that a message gave away is no answer; and it
only ever calls a function by keyword and looks at what comes back, so the function may as well be
in another process (`sdlearn.course.grading`).
"""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


class WrongAnswer(AssertionError):
    """What is wrong with an answer, in one sentence; notebooks show it without a traceback."""

    def _render_traceback_(self) -> list[str]:  # what IPython asks an exception for
        return [f"\N{HEAVY BALLOT X} Not yet: {self}"]


class Unexplained(WrongAnswer):
    """An answer that is off, and that no sentence of its check explains."""


class Coincidence(Exception):
    """Inputs were drawn for which a wrong way gives the right value: they are drawn again."""


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


def check(*, points: int = 1) -> Callable[[Callable[[Any], str]], Check]:
    """Make a check of a function that takes an answer, raises `WrongAnswer` or returns a remark."""

    def decorate(judge: Callable[[Any], str]) -> Check:
        @functools.wraps(judge)
        def checked(answer: Any) -> Right:
            if answer is None or answer is ...:
                raise NotImplementedError(f"{judge.__name__} is still to be answered")
            with torch.random.fork_rng(devices=[]):
                torch.seed()
                while True:
                    try:
                        return Right(judge.__name__, points, judge(answer))
                    except Coincidence:
                        continue
                    except Unexplained as error:
                        raise WrongAnswer(_usual_mistake(judge, answer) or str(error)) from None

        checked.points = points  # type: ignore[attr-defined]
        return checked

    return decorate


def call(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a learner's function by keyword, on copies: it may work in place.

    WrongAnswer says what it raised, or that it is no function. Gradients reach the originals.
    """
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
        return function(**{name: _copied(value) for name, value in arguments.items()})
    except (NotImplementedError, WrongAnswer):
        raise
    except Exception as error:  # whatever a learner's code does is the answer
        raise WrongAnswer(f"{name} raised {type(error).__name__}: {error}") from error


def tensor(value: Any, shape: tuple[int, ...], what: str) -> torch.Tensor:
    """Take a result as a finite tensor of a shape; WrongAnswer tells which shape it has instead.

    NumPy's arrays and numbers are taken too. Half precision stays, as it is compared as such.
    """
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub":
        value = torch.from_numpy(np.array(value))
    if not isinstance(value, torch.Tensor) or value.is_complex():
        raise WrongAnswer(f"{what} should be a tensor, and is {type(value).__name__}")
    if tuple(value.shape) != shape:
        raise WrongAnswer(f"{what} should have shape {shape}, and has {tuple(value.shape)}")
    if not torch.isfinite(value).all():
        raise WrongAnswer(f"{what} holds numbers that are not finite")
    return value.detach() if _is_half(value) else value.detach().double()


def number(value: Any, what: str) -> float:
    """Take an answer as a finite number."""
    try:
        result = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise WrongAnswer(f"{what} should be a number, and is {value!r:.80}") from error
    if not math.isfinite(result):
        raise WrongAnswer(f"{what} should be a finite number, and is {result}")
    return result


def same(
    got: torch.Tensor | float,
    expected: torch.Tensor | float,
    what: str,
    slips: Mapping[str, torch.Tensor | float] | None = None,
    *,
    tolerance: float = 1e-4,
    distinct: bool = False,
) -> None:
    """Compare tensors of one shape, or numbers; `slips` are wrong results and their sentences.

    Raises WrongAnswer with that sentence, or with how far apart the two are. `tolerance` is
    relative; 0 for counts. `distinct`: Coincidence where a slip gives the right value.
    """
    got, expected = torch.as_tensor(got), torch.as_tensor(expected).double()
    wrongs = {
        sentence: torch.as_tensor(wrong).double() for sentence, wrong in (slips or {}).items()
    }
    if distinct and any(torch.equal(wrong, expected) for wrong in wrongs.values()):
        raise Coincidence
    if _close(got, expected, tolerance):
        return
    for sentence, wrong in wrongs.items():
        if wrong.shape == got.shape and _close(got, wrong, tolerance):
            raise WrongAnswer(sentence)
    worst = int((got - expected).abs().argmax())
    given, right = float(got.flatten()[worst]), float(expected.flatten()[worst])
    raise Unexplained(f"{what} is off: {right:.7g} is right, and yours is {given:.7g}")


def same_gradient(answer: Callable[..., Any], inputs: dict[str, Any], right: torch.Tensor) -> None:
    """Compare a loss's gradient with that of the `right` loss, for all inputs that require one."""
    trained = [value for value in inputs.values() if getattr(value, "requires_grad", False)]
    got = call(answer, **inputs)
    if not (isinstance(got, torch.Tensor) and got.requires_grad):
        raise WrongAnswer("the loss has no gradient, so nothing would be learnt: keep it a tensor")
    gradients = torch.autograd.grad(got.sum(), trained, allow_unused=True)
    for gradient, expected in zip(gradients, torch.autograd.grad(right, trained), strict=True):
        if gradient is None or not _close(gradient, expected, 1e-3):
            raise WrongAnswer(
                "the value is right and its gradient is not: a part of it was detached, "
                "so that part would not be learnt"
            )


def between(low: float, high: float) -> float:
    """A fresh number from low to high, of four decimals so that it can be read."""
    return round(low + (high - low) * float(torch.rand(())), 4)


def whole(low: int, high: int) -> int:
    """A fresh whole number from low to high."""
    return int(torch.randint(low, high + 1, ()))


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)


def _is_half(value: torch.Tensor) -> bool:
    return value.dtype in (torch.float16, torch.bfloat16)


def _close(got: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    relative = max(tolerance, 0.02) if _is_half(got) and tolerance else tolerance
    return torch.allclose(got.double(), expected.double(), rtol=relative, atol=relative / 10)


def _usual_mistake(judge: Callable[[Any], str], answer: Any) -> str | None:
    """The sentence of the change after which an answer would be right, if there is one."""
    for sentence, changed in _changes(answer) if callable(answer) else ():
        try:
            judge(changed)
        except (WrongAnswer, NotImplementedError, Coincidence):
            continue
        return sentence
    return None


def _changes(answer: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """An answer, mended in the usual ways, with the sentences that say what was wrong."""
    ways: dict[str, Callable[[Any], Any]] = {
        "the sign is the wrong way round": lambda got: -got,
        "that is twice what is right": lambda got: got / 2,
        "that is half of what is right": lambda got: 2 * got,
        "that is one over what is right": lambda got: 1 / got,
        "that is the square of what is right": lambda got: got**0.5,
        "that is the root of what is right: the square is missing": lambda got: got**2,
        "rows and columns of the result are swapped: transpose it": (
            lambda got: got.swapaxes(-1, -2)
        ),
        "the order of the result is turned round": lambda got: got.flip(0),
    }
    for sentence, mend in ways.items():
        yield sentence, lambda _mend=mend, **given: _mend(answer(**given))
    yield (
        "that goes along the wrong axis: rows and columns are swapped",
        lambda **given: answer(**{k: v.T if _is_matrix(v) else v for k, v in given.items()}),
    )
    try:
        names = list(inspect.signature(answer).parameters)
    except ValueError:
        names = []
    for one, other in itertools.combinations(getattr(answer, "argument_names", names), 2):
        yield (
            f"two arguments are swapped: {one} and {other}",
            lambda _one=one, _other=other, **given: answer(
                **given | {_one: given[_other], _other: given[_one]}
            ),
        )


def _is_matrix(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() == 2
