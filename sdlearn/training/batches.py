"""Which pictures come when, and where every random number comes from.

Sample k of a run (k counts pictures over all steps and processes) is picture k of an endless row of
shuffled epochs, and its random numbers come from a generator of its own, seeded by (seed, k). So a
batch is a function of the step alone: a resumed run goes on exactly, two half batches are the same
as a whole one, and two processes see what one with twice the batch sees.

Pictures of several shapes, and streams, have rows of their own kind (`sdlearn.training.sources`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from sdlearn.data.encoded import name_of

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.data.folder import Picture


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B samples: indices of pictures, and one CPU generator each."""

    indices: Sequence[int]
    generators: Sequence[torch.Generator]
    number: int  # of this batch in the run, counted over steps, accumulation and processes
    seed: int
    loaded: Sequence[Any] = ()  # the pictures themselves, where they are read as they come
    step: int = 0  # optimizer steps done before the one that it is of

    def beside(self, count: int, size: int) -> Batch:
        """Return the batch of another row of `count` pictures that goes with this one."""
        return draw_batch(self.number, count=count, size=size, seed=self.seed, row=1)


@dataclass(frozen=True, kw_only=True)
class ProcessRank:
    """Which of several processes this is."""

    process: int = 0  # from 0
    processes: int = 1

    @classmethod
    def of(cls, accelerator: Accelerator) -> ProcessRank:
        """Return this process's."""
        return cls(process=accelerator.process_index, processes=accelerator.num_processes)


class Batches(Protocol):
    """The batches of one process's run."""

    def batch(self, number: int) -> Batch:
        """Return the batch with a number, counted over steps, accumulation and processes."""
        ...

    def epoch(self, samples: int) -> float:
        """Return how often each picture was seen after so many samples of all processes."""
        ...

    def name(self, index: int) -> str:
        """Return what to call a picture of a recent batch in a message."""
        ...


@dataclass(frozen=True, kw_only=True)
class ListBatches:
    """Batches of a list of pictures."""

    pictures: Sequence[Picture]
    size: int  # pictures a batch
    seed: int

    def batch(self, number: int) -> Batch:
        """Draw the batch with a number."""
        return draw_batch(number, count=len(self.pictures), size=self.size, seed=self.seed)

    def epoch(self, samples: int) -> float:
        """Return how often each picture was seen after so many samples."""
        return samples / len(self.pictures)

    def name(self, index: int) -> str:
        """Return a picture's file, or its place in the list."""
        return name_of(self.pictures, index)


def draw_batch(number: int, *, count: int, size: int, seed: int, row: int = 0) -> Batch:
    """Draw the batch with a number: `size` of `count` pictures, each once an epoch.

    Different `row`s are independent: DreamBooth's class pictures are row 1.
    """
    samples = range(number * size, (number + 1) * size)
    return Batch(
        indices=[_order(seed, row, k // count, count)[k % count] for k in samples],
        generators=[sample_generator(seed, row, k) for k in samples],
        number=number,
        seed=seed,
    )


def sample_generator(seed: int, row: int, sample: int) -> torch.Generator:
    """Make the generator of all random numbers of one sample."""
    state = np.random.SeedSequence((seed, row, sample)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))


@lru_cache(maxsize=8)
def _order(seed: int, row: int, epoch: int, count: int) -> list[int]:
    rng = np.random.default_rng(np.random.SeedSequence((seed, row, epoch, count)))
    return rng.permutation(count).tolist()
