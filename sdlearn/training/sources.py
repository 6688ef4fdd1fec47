"""Rows of pictures of several shapes, and of streams, cut into batches.

All pictures of an optimizer step are of one size: those of its batches in turn (accumulation) and,
where the pictures are listed, of all processes. A list, or a folder read lazily, is one row that
the processes share. Of a stream each process reads a row of its own, in blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sdlearn.data.buckets import BucketRow, Size
from sdlearn.data.encoded import name_of
from sdlearn.data.streams import Skipped
from sdlearn.training.batches import Batch, Place, sample_generator

if TYPE_CHECKING:
    from sdlearn.data.encoded import EncodedPicture
    from sdlearn.data.folder import Picture
    from sdlearn.data.loading import LoadedPicture, PictureLoader

MOST_BROKEN = 100  # batches in a row of which no picture can be used


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How a process's row is cut."""

    batch_size: int  # pictures a batch
    parts: int  # batches a step
    seed: int
    place: Place

    def step_and_part(self, number: int) -> tuple[int, int]:
        """Return the step of a batch, and which of the step's batches here it is."""
        return divmod(number // self.place.processes, self.parts)


class Items(NamedTuple):
    """What a batch is made of."""

    indices: Sequence[int]  # places in the list or row
    items: Sequence[Any]  # what `read` takes
    size: Size


class Row(Protocol):
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


class ListRow:
    """The row of a list of pictures, or of a `LazyFolder`, each at its own of `sizes`."""

    def __init__(self, pictures: Any, sizes: Sequence[Size], cut: Cut) -> None:
        self.pictures, self.sizes, self.cut = pictures, sizes, cut
        group = cut.batch_size * cut.parts * cut.place.processes
        self.row = BucketRow(sizes, group, cut.seed)
        self.skipped = Skipped()

    def items(self, step: int, part: int) -> Items:
        """Return indices of pictures, as what to read as well."""
        place = self.cut.place
        first = (part * place.processes + place.process) * self.cut.batch_size
        indices = self.row.indices(step)[first : first + self.cut.batch_size]
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


class RowBatches:
    """The batches of a row of pictures that are in memory, as moments."""

    def __init__(self, row: Row, cut: Cut) -> None:
        self.row, self.cut = row, cut
        self._names: deque[dict[int, str]] = deque(maxlen=4 * cut.parts)

    def batch(self, number: int) -> Batch:
        """Return the batch with a number."""
        indices = self.row.items(*self.cut.step_and_part(number)).indices
        loaded = self._load(number)
        paths = [str(picture.path) for picture in loaded]
        self._names.append(dict(zip(indices, paths, strict=False)))
        samples = range(number * self.cut.batch_size, (number + 1) * self.cut.batch_size)
        return Batch(
            indices=indices,
            generators=[sample_generator(self.cut.seed, 0, k) for k in samples],
            number=number,
            seed=self.cut.seed,
            loaded=loaded,
        )

    def epoch(self, samples: int) -> float:
        """Return how often each picture was seen after so many samples of all processes."""
        return self.row.epoch(samples)

    def name(self, index: int) -> str:
        """Return what to call a picture of a recent batch."""
        known = next((names[index] for names in self._names if index in names), None)
        return known or self.row.name(index)

    def _load(self, number: int) -> Sequence[LoadedPicture]:
        return []


class LoadedBatches(RowBatches):
    """The batches of a row whose pictures are read as they come: in threads, one batch ahead.

    A picture that turns out to be broken is replaced by another of its batch, and a batch of none
    but broken ones by the next, so that what comes when still follows from the step.
    """

    def __init__(self, row: Row, cut: Cut, loader: PictureLoader, workers: int = 4) -> None:
        super().__init__(row, cut)
        self.loader = loader
        self._threads = ThreadPoolExecutor(workers)
        self._ahead: dict[int, list[Future[LoadedPicture]]] = {}

    def _load(self, number: int) -> Sequence[LoadedPicture]:
        for _ in range(MOST_BROKEN):
            futures = self._start(number)
            following = number + self.cut.place.processes
            self._ahead = {number: futures}
            if self.row.is_ready(self.cut.step_and_part(following)[0]):
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
        _, items, size = self.row.items(*self.cut.step_and_part(number))
        return [self._threads.submit(self._load_one, item, size) for item in items]

    def _load_one(self, item: Any, size: Size) -> LoadedPicture:
        return self.loader.load(self.row.read(item), size)

    def _result(self, future: Future[LoadedPicture]) -> LoadedPicture | None:
        try:
            return future.result()
        except ValueError as error:
            self.row.skipped.note(error)
            return None
