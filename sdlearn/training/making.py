"""How an artefact came about, which no setting says: from which pictures, on what, how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

from sdlearn.data.encoded import descriptions
from sdlearn.data.folder import Picture
from sdlearn.data.streams import PictureStream
from sdlearn.models.card import hardware

if TYPE_CHECKING:
    from sdlearn.training.method import Method

PACKAGES = ("sdlearn", "torch", "diffusers", "transformers", "peft")
MOST_LOOKED_AT = 20_000  # pictures, for their licences
MOST_SOURCES = 10  # addresses that are kept of one author


def making(method: Method, pictures: Any, device: str) -> dict[str, Any]:
    """Return what is known before the first step; `steps` and `seconds` are counted on."""
    return {
        "prompt": next(learnt_under(method, pictures)),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "hardware": hardware(device),
        "versions": {name: version(name) for name in PACKAGES},
        "pictures": credits_of(pictures),
        "steps": 0,
        "seconds": 0.0,
    }


def learnt_under(method: Method, pictures: Any) -> Iterator[str]:
    """Go through what pictures are learnt under: their own captions, if the method has none.

    Of a stream only the first is known.
    """
    stream = isinstance(pictures, PictureStream)
    known = iter([pictures.first()]) if stream else descriptions(pictures)
    caption = getattr(method, "caption", None)
    return (picture.text if caption is None else caption(picture) for picture in known)


def added_up(stages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how several stages came about as one; nothing where one has not been trained."""
    if not stages or not all(stages):
        return {}
    sums = {key: sum(made[key] for made in stages) for key in ("steps", "seconds")}
    return {**stages[0], **sums}


def credits_of(pictures: Sequence[Picture] | PictureStream) -> dict[str, Any]:
    """Count pictures by licence and author; of a stream, nothing is known beforehand."""
    if isinstance(pictures, PictureStream):
        return {"number": None, "terms": []}
    terms: dict[tuple[str, str], dict[str, Any]] = {}
    for picture in islice(descriptions(pictures), MOST_LOOKED_AT):
        empty = {"license": picture.license, "author": picture.author}
        found = terms.setdefault(
            (picture.license, picture.author), {**empty, "pictures": 0, "sources": []}
        )
        found["pictures"] += 1
        known = found["sources"]
        if picture.source and picture.source not in known and len(known) < MOST_SOURCES:
            known.append(picture.source)
    by_number = sorted(terms.values(), key=lambda own: -own["pictures"])
    return {"number": len(pictures), "terms": by_number}
