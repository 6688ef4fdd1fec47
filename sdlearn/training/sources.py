"""Batches of pictures of several shapes, listed or streamed.

All pictures of an optimizer step are of one size: those of its batches in turn (accumulation) and,
where the pictures are listed, of all processes. A list, or a folder read lazily, is one row that
the processes share. Of a stream each process reads a row of its own, in blocks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from sdlearn.data.buckets import BucketRow, Size, group_shapes
from sdlearn.data.encoded import name_of
from sdlearn.data.streams import Skipped, StreamRow
from sdlearn.training.batches import Batch, ProcessRank, sample_generator

if TYPE_CHECKING:
    from sdlearn.data.encoded import EncodedPicture
    from sdlearn.data.folder import Picture
    from sdlearn.data.picture_loader import LoadedPicture, PictureLoader
    from sdlearn.data.streams import PictureStream

MOST_BROKEN = 100  # batches in a row of which no picture can be used


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """How the pictures of one process make batches."""

    batch_size: int  # pictures a batch
    parts: int  # batches a step
    seed: int
    rank: ProcessRank

    def step_and_part(self, number: int) -> tuple[int, int]:
        """Return the step of a batch, and which of the step's batches here it is."""
        return divmod(number // self.rank.processes, self.parts)


class Items(NamedTuple):
    """What a batch is made of."""

    indices: Sequence[int]  # places in the list or row
    items: Sequence[Any]  # what `read` takes
    size: Size


class BatchSource(Protocol):
    """The batches of one process, none of them read yet."""

    skipped: Skipped

    def items(self, step: int, part: int) -> Items:
        """Return what one batch is made of."""
        ...

    def read(self, item: Any) -> Picture | EncodedPicture:
        """Read one picture; called from several threads."""
        ...

    def is_ready(self, step: int) -> bool:
        """Whether `items` would answer at once."""
        ...

    def epoch(self, samples: int) -> float:
        """Return how often each picture was seen after so many samples of all processes."""
        ...

    def name(self, index: int) -> str:
        """Return what to call a picture of which no more is known."""
        ...


class ListSource:
    """The row of a list of pictures, or of a `LazyFolder`, each at its own of `sizes`."""

    def __init__(self, pictures: Any, sizes: Sequence[Size], plan: BatchPlan) -> None:
        self.pictures, self.sizes, self.plan = pictures, sizes, plan
        group = plan.batch_size * plan.parts * plan.rank.processes
        self.row = BucketRow(sizes, group, plan.seed)
        self.skipped = Skipped()

    def items(self, step: int, part: int) -> Items:
        """Return indices of pictures, as what to read as well."""
        rank = self.plan.rank
        first = (part * rank.processes + rank.process) * self.plan.batch_size
        indices = self.row.indices(step)[first : first + self.plan.batch_size]
        return Items(indices, indices, self.sizes[indices[0]])

    def read(self, item: int) -> Picture | EncodedPicture:
        """Read a picture of a folder, or take it from the list."""
        return getattr(self.pictures, "encoded", self.pictures.__getitem__)(item)

    def is_ready(self, step: int) -> bool:
        """Always: the row is known."""
        return True

    def epoch(self, samples: int) -> float:
        """Return how often each picture was seen after so many samples."""
        return samples / len(self.sizes)

    def name(self, index: int) -> str:
        """Return a picture's file, or its place in the list."""
        return name_of(self.pictures, index)


class _Block(NamedTuple):
    epoch: int  # of its first picture
    groups: list[tuple[Size, list[tuple[int, EncodedPicture]]]]  # place in the row, and picture


class StreamSource:
    """The row of a stream, a block after the other, of which the next is read meanwhile.

    A block holds whole steps, each of pictures of one size. Those that are left over, fewer than a
    step of each size, are put together with others of a similar shape, so that none is left out. A
    picture that cannot be used is replaced by another of its block. `sizes` are the buckets, in
    steps of `size_step` pixels.
    """

    def __init__(
        self, stream: PictureStream, plan: BatchPlan, sizes: Sequence[Size], size_step: int
    ) -> None:
        self.plan, self.sizes, self.size_step = plan, sizes, size_step
        self.group = plan.batch_size * plan.parts
        self.steps = math.ceil(stream.shuffle_buffer / self.group)  # of a block
        rank = plan.rank
        self.row = StreamRow(stream.shards, plan.seed, rank.process, rank.processes)
        self.skipped = self.row.skipped
        self._reader = ThreadPoolExecutor(1)
        self._blocks: dict[int, Future[_Block]] = {}
        self._next = -1  # block that the reader has come to
        self._rest: Iterator[tuple[int, EncodedPicture]] = iter(())
        self._epoch = 0

    def items(self, step: int, part: int) -> Items:
        """Return pictures still encoded."""
        block = self._block(step // self.steps).result()
        self._epoch = block.epoch
        size, pictures = block.groups[step % self.steps]
        own = pictures[part * self.plan.batch_size : (part + 1) * self.plan.batch_size]
        return Items([place for place, _ in own], [picture for _, picture in own], size)

    def read(self, item: EncodedPicture) -> EncodedPicture:
        """Return the picture, which was read with its block."""
        return item

    def is_ready(self, step: int) -> bool:
        """Whether the step's block is read."""
        block = self._blocks.get(step // self.steps)
        return block is not None and block.done()

    def epoch(self, samples: int) -> float:
        """Return how many epochs this process's row has had, in whole ones: its end is unknown."""
        return float(self._epoch)

    def name(self, index: int) -> str:
        """Return a picture's place in the row."""
        return f"picture {index} of the stream"

    def _block(self, number: int) -> Future[_Block]:
        for wanted in (number, number + 1):
            if wanted not in self._blocks:
                self._blocks[wanted] = self._reader.submit(self._read_block, wanted)
        for other in self._blocks.keys() - {number, number + 1}:
            del self._blocks[other]
        return self._blocks[number]

    def _read_block(self, number: int) -> _Block:
        count = self.steps * self.group
        if number != self._next:
            self._rest = self.row.read(number * count)
        entries = list(islice(self._rest, count))
        self._next = number + 1
        usable = self._usable(number * count, [picture for _, picture in entries])
        entropy = (self.plan.seed, self.plan.rank.process, number)
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        filled = [usable[i % len(usable)] for i in range(count)]
        mixed = [filled[i] for i in rng.permutation(count)]
        sizes = [size for _, _, size in mixed]
        groups = [
            (size, [mixed[i][:2] for i in members])
            for size, members in group_shapes(sizes, self.group, self.sizes, self.size_step)
        ]
        return _Block(entries[0][0], [groups[i] for i in rng.permutation(len(groups))])

    def _usable(
        self, start: int, pictures: Sequence[EncodedPicture]
    ) -> list[tuple[int, EncodedPicture, Size]]:
        found = []
        for place, picture in enumerate(pictures, start):
            try:
                found.append((place, picture, picture.size()))
            except ValueError as error:
                self.skipped.note(error)
                last = error
        if not found:
            raise ValueError(f"none of {len(pictures)} pictures in turn can be used: {last}")
        return found


class SourceBatches:
    """The batches of a row of pictures that are in memory, as moments."""

    def __init__(self, source: BatchSource, plan: BatchPlan) -> None:
        self.source, self.plan = source, plan
        self._names: deque[dict[int, str]] = deque(maxlen=4 * plan.parts)

    def batch(self, number: int) -> Batch:
        """Return the batch with a number."""
        indices = self.source.items(*self.plan.step_and_part(number)).indices
        loaded = self._load(number)
        paths = [str(picture.path) for picture in loaded]
        self._names.append(dict(zip(indices, paths, strict=False)))
        samples = range(number * self.plan.batch_size, (number + 1) * self.plan.batch_size)
        return Batch(
            indices=indices,
            generators=[sample_generator(self.plan.seed, 0, k) for k in samples],
            number=number,
            seed=self.plan.seed,
            loaded=loaded,
        )

    def epoch(self, samples: int) -> float:
        """Return how often each picture was seen after so many samples of all processes."""
        return self.source.epoch(samples)

    def name(self, index: int) -> str:
        """Return what to call a picture of a recent batch."""
        known = next((names[index] for names in self._names if index in names), None)
        return known or self.source.name(index)

    def _load(self, number: int) -> Sequence[LoadedPicture]:
        return []


class LoadedBatches(SourceBatches):
    """The batches of a row whose pictures are read as they come: in threads, one batch ahead.

    A picture that turns out to be broken is replaced by another of its batch, and a batch of none
    but broken ones by the next, so that what comes when still follows from the step.
    """

    def __init__(
        self, source: BatchSource, plan: BatchPlan, loader: PictureLoader, workers: int = 4
    ) -> None:
        super().__init__(source, plan)
        self.loader = loader
        self._threads = ThreadPoolExecutor(workers)
        self._ahead: dict[int, list[Future[LoadedPicture]]] = {}

    def _load(self, number: int) -> Sequence[LoadedPicture]:
        for _ in range(MOST_BROKEN):
            futures = self._start(number)
            following = number + self.plan.rank.processes
            self._ahead = {number: futures}
            if self.source.is_ready(self.plan.step_and_part(following)[0]):
                self._ahead[following] = self._start(following)
            found = [self._result(future) for future in futures]
            good = cycle([picture for picture in found if picture is not None])
            if any(found):
                return [picture or next(good) for picture in found]
            number = following
        raise ValueError(f"no picture of {MOST_BROKEN} batches in turn can be used: see above")

    def _start(self, number: int) -> list[Future[LoadedPicture]]:
        if number in self._ahead:
            return self._ahead[number]
        _, items, size = self.source.items(*self.plan.step_and_part(number))
        return [self._threads.submit(self._load_one, item, size) for item in items]

    def _load_one(self, item: Any, size: Size) -> LoadedPicture:
        return self.loader.load(self.source.read(item), size)

    def _result(self, future: Future[LoadedPicture]) -> LoadedPicture | None:
        try:
            return future.result()
        except ValueError as error:
            self.source.skipped.note(error)
            return None
