"""What is known of each picture of a folder: `metadata.jsonl`, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdlearn.data.kohya import has_text_files, read_text_file, words_of
from sdlearn.models.records import parse_json
from sdlearn.models.writing import check_utf8

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture

METADATA_NAME = "metadata.jsonl"
TEXT_FIELDS = ("text", "text_ja", "license", "author", "source")
MOST_CHARACTERS = 10_000  # of a text; a prompt has 77 tokens


class FolderMetadata:
    """What is known of the pictures, called `names`, of one folder; nothing of it is kept.

    It stands in `metadata.jsonl`, which is checked at once, else in kohya's text files. Raises
    ValueError, naming the line, unless `metadata.jsonl` names each picture once and nothing else.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.path = folder / METADATA_NAME
        self.lines = index_metadata(self.path, names)
        self.has_texts = self.lines is None and has_text_files(folder, names)

    def fields(self, name: str) -> dict[str, Any]:
        """Read the fields of a `Picture` that are known of one; ValueError where they are wrong."""
        if self.lines is None:
            text = read_text_file(self.path.with_name(name)) if self.has_texts else ""
            text = text or words_of(self.path.parent)
            return known_fields({"text": text}, str(self.path.with_name(name)))
        with self.path.open("rb") as file:
            return read_line(file, self.lines[name], self.path, [name])


def index_metadata(path: Path, names: Sequence[str]) -> dict[str, int] | None:
    """Find where each picture's line begins, in bytes; None where there is no file.

    Every line is checked, and none is kept. Raises ValueError as `FolderMetadata`.
    """
    if not path.exists():
        return None
    known = set(names)
    found: dict[str, int] = {}
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = _decode(line, path, first=number == 1)
            if text.strip():
                where = f"{path}, line {number}"
                name, _ = parse_line(text, where, known)
                if name in found:
                    raise ValueError(f"{where}: {name} has a line already: keep one")
                found[name] = offset
            offset += len(line)
    missing = next((name for name in names if name not in found), None)
    if missing is not None:
        raise ValueError(
            f"{path} has no line for {missing}: add one, or remove {path.name} to train"
            " without captions"
        )
    return found


def read_line(file: Any, offset: int, path: Path, names: Collection[str]) -> dict[str, Any]:
    """Read the fields in the line that begins at an offset of a file open for reading bytes."""
    file.seek(offset)
    text = _decode(file.readline(), path, first=offset == 0)
    return parse_line(text, str(path), names)[1]


def parse_line(line: str, where: str, names: Collection[str]) -> tuple[str, dict[str, Any]]:
    """Read one line as the picture's name and its fields; `where` names the line in an error."""
    entry = parse_json(line, where)
    if not isinstance(entry, dict):
        raise ValueError(f'{where}: write one object a line, such as {{"file_name": "0000.png"}}')
    name = entry.get("file_name")
    if not isinstance(name, str):
        raise ValueError(f'{where}: "file_name" is missing: name the picture the line is about')
    if "/" in name or "\\" in name:
        raise ValueError(f'{where}: "{name}" leaves the folder: name a picture beside this file')
    if name not in names:
        raise ValueError(f'{where}: there is no picture "{name}" in the folder: mend the name')
    return name, known_fields(entry, where)


def known_fields(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Take the fields of a `Picture` out of an object and check their types; others are left out.

    Blanks around texts are taken away. Raises ValueError, naming the field after `where`.
    """
    fields = {name: entry[name] for name in (*TEXT_FIELDS, "attributes") if name in entry}
    for name in TEXT_FIELDS:
        if not isinstance(fields.get(name, ""), str):
            raise ValueError(f'{where}: "{name}" must be text in quotes')
        if name in fields:
            fields[name] = _checked(fields[name], f'{where}: "{name}"')
    attributes = fields.get("attributes", {})
    if not isinstance(attributes, dict) or not _all_text(attributes.values()):
        raise ValueError(f'{where}: "attributes" must be an object of texts, {{"hair": "pixie"}}')
    for name, value in attributes.items():
        _checked(name + value, f'{where}: "attributes"')
    return fields


def metadata_line(file_name: str, picture: Picture) -> str:
    """Write what is known of a picture as a line."""
    entry: dict[str, Any] = {"file_name": file_name}
    entry |= {name: getattr(picture, name) for name in TEXT_FIELDS}
    entry["attributes"] = dict(picture.attributes)
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _checked(text: str, what: str) -> str:
    """A text without the blanks around it; ValueError for one that cannot be a prompt."""
    check_utf8(text, what)
    if len(text) > MOST_CHARACTERS:
        raise ValueError(
            f"{what} has {len(text)} characters, and no prompt is read beyond 77 words or so: "
            f"give at most {MOST_CHARACTERS}"
        )
    return text.strip()


def _all_text(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _decode(line: bytes, path: Path, first: bool) -> str:
    try:
        return line.decode("utf-8-sig" if first else "utf-8")  # some editors mark a file's start
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: save it as UTF-8") from error
