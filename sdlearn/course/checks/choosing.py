"""Checks of chapter 11: unbeaten methods, what a shelf costs, a paired interval, which when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from sdlearn.course.checks.answers import (
    WrongAnswer,
    between,
    call,
    check,
    number,
    same,
    tensor,
    whole,
)

Points = Mapping[str, tuple[float, float]]  # name -> likeness, drift
POINTS: Points = {
    "A": (0.7, 0.3),
    "B": (0.7, 0.2),
    "C": (0.5, 0.05),
    "D": (0.6, 0.25),
    "E": (0.5, 0.05),
    "F": (0.8, 0.4),
    "G": (0.55, 0.5),
}
SIZES = {"textual-inversion": 4_000, "lora": 2_000_000, "dreambooth": 40_000_000}  # bytes
HUGE, MIDDLE, TINY = 10**9, 5_000_000, 10_000  # bytes: all fit, not DreamBooth's, one alone


@check(points=1)
def unbeaten(answer: Any) -> str:
    """`unbeaten(points)`: the names that no other beats: the Pareto front of likeness and drift."""
    names = ["TUVWXYZ"[place] for place in torch.randperm(len(POINTS)).tolist()]
    fresh = dict(zip(names, POINTS.values(), strict=True))
    for points in (POINTS, fresh):
        _judge_front(_names(call(answer, points=dict(points)), points), points)
    return "Between these only you can choose: each has its price."


def _judge_front(got: set[str], points: Points) -> None:
    """Compare the names that are left of these points."""

    def left(
        beats: Callable[[Sequence[float], Sequence[float]], bool], *, itself: bool = True
    ) -> set[str]:  # the names that nobody beats; without `itself` none is compared with itself
        return {
            name
            for name, point in points.items()
            if not any(beats(q, point) for who, q in points.items() if itself or who != name)
        }

    alike = max(points, key=lambda name: points[name][0])
    least = min(drift for _, drift in points.values())
    right = left(lambda one, other: _as_good(one, other) and one != other)
    slips = {
        "low drift is the good one: here the high one wins": left(
            lambda one, other: one[0] >= other[0] and one[1] >= other[1] and one != other
        ),
        "these are the ones that are beaten: the others are asked for": set(points) - right,
        "that is only the most alike: one that drifts less is not beaten by it": {alike},
        "that is only the least drift: one that is more alike is not beaten by it": {
            name for name, (_, drift) in points.items() if drift == least
        },
        "two that are equal do not beat each other, as neither is better in anything": left(
            lambda one, other: _as_good(one, other), itself=False
        ),
        "nobody is left: to beat means no worse in both and better in one, and nobody beats "
        "itself": set(),
        "everybody is left: one that is worse in both is beaten": set(points),
        "equal in one and better in the other is enough to beat: two may be equally alike": left(
            lambda one, other: one[0] > other[0] and one[1] < other[1]
        ),
        "a sum of both decides how much drift a likeness is worth; nobody told you that": {
            max(points, key=lambda name: points[name][0] - points[name][1])
        },
    }
    for sentence, wrong in slips.items():
        if got == wrong != right:
            raise WrongAnswer(sentence)
    if odd := sorted(got ^ right):
        said = "missing" if odd[0] in right else "beaten"
        raise WrongAnswer(f"of {dict(points)}, {odd[0]} is {said}")


@check(points=1)
def shelf(answer: Any) -> str:
    """`shelf(characters, seconds, artefact_bytes, base_bytes)`: seconds and bytes for them all."""
    characters, seconds = whole(5, 9), between(30, 40)
    artefact, base = whole(2_000, 3_000), whole(80_000, 90_000)
    result = call(
        answer,
        characters=characters,
        seconds=seconds,
        artefact_bytes=artefact,
        base_bytes=base,
    )
    got = _numbers(result, 2, "seconds and bytes")
    time, size = characters * seconds, characters * artefact + base
    slips = {
        "the base model lies on the disk once, however many characters there are": (
            time,
            characters * (artefact + base),
        ),
        "the files are of no use without the base model: add it, once": (
            time,
            characters * artefact,
        ),
        "every character is trained for itself: that takes its seconds each time": (seconds, size),
        "every character has a file of its own": (time, artefact + base),
        "first the seconds, then the bytes": (size, time),
        "answer in seconds, as the table does": (time / 60, size),
    }
    pairs = {s: torch.tensor(wrong, dtype=torch.double) for s, wrong in slips.items()}
    same(got, torch.tensor([time, size], dtype=torch.double), "the cost", pairs)
    return "A small file pays when there are many characters."


@check(points=2)
def paired_interval(answer: Any) -> str:
    """`paired_interval(first, second, places)`: mean difference and 95 % bootstrap interval."""
    base = torch.linspace(0.2, 0.9, 8)
    first, second = base + 0.1 + 0.02 * torch.randn(8), base + 0.02 * torch.randn(8)
    places = torch.randint(8, (1000, 8))
    result = call(answer, first=first, second=second, places=places)
    got = _numbers(result, 3, "the mean difference, low and high")
    differences = first - second
    means = differences[places].mean(1)
    ends = [_percentiles(values[places].mean(1)) for values in (first, second)]
    spread, value = 1.96 * means.std(), differences.mean()

    def three(middle: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
        return torch.cat([middle[None], bounds])

    slips = {
        "that is second minus first": three(-value, -_percentiles(means).flip(0)),
        "this is not paired: take the difference picture by picture, and draw differences again; "
        "ends of two intervals say nothing about their difference": three(value, ends[0] - ends[1]),
        "this is not paired: the same prompt and seed belong together, and what is hard for both "
        "cancels out": three(value, ends[0] - ends[1].flip(0)),
        "every drawing gives one mean: take .mean(1), then the percentiles of all the means": three(
            value, _percentiles(differences[places].flatten())
        ),
        "5 and 95 % leave out a tenth: for 95 % cut 2.5 % off each end": three(
            value, torch.quantile(means, torch.tensor([0.05, 0.95]))
        ),
        "that is the largest and smallest mean: cut 2.5 % off each end": three(
            value, torch.stack([means.min(), means.max()])
        ),
        "1.96 standard deviations suppose a bell curve: take percentiles of the means": three(
            value, torch.stack([value - spread, value + spread])
        ),
    }
    same(got, three(value, _percentiles(means)), "the interval", slips)
    return "What is common to both pictures of a pair does not widen it."


@check(points=2)
def choose(answer: Any) -> str:
    """`choose(goal, pictures, keep_class, most_bytes, sizes)`: the chapter's four questions."""
    scale = whole(2, 9)  # and once more, with other sizes of files
    cases = [(1, case) for case in _CASES.items()] + [(scale, case) for case in _CASES.items()]
    for times, ((goal, pictures, keep_class, most_bytes), (right, why)) in cases:
        most_bytes *= times
        got = call(
            answer,
            goal=goal,
            pictures=pictures,
            keep_class=keep_class,
            most_bytes=most_bytes,
            sizes={name: size * times for name, size in SIZES.items()},
        )
        if not isinstance(got, str) or got != right:
            asked = f"{goal}, {pictures} pictures, keep_class={keep_class}, {most_bytes} bytes"
            raise WrongAnswer(f"{asked}: you choose {got!r}; {why}")
    return "Four questions, and nowhere a method that is always best."


