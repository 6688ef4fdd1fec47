"""The row of a stream: read in blocks, shuffled and sorted by shape within them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sdlearn.data.buckets import Size, group_shapes
from sdlearn.data.streams import StreamRow
from sdlearn.training.sources import Items

if TYPE_CHECKING:
    from sdlearn.data.encoded import EncodedPicture
    from sdlearn.data.streams import PictureStream
    from sdlearn.training.sources import Cut


class _Block(NamedTuple):
    epoch: int  # of its first picture
    groups: list[tuple[Size, list[tuple[int, EncodedPicture]]]]  # place in the row, and picture


class BlockRow:
    """The row of a stream, a block after the other, of which the next is read meanwhile.

    A block holds whole steps, each of pictures of one size. Those that are left over, fewer than a
    step of each size, are put together with others of a similar shape, so that none is left out. A
    picture that cannot be used is replaced by another of its block. `sizes` are the buckets, in
    steps of `size_step` pixels.
    """

    def __init__(
        self, stream: PictureStream, cut: Cut, sizes: Sequence[Size], size_step: int
    ) -> None:
        self.cut, self.sizes, self.size_step = cut, sizes, size_step
        self.group = cut.batch_size * cut.parts
        self.steps = math.ceil(stream.shuffle_buffer / self.group)  # of a block
        place = cut.place
        self.row = StreamRow(stream.shards, cut.seed, place.process, place.processes)
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
        own = pictures[part * self.cut.batch_size : (part + 1) * self.cut.batch_size]
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
        entropy = (self.cut.seed, self.cut.place.process, number)
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
