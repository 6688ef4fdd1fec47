"""Buckets: sizes of several shapes, so that pictures need not all be cut to squares.

A batch holds pictures of one size. Every size has about as many pixels as the square that the model
was trained on, in steps that its U-Net can halve.

Source: NovelAI 2022, "Improvements on Stable Diffusion", section on aspect ratio bucketing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from sdlearn.data.encoded import LazyFolder

Size = tuple[int, int]  # height and width in pixels


def bucket_sizes(side: int, step: int) -> list[Size]:
    """List the largest sizes of no more than side x side pixels, all multiples of `step`.

    Their sides are from half to twice `side`, so no shape is longer than 4 : 1. Raises ValueError
    for a side that is no multiple of the step.
    """
    if side < step or side % step:
        raise ValueError(f"{side} pixels have no buckets: give a multiple of {step}")
    shortest = max(step, side // 2 // step * step)
    found = set()
    for width in range(shortest, 2 * side + 1, step):
        height = min(side * side // width // step * step, 2 * side)
        if height >= shortest:
            found |= {(height, width), (width, height)}
    return sorted(found)


def share_cut(picture: Size, size: Size) -> float:
    """Return how much of a picture is cut away when it fills a size: 0 nothing, 0.5 half of it."""
    ratio = picture[1] * size[0] / (picture[0] * size[1])
    return 1 - min(ratio, 1 / ratio)


def misfit(picture: Size, size: Size) -> float:
    """How badly a picture fits a size: log of what is cut away, plus log of any enlargement."""
    enlarged = max(size[0] / picture[0], size[1] / picture[1])
    return max(0.0, math.log(enlarged)) - math.log(1 - share_cut(picture, size))


def bucket_of(picture: Size, sizes: Sequence[Size], step: int) -> Size:
    """Return the size whose shape is nearest to a picture's.

    A picture too small for that is not enlarged but keeps its own size, cut down to steps; only
    one with a side under the shortest of `sizes` is enlarged, as far as it must be.
    """
    height, width = picture
    nearest = min(sizes, key=lambda size: (share_cut(picture, size), size))
    if height >= nearest[0] and width >= nearest[1]:
        return nearest
    shortest = min(map(min, sizes))
    own = (height // step * step, width // step * step)
    if min(own) >= shortest:
        return own
    return _best(picture, [*sizes, (shortest, shortest)])


def assign_buckets(pictures: Sequence[Size], side: int, step: int, at_least: int = 1) -> list[Size]:
    """Choose a size for each picture, such that no size has fewer than `at_least` pictures.

    A rare size, rarest first, is given up: each of its pictures goes to the size left that fits it
    best. What is left may be one size with fewer pictures, where there are no more at all.
    """
    sizes = bucket_sizes(side, step)
    known = {picture: bucket_of(picture, sizes, step) for picture in set(pictures)}
    chosen = [known[picture] for picture in pictures]
    counts = Counter(chosen)
    while len(counts) > 1:
        count, rarest = min((count, size) for size, count in counts.items())
        if count >= at_least:
            break
        del counts[rarest]
        for index, size in enumerate(chosen):
            if size == rarest:
                chosen[index] = _best(pictures[index], counts)
                counts[chosen[index]] += 1
    return chosen


def bucket_table(folder: str | Path, side: int, step: int, at_least: int = 1) -> str:
    """Show the buckets of a folder's pictures: how many go where, and what is lost of them."""
    pictures = LazyFolder(folder).sizes()
    chosen = assign_buckets(pictures, side, step, at_least)
    lines = [f"{'width x height':>15} {'shape':>6} {'pictures':>9} {'kept':>5} {'enlarged':>9}"]
    for size in sorted(set(chosen), key=lambda size: (size[1] / size[0], size)):
        own = [p for p, other in zip(pictures, chosen, strict=True) if other == size]
        kept = 1 - sum(share_cut(picture, size) for picture in own) / len(own)
        enlarged = sum(picture[0] < size[0] or picture[1] < size[1] for picture in own)
        name = f"{size[1]} x {size[0]}"
        shape = size[1] / size[0]
        lines.append(f"{name:>15} {shape:>6.2f} {len(own):>9} {kept:>5.0%} {enlarged:>9}")
    return "\n".join(lines)


