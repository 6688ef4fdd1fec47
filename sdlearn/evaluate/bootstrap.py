"""How sure a figure is: percentile bootstrap intervals over subjects (or prompts) and seeds.

Pictures of one subject, or of one prompt, are more alike than others, so those groups are drawn
again first, and the seeds within each of them second. With one group only its seeds are.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95  # share of the bootstrap's figures that lie in the interval
SAMPLES = 2000  # times that the data are drawn again


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and where it would lie for other subjects and seeds. Zero width: nothing varied."""

    value: float
    low: float
    high: float


def bootstrap_mean(
    groups: Sequence[Sequence[float]], *, samples: int = SAMPLES, seed: int = 0
) -> Interval:
    """The mean over groups of each group's mean, with its interval.

    Args:
        groups: the values of each subject or prompt, one for each seed; a group counts as much
            as any other, however many values it has.
        samples: times that groups and values are drawn again.
        seed: of the drawing; the same seed gives the same interval.

    Raises ValueError where there is no group, or one without values.
    """
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    if not arrays or not all(array.size for array in arrays):
        raise ValueError("there is a group without values: give at least one value to each")
    rng, number = np.random.default_rng(seed), len(arrays)
    redrawn = np.stack(
        [a[rng.integers(a.size, size=(number, samples, a.size))].mean(-1) for a in arrays]
    )  # (groups, places, samples): each group's mean, drawn anew for every place
    places, columns = np.arange(number)[:, None], np.arange(samples)[None]
    chosen = rng.integers(number, size=(number, samples))  # which group takes a place
    return _interval(
        float(np.mean([array.mean() for array in arrays])), redrawn[chosen, places, columns].mean(0)
    )


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    number: int,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Interval:
    """Any statistic of `number` items with its interval.

    Args:
        statistic: gets the places (number,) of the items to count, some twice and some not at all,
            and returns the figure. What belongs together (a seed before and after training) is to
            be looked up by the same place.

    Raises ValueError for no items.
    """
    if number < 1:
        raise ValueError(f"there are {number} items to draw again: give at least 1")
    rng = np.random.default_rng(seed)
    redrawn = [statistic(rng.integers(number, size=number)) for _ in range(samples)]
    return _interval(statistic(np.arange(number)), np.asarray(redrawn))


def _interval(value: float, redrawn: np.ndarray) -> Interval:
    """The percentiles; redrawn figures that are not a number (nothing to compare) do not count."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(redrawn, [tail, 100 - tail])
    return Interval(value=float(value), low=float(low), high=float(high))
