"""Streams: pictures read in turn from shards, so that any number needs no more memory than a few.

What a process reads is an endless row of epochs. In each epoch the shards come in another order,
shared out among the processes, and each is read from beginning to end. The row is cut into blocks,
and a block, still encoded, is what is shuffled. So what comes when follows from the seed, the
process and the step, and nothing need be saved to go on exactly: shards before that place are
skipped by their counts, which are taken once.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sdlearn.data.encoded import EncodedPicture
from sdlearn.data.shards import DatasetShards, Shards, WebDatasetShards

MOST_EMPTY = 10  # epochs; where pictures are fewer than processes, one may go without


@dataclass(frozen=True, kw_only=True)
class PictureStream:
    """A stream to train on, in place of a list of pictures."""

    shards: Shards
    shuffle_buffer: int = 1000  # pictures of a block; two blocks are in memory, still encoded
    workers: int = 4  # threads that decode; they share one row, so their number changes nothing

    def __post_init__(self) -> None:
        for name in ("shuffle_buffer", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least 1")

    def first(self) -> EncodedPicture:
        """Return the first picture, to see what the stream is like; ValueError where it is empty.

        It raises what reading it raises, such as ValueError for a broken archive.
        """
        for number in range(len(self.shards.names)):
            for picture in self.shards.read(number):
                return picture
        raise ValueError(f"the stream of {', '.join(self.shards.names[:3])} holds no pictures")

    @property
    def fingerprint(self) -> str:
        """What another stream, or another way to shuffle it, does not share."""
        return f"{self.shards.fingerprint}, shuffled among {self.shuffle_buffer}"


def stream_archives(urls: str | Path | Sequence[str], **settings: Any) -> PictureStream:
    """Stream WebDataset archives; see `WebDatasetShards`, and `PictureStream` for settings."""
    return PictureStream(shards=WebDatasetShards(urls), **settings)


def stream_dataset(
    dataset: Any, *, image: str = "image", text: str = "text", text_ja: str = "", **settings: Any
) -> PictureStream:
    """Stream a dataset of `datasets`; see `DatasetShards`, and `PictureStream` for settings."""
    shards = DatasetShards(dataset=dataset, image=image, text=text, text_ja=text_ja)
    return PictureStream(shards=shards, **settings)


class StreamRow:
    """One process's endless row of a stream's pictures.

    Each epoch, its shards are those at every `processes`-th place of the epoch's order; where there
    are fewer shards than processes, it takes every `processes`-th picture of all shards instead.
    Together the processes read every picture once an epoch.
    """

    def __init__(self, shards: Shards, seed: int, process: int = 0, processes: int = 1) -> None:
        self.shards, self.seed = shards, seed
        self.by_shard = len(shards.names) >= processes
        self.process, self.processes = process, processes
        self._every = 1 if self.by_shard else processes
        self._counts: dict[int, int] = {}
        self.skipped = Skipped()

    def read(self, start: int) -> Iterator[tuple[int, EncodedPicture]]:
        """Read epoch and picture from a place in the row on, without end.

        Raises ValueError where several epochs hold nothing.
        """
        epoch, left, empty = 0, start, 0
        while True:
            found = False
            for place, shard in enumerate(self._order(epoch)):
                first = self._first(place)
                if left:
                    count = len(range(first, self._count(shard), self._every))
                    found = found or count > 0
                    if left >= count:
                        left -= count
                        continue
                own = islice(self._usable(shard), first, None, self._every)
                for picture in islice(own, left, None):
                    yield epoch, picture
                    found = True
                left = 0
            empty = 0 if found else empty + 1
            if empty == MOST_EMPTY:
                raise ValueError(
                    f"there are no pictures for process {self.process} in "
                    f"{', '.join(self.shards.names[:3])}: give more shards, or fewer processes"
                )
            epoch += 1

    def _order(self, epoch: int) -> list[int]:
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, epoch)))
        order = rng.permutation(len(self.shards.names)).tolist()
        return order[self.process :: self.processes] if self.by_shard else order

    def _first(self, place: int) -> int:
        """This process's first picture in the shard at a place of the epoch's order."""
        return 0 if self.by_shard else (self.process - place) % self.processes

    def _usable(self, shard: int) -> Iterator[EncodedPicture]:
        """A shard's pictures, without what comes after a broken place."""
        try:
            yield from self.shards.read(shard)
        except ValueError as error:
            self.skipped.note(error)

    def _count(self, shard: int) -> int:
        if shard not in self._counts:
            try:
                self._counts[shard] = self.shards.count(shard)
            except ValueError:  # broken
                self._counts[shard] = sum(1 for _ in self._usable(shard))
        return self._counts[shard]


@dataclass
class Skipped:
    """Pictures and archives that cannot be used: each is named once, with how many there are."""

    names: set[str] = field(default_factory=set)

    def note(self, error: ValueError) -> None:
        """Warn of one, unless it is known already."""
        if str(error) not in self.names:
            self.names.add(str(error))
            warnings.warn(f"skipped, {len(self.names)} so far: {error}", stacklevel=2)