def _best(picture: Size, sizes: Iterable[Size]) -> Size:
    return min(sizes, key=lambda size: (misfit(picture, size), size))


class BucketRow:
    """Which pictures come at which step, `group` of one size at a time.

    Each size has an endless row of its own of shuffled epochs, cut into groups. Fewer pictures than
    a group are left at the end of an epoch: they open the size's first group of the next one, so
    each picture comes as often as any other. A size has its turns in proportion to its pictures,
    mixed with the others'. All of it follows from seed and step.
    """

    def __init__(self, chosen: Sequence[Size], group: int, seed: int) -> None:
        self.group, self.seed = group, seed
        numbers = {size: number for number, size in enumerate(sorted(set(chosen)))}
        of_picture = np.array([numbers[size] for size in chosen])
        self._members = [np.flatnonzero(of_picture == number) for number in numbers.values()]
        self._counts = np.array([len(members) for members in self._members])
        self._turns = lru_cache(maxsize=2)(self._draw_turns)
        self._order = lru_cache(maxsize=2 * len(numbers))(self._draw_order)

    def indices(self, step: int) -> list[int]:
        """Return the pictures of a step."""
        bucket, first = self._turn(step)
        count = self._counts[bucket]
        return [
            int(self._order(bucket, k // count)[k % count])
            for k in range(first, first + self.group)
        ]

    def epoch(self, step: int) -> float:
        """Return how often each picture was seen after so many steps."""
        return step * self.group / int(self._counts.sum())

    def _turn(self, step: int) -> tuple[int, int]:
        """The bucket of a step, and where in its own row the group begins."""
        epoch = step * self.group // int(self._counts.sum())
        while self._begun(epoch + 1) <= step:
            epoch += 1
        bucket, number = self._turns(epoch)[step - self._begun(epoch)]
        return int(bucket), int(number) * self.group

    def _begun(self, epoch: int) -> int:
        """Steps before an epoch."""
        return int((epoch * self._counts // self.group).sum())

    def _draw_turns(self, epoch: int) -> np.ndarray:
        """Bucket and number of each group of an epoch, (G, 2), in their order."""
        first, end = (e * self._counts // self.group for e in (epoch, epoch + 1))
        turns = [(b, n) for b in range(len(first)) for n in range(first[b], end[b])]
        return self._rng(epoch).permutation(np.array(turns).reshape(-1, 2))

    def _draw_order(self, bucket: int, epoch: int) -> np.ndarray:
        return self._rng(epoch, bucket).permutation(self._members[bucket])

    def _rng(self, *which: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence((self.seed, len(which), *which)))


def group_shapes(
    pictures: Sequence[Size], group: int, sizes: Sequence[Size], step: int
) -> list[tuple[Size, list[int]]]:
    """Put pictures together, `group` of one size each; their number is a multiple of `group`.

    Each goes to its own bucket of `sizes` as long as that makes whole groups. What is left over of
    all sizes is put in order of shape and cut into groups, each at the size that fits it best.
    """
    of_size: dict[Size, list[int]] = {}
    for index, picture in enumerate(pictures):
        chosen = sizes[0] if len(sizes) == 1 else bucket_of(picture, sizes, step)
        of_size.setdefault(chosen, []).append(index)
    groups: list[tuple[Size, list[int]]] = []
    left: list[int] = []
    for size, members in sorted(of_size.items()):
        whole = len(members) // group * group
        groups += [(size, members[i : i + group]) for i in range(0, whole, group)]
        left += members[whole:]
    left.sort(key=lambda index: pictures[index][1] / pictures[index][0])
    for start in range(0, len(left), group):
        members = left[start : start + group]
        groups.append((_best_for_all([pictures[i] for i in members], sizes), members))
    return groups


def _best_for_all(pictures: Sequence[Size], sizes: Iterable[Size]) -> Size:
    return min(sizes, key=lambda size: (sum(misfit(picture, size) for picture in pictures), size))
