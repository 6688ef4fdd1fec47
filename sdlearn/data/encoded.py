"""Pictures not decoded yet, for data that does not fit into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps
from tqdm.auto import tqdm

from sdlearn.data.folder import READ_ERRORS, Picture, picture_paths, read_image, unreadable
from sdlearn.data.metadata import METADATA_NAME, index_metadata, read_line

if TYPE_CHECKING:
    from sdlearn.data.buckets import Size

ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lie on their side


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
        self.names = [path.name for path in picture_paths(self.folder)]
        lines = index_metadata(self.folder / METADATA_NAME, self.names)
        self._lines = None if lines is None else [lines[name] for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]
        return self.encoded(index).decode()

    def encoded(self, index: int) -> EncodedPicture:
        """Read one picture without decoding it."""
        path = self.folder / self.names[index]
        return EncodedPicture(data=path.read_bytes(), path=path, **self._fields(index))

    def described(self, index: int) -> EncodedPicture:
        """Return what is known of one picture, without its bytes."""
        path = self.folder / self.names[index]
        return EncodedPicture(data=b"", path=path, **self._fields(index))

    def check(self) -> LazyFolder:
        """Look at every picture once; return self. Raises ValueError, as `read_pictures`."""
        for index in tqdm(range(len(self)), desc="check pictures", leave=False, delay=2):
            self.encoded(index).decode()
        return self

    def name(self, index: int) -> str:
        """Return the path of one picture."""
        return str(self.folder / self.names[index])

    def sizes(self) -> list[Size]:
        """Return height and width of every picture; raises ValueError for one that is broken."""
        return [upright_size(self.folder / name) for name in self.names]

    @property
    def fingerprint(self) -> str:
        """What a folder with other pictures or captions does not share."""
        digest = hashlib.blake2b(digest_size=8)
        for name in self.names:
            digest.update(f"{name} {(self.folder / name).stat().st_size}\n".encode())
        if self._lines is not None:
            with (self.folder / METADATA_NAME).open("rb") as file:
                for line in file:
                    digest.update(line)
        return digest.hexdigest()

    def _fields(self, index: int) -> dict[str, Any]:
        if self._lines is None:
            return {}
        path = self.folder / METADATA_NAME
        with path.open("rb") as file:
            return read_line(file, self._lines[index], path, [self.names[index]])


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


def upright_size(path: Path, data: bytes | None = None) -> Size:
    """Return height and width of a file, or of its bytes, without decoding it (but for TIFF).

    Raises ValueError, naming the file, for what is no picture.
    """
    with _opened(path, data) as image:
        if image.format == "TIFF":  # versions of Pillow differ in when they turn it
            width, height = ImageOps.exif_transpose(image).size
            return height, width
        width, height = image.size
        # asking a PNG for EXIF that is not in front would decode it
        known = image.format != "PNG" or "exif" in image.info
        lies = known and image.getexif().get(ORIENTATION, 1) >= 5
    return (width, height) if lies else (height, width)


@contextmanager
def _opened(path: Path, data: bytes | None) -> Iterator[Image.Image]:
    try:
        with Image.open(path if data is None else BytesIO(data)) as image:
            yield image
    except READ_ERRORS as error:
        raise unreadable(path, error) from error
