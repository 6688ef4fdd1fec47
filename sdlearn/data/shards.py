"""Where a stream's pictures lie: WebDataset archives, or a dataset of the library `datasets`.

Both are rows of shards, each of which is read from its beginning, in a fixed order. webdataset
takes archives apart (braces in names, addresses, pipes) and groups their files into samples. Its
shuffling and splitting are not used, as they cannot go on in the middle: see `streams`.
"""

from __future__ import annotations

import hashlib
import math
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from sdlearn.data.encoded import EncodedPicture, sampled_digest
from sdlearn.data.image_files import READ_SUFFIXES
from sdlearn.data.metadata import known_fields
from sdlearn.models.records import json_object
from sdlearn.models.writing import check_utf8

BROKEN = (tarfile.TarError, ValueError, EOFError, OSError, zlib.error)  # what a bad archive raises
MOST_ARCHIVES = 1_000_000  # that a pattern may name
NUMBERS = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?\}")  # {000..099}, {0..9..3}
CHOICES = re.compile(r"\{([^{}]*,[^{}]*)\}")  # {train,test}


class Shards(Protocol):
    """A row of shards."""

    @property
    def names(self) -> Sequence[str]:
        """What each shard is called."""
        ...

    def read(self, number: int) -> Iterator[EncodedPicture]:
        """Read one shard's pictures, those that cannot be used as well (`problem` says why)."""
        ...

    def count(self, number: int) -> int:
        """Count one shard's pictures, faster than by reading them where that can be done."""
        ...

    @property
    def fingerprint(self) -> str:
        """What other shards do not share."""
        ...


class WebDatasetShards:
    """Archives (.tar) of pictures, with captions in files of the same name.

    `0001.jpg` goes with `0001.txt`, its English caption, and `0001.json`, an object with fields of
    a `Picture` ("caption" is taken for a missing "text"). `urls` is a folder of archives, or names
    and addresses with braces, such as "data/{000..099}.tar"; see webdataset for `pipe:` and others.

    Raises ValueError where webdataset is not there or nothing is named, and FileNotFoundError for
    an archive that is missing.
    """

    def __init__(self, urls: str | Path | Sequence[str]) -> None:
        _need("webdataset")
        self.names = _expand(urls)
        for name in self.names:
            if _is_local(name) and not Path(name).is_file():
                raise FileNotFoundError(f"there is no archive {name}: check its name")

    def read(self, number: int) -> Iterator[EncodedPicture]:
        """Read one archive; ValueError, naming it, where it is broken, after what can be read."""
        from webdataset import gopen
        from webdataset.tariterators import group_by_keys, tar_file_expander

        name = self.names[number]
        try:
            with gopen(name) as stream:
                files = tar_file_expander([{"url": name, "stream": stream}])
                for sample in group_by_keys(files):
                    yield _picture(sample, name)
        except BROKEN as error:
            raise _broken(name, error) from error

    def count(self, number: int) -> int:
        """Count one archive's pictures, by its headers alone where it is a file here."""
        from webdataset.tariterators import group_by_keys

        name = self.names[number]
        if not _is_local(name):
            return sum(1 for _ in self.read(number))
        try:
            return sum(1 for _ in group_by_keys(_headers(name)))
        except BROKEN as error:
            raise _broken(name, error) from error

    @property
    def fingerprint(self) -> str:
        """Names, and what is in those that are here."""
        local = [sampled_digest(Path(name)) if _is_local(name) else "" for name in self.names]
        return _digest(zip(self.names, local, strict=True))


@dataclass(frozen=True, kw_only=True)
class DatasetShards:
    """A dataset of the library `datasets`, such as `load_dataset(..., streaming=True)` returns.

    Its files are the shards. Columns hold the picture, the English and the Japanese caption; ""
    is for none. Raises ValueError where there is no such column, or where it holds no pictures.
    """

    dataset: Any
    image: str = "image"
    text: str = "text"
    text_ja: str = ""

    def __post_init__(self) -> None:
        _need("datasets")
        from datasets import Dataset, Image

        data = self.dataset.to_iterable_dataset() if isinstance(self.dataset, Dataset) else None
        data = self.dataset if data is None else data
        features = data.features or {}
        for column in filter(None, (self.image, self.text, self.text_ja)):
            if column not in features:
                known = ", ".join(features) or "none that are declared: give it features"
                raise ValueError(f'the dataset has no column "{column}": it has {known}')
        if not isinstance(features[self.image], Image):
            raise ValueError(f'the column "{self.image}" holds no pictures: name another')
        object.__setattr__(self, "dataset", data.cast_column(self.image, Image(decode=False)))

    @property
    def names(self) -> Sequence[str]:
        """Numbers, as the library tells no more."""
        return [f"shard {number}" for number in range(self.dataset.num_shards)]

    def read(self, number: int) -> Iterator[EncodedPicture]:
        """Read one shard without decoding its pictures."""
        columns = {"text": self.text, "text_ja": self.text_ja}
        for index, row in enumerate(self._shard(number)):
            image = row[self.image] or {}
            path = Path(image.get("path") or f"{self.names[number]}, picture {index}")
            data = image.get("bytes")
            if data is None and image.get("path") and path.is_file():
                data = path.read_bytes()
            texts = {name: row[column] or "" for name, column in columns.items() if column}
            yield _encoded(data or b"", path, texts)

    def count(self, number: int) -> int:
        """Count one shard's rows, without reading its pictures where the library can do that."""
        column = self.text or self.image
        return sum(1 for _ in self._shard(number).select_columns([column]))

    @property
    def fingerprint(self) -> str:
        """Columns and shards; the library does not tell what is in them."""
        return _digest([(self.image, self.text, self.text_ja), self.names])

    def _shard(self, number: int) -> Any:
        return self.dataset.shard(num_shards=self.dataset.num_shards, index=number)


