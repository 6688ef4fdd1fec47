"""`metadata.jsonl`: what is known of each picture of a folder, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture

METADATA_NAME = "metadata.jsonl"
TEXT_FIELDS = ("text", "text_ja", "license", "author", "source")


def read_metadata(path: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read a file as picture name -> fields of a `Picture`; nothing where there is no file.

    Raises ValueError, naming the line, unless it names each of `names` once and nothing else.
    """
    lines = index_metadata(path, names)
    if lines is None:
        return {}
    known = set(names)
    with path.open("rb") as file:
        return {name: read_line(file, offset, path, known) for name, offset in lines.items()}


def index_metadata(path: Path, names: Sequence[str]) -> dict[str, int] | None:
    """Find where each picture's line begins, in bytes; None where there is no file.

    Every line is checked, and none is kept. Raises ValueError as `read_metadata`.
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
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error.msg} at character {error.pos + 1})") from error
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

    Raises ValueError, naming the field after `where`.
    """
    fields = {name: entry[name] for name in (*TEXT_FIELDS, "attributes") if name in entry}
    for name in TEXT_FIELDS:
        if not isinstance(fields.get(name, ""), str):
            raise ValueError(f'{where}: "{name}" must be text in quotes')
    attributes = fields.get("attributes", {})
    if not isinstance(attributes, dict) or not _all_text(attributes.values()):
        raise ValueError(f'{where}: "attributes" must be an object of texts, {{"hair": "pixie"}}')
    return fields


def metadata_line(file_name: str, picture: Picture) -> str:
    """Write what is known of a picture as a line."""
    entry: dict[str, Any] = {"file_name": file_name}
    entry |= {name: getattr(picture, name) for name in TEXT_FIELDS}
    entry["attributes"] = dict(picture.attributes)
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _all_text(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _decode(line: bytes, path: Path, first: bool) -> str:
    try:
        return line.decode("utf-8-sig" if first else "utf-8")  # some editors mark a file's start
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: save it as UTF-8") from error