_CASES = {
    ("edit", 1, True, HUGE): ("imagic", "one picture is to be edited, and no subject is learnt"),
    ("edit", 1, False, TINY): ("imagic", "an edit is a picture: no file of weights is kept"),
    ("style", 400, False, HUGE): ("full", "so many pictures can teach every weight"),
    ("style", 100, False, HUGE): ("full", "from 100 on, 100 included, there are enough"),
    ("style", 20, False, HUGE): ("lora", "too few pictures for every weight: a small update"),
    ("style", 400, False, MIDDLE): ("lora", "the file of all weights does not fit"),
    ("subject", 5, True, HUGE): ("dreambooth-prior", "the class must stay: it must be shown"),
    ("subject", 5, True, SIZES["dreambooth"]): (
        "dreambooth-prior",
        "a file of just that size fits",
    ),
    ("subject", 5, False, HUGE): ("dreambooth", "nothing must stay, and every file fits"),
    ("subject", 5, True, MIDDLE): (
        "textual-inversion",
        "a new word alone leaves the class as it was, and the larger file does not fit",
    ),
    ("subject", 5, False, MIDDLE): ("lora", "it fits, and nothing must stay"),
    ("subject", 5, False, TINY): ("textual-inversion", "nothing else fits in so little"),
    ("subject", 5, True, TINY): ("textual-inversion", "nothing else fits in so little"),
    ("subject", 400, False, MIDDLE): ("lora", "a subject with many pictures is still a subject"),
}


def _as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] >= other[0] and one[1] <= other[1]


def _names(value: Any, points: Points) -> set[str]:
    if isinstance(value, str | Mapping) or not hasattr(value, "__iter__"):
        raise WrongAnswer(f"answer with a list of names; this is {type(value).__name__}")
    names = list(value)
    if unknown := [n for n in names if not isinstance(n, str) or n not in points]:
        raise WrongAnswer(
            f"answer with names of the points: {unknown[0]!r:.40} is none of {', '.join(points)}"
        )
    return set(names)


def _numbers(value: Any, count: int, what: str) -> torch.Tensor:
    if hasattr(value, "shape"):
        return tensor(value, (count,), what)
    if not isinstance(value, tuple | list) or len(value) != count:
        raise WrongAnswer(f"answer with {count} numbers: {what}")
    return torch.tensor([number(v, what) for v in value], dtype=torch.double)


def _percentiles(values: torch.Tensor) -> torch.Tensor:
    return torch.quantile(values, torch.tensor([0.025, 0.975]))