def _expand(urls: str | Path | Sequence[str]) -> list[str]:
    from webdataset.shardlists import expand_urls

    if isinstance(urls, (str, Path)) and Path(urls).expanduser().is_dir():
        names = sorted(str(path) for path in Path(urls).expanduser().glob("*.tar"))
        if not names:
            raise ValueError(f"{urls} holds no archives (.tar): give the folder that does")
        return names
    given = [str(urls)] if isinstance(urls, (str, Path)) else list(urls)
    for url in given:
        _check_pattern(url)
    names = [name for url in given for name in expand_urls(url)]
    if not names:
        raise ValueError("no archives are named: give at least one, such as data/000.tar")
    return [str(Path(name).expanduser()) if _is_local(name) else name for name in names]


def _is_local(name: str) -> bool:
    return re.match(r"[a-z0-9]{2,}:", name, re.IGNORECASE) is None


def _check_pattern(url: str) -> None:
    """Raise ValueError for braces that stand for more archives than anybody has."""
    counts = [len(choices.split(",")) for choices in CHOICES.findall(url)]
    for first, last, step in NUMBERS.findall(url):
        counts.append(abs(int(last) - int(first)) // max(1, abs(int(step or 1))) + 1)
    if (number := math.prod(counts)) > MOST_ARCHIVES:
        raise ValueError(
            f'the braces of "{url[:100]}" name {number} archives: name {MOST_ARCHIVES} at most'
        )


def _picture(sample: Mapping[str, Any], archive: str) -> EncodedPicture:
    """A webdataset sample, file endings -> bytes, as a picture."""
    path = Path(f"{archive}/{sample['__key__']}")
    ending = next((key for key in sample if f".{key}" in READ_SUFFIXES), None)
    if ending is None:
        return EncodedPicture(data=b"", path=path, problem="there is no picture with this name")
    path = Path(f"{path}.{ending}")
    try:
        entry = json_object(sample.get("json", b"{}"), "its .json")
        beside = sample.get("txt", b"").decode("utf-8-sig")
    except ValueError as error:
        return EncodedPicture(data=b"", path=path, problem=str(error))
    text = entry.get("text") or entry.get("caption") or beside
    return _encoded(sample[ending], path, {**entry, "text": text})


def _encoded(data: bytes, path: Path, entry: Mapping[str, Any]) -> EncodedPicture:
    """A picture with the fields of an entry, or with the reason why it cannot be used."""
    try:
        check_utf8(str(path), "its name")
        return EncodedPicture(data=data, path=path, **known_fields(entry, str(path)))
    except ValueError as error:
        return EncodedPicture(data=b"", path=path, problem=str(error))


def _headers(name: str) -> Iterator[dict[str, Any]]:
    """The files of an archive without their contents, as webdataset groups them."""
    with tarfile.open(name) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
            if member.isreg() and not re.match(r"__[^/]*__($|/)", member.name):
                yield {"fname": member.name, "data": b"", "__url__": name}
    yield {}


def _broken(name: str, error: Exception) -> ValueError:
    reason = str(error.args[0] if error.args else error).partition(" @ ")[0]
    return ValueError(f"{name} is broken from some place on ({reason}): write it again")


def _need(package: str) -> None:
    if find_spec(package) is None:
        raise ValueError(
            f"reading such a stream needs the package {package}: install it with "
            "`pip install 'sdlearn[streams]'`"
        )


def _digest(facts: Any) -> str:
    return hashlib.blake2b(repr(list(facts)).encode(), digest_size=8).hexdigest()
