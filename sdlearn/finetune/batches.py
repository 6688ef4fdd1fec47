"""Which pictures come when, and where every random number comes from.

Sample k of a run (k counts pictures over all steps and processes) is picture k of an endless row of
shuffled epochs, and its random numbers come from a generator of its own, seeded by (seed, k). So a
batch is a function of the step alone: a resumed run goes on exactly, two half batches are the same
as a whole one, and two processes see what one with twice the batch sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B samples: indices of pictures, and one CPU generator each."""

    indices: Sequence[int]
    generators: Sequence[torch.Generator]
    number: int  # of this batch in the run, counted over steps, accumulation and processes
    seed: int

    def beside(self, count: int, size: int) -> Batch:
        """Return the batch of another row of `count` pictures that goes with this one."""
        return draw_batch(self.number, count=count, size=size, seed=self.seed, row=1)


def draw_batch(number: int, *, count: int, size: int, seed: int, row: int = 0) -> Batch:
    """Draw the batch with a number: `size` of `count` pictures, each once an epoch.

    Different `row`s are independent: DreamBooth's class pictures are row 1.
    """
    samples = range(number * size, (number + 1) * size)
    return Batch(
        indices=[_order(seed, row, k // count, count)[k % count] for k in samples],
        generators=[_generator(seed, row, k) for k in samples],
        number=number,
        seed=seed,
    )


@lru_cache(maxsize=8)
def _order(seed: int, row: int, epoch: int, count: int) -> list[int]:
    rng = np.random.default_rng(np.random.SeedSequence((seed, row, epoch, count)))
    return rng.permutation(count).tolist()


def _generator(seed: int, row: int, sample: int) -> torch.Generator:
    state = np.random.SeedSequence((seed, row, sample)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))
