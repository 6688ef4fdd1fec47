"""Pictures not decoded yet, for data that does not fit into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from sdlearn.data.folder import Picture, listed_pictures
from sdlearn.data.image_files import read_image, upright_size

if TYPE_CHECKING:
    from sdlearn.data.buckets import Size


SAMPLED, SAMPLES = 4096, 256  # bytes of a block; blocks of a large file


@dataclass(frozen=True, kw_only=True)
class EncodedPicture:
    """A `Picture` whose pixels are still the bytes of a file: some 100 kB instead of several MB."""

    data: bytes
    path: Path  # what to call it: its file, or its archive and its name in there
    text: str = ""
    text_ja: str = ""
    license: str = ""
    author: str = ""
    source: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""  # why it cannot be used, known without looking at the bytes

    def decode(self) -> Picture:
        """Decode the pixels; raises ValueError, naming the picture, where that cannot be done."""
        self._check()
        hidden = ("data", "problem")
        known = {name: value for name, value in vars(self).items() if name not in hidden}
        return Picture(image=read_image(self.path, data=self.data), **known)

    def size(self) -> Size:
        """Return height and width once upright, from the first bytes alone; raises as `decode`."""
        self._check()
        return upright_size(self.path, self.data)

    def checksum(self) -> str:
        """Return what two files share only if they are the same."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    def _check(self) -> None:
        if self.problem:
            raise ValueError(f"{self.path} cannot be used: {self.problem}")


class LazyFolder(Sequence[Picture]):
    """The pictures of a folder, each read when it is asked for: memory holds their names alone.

    The captions are checked at once, as in `read_pictures`, and the pictures when they are read, or
    all of them by `check`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self._listed = listed_pictures(self.folder)

    def __len__(self) -> int:
        return len(self._listed)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]
        return self.encoded(index).decode()

    def encoded(self, index: int) -> EncodedPicture:
        """Read one picture without decoding it."""
        known, path = self._listed[index]
        return EncodedPicture(data=path.read_bytes(), path=path, **known.fields(path.name))

    def described(self, index: int) -> EncodedPicture:
        """Return what is known of one picture, without its bytes."""
        known, path = self._listed[index]
        return EncodedPicture(data=b"", path=path, **known.fields(path.name))

    def check(self) -> LazyFolder:
        """Look at every picture once; return self. Raises ValueError, as `read_pictures`."""
        own = dict.fromkeys(path for _, path in self._listed)
        for path in tqdm(own, desc="check pictures", leave=False, delay=2):
            read_image(path)
        return self

    def name(self, index: int) -> str:
        """Return the path of one picture."""
        return str(self._listed[index][1])

    def sizes(self) -> list[Size]:
        """Return height and width of every picture; raises ValueError for one that is broken."""
        return [upright_size(path) for _, path in self._listed]

    @property
    def folders(self) -> set[Path]:
        """The folders that the pictures lie in."""
        return {path.parent for _, path in self._listed}

    @property
    def fingerprint(self) -> str:
        """What a folder with other pictures or captions does not share."""
        digest = hashlib.blake2b(digest_size=8)
        for known, path in self._listed:
            digest.update(f"{path.name} {sampled_digest(path)} {known.fields(path.name)}".encode())
        return digest.hexdigest()


class Joined(Sequence[Picture]):
    """Pictures of several lists or folders, one list after the other."""

    def __init__(self, *parts: Sequence[Picture]) -> None:
        self.places = [(part, index) for part in parts for index in range(len(part))]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]
        part, place = self.places[index]
        return part[place]

    def encoded(self, index: int) -> Picture | EncodedPicture:
        """Return one picture, not decoded if it lies in a folder."""
        part, place = self.places[index]
        return part.encoded(place) if isinstance(part, LazyFolder) else part[place]


def descriptions(pictures: Sequence[Picture]) -> Iterator[Any]:
    """Go through pictures for what is known of them: those of a `LazyFolder` are not read."""
    describe = pictures.described if isinstance(pictures, LazyFolder) else pictures.__getitem__
    return map(describe, range(len(pictures)))


def name_of(pictures: Sequence[Picture], index: int) -> str:
    """Return what to call a picture in a message: its file, or its place in the list."""
    if isinstance(pictures, LazyFolder):
        return pictures.name(index)
    return str(pictures[index].path or f"picture {index}")


def sampled_digest(path: Path) -> str:
    """Digest a file's size and contents: all of it up to 1 MB, of a larger one blocks throughout.

    A picture or an archive that was written again is another, also where it kept its size.
    """
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=8)
    count = min(SAMPLES, -(-size // SAMPLED))
    with path.open("rb") as file:
        for number in range(count):
            file.seek(number * (size - SAMPLED) // max(1, count - 1) if size > SAMPLED else 0)
            digest.update(file.read(SAMPLED))
    return digest.hexdigest()
