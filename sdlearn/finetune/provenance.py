"""How an artefact came about, which no setting says: from which pictures, on what, how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdlearn import __version__
from sdlearn.data.encoded import descriptions
from sdlearn.data.folder import Picture
from sdlearn.data.streams import PictureStream
from sdlearn.models.card import hardware

if TYPE_CHECKING:
    from sdlearn.finetune.denoising import DenoisingStage
    from sdlearn.training.config import FitConfig
    from sdlearn.training.method import Method

PACKAGES = ("sdlearn", "torch", "diffusers", "transformers", "peft")
MOST_LOOKED_AT = 20_000  # pictures, for their licences
MOST_SOURCES = 10  # addresses that are kept of one author


def collect_provenance(stage: DenoisingStage, pictures: Any, device: str) -> dict[str, Any]:
    """Return what is known of a run before its first step; the loop counts steps and seconds."""
    return {
        "prompt": next(learnt_under(stage, pictures)),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "hardware": hardware(device),
        "versions": {name: version(name) for name in PACKAGES},
        "pictures": credits_of(pictures),
        "steps": 0,
        "seconds": 0.0,
    }


def record(method: Method, fit_config: FitConfig | None = None) -> dict[str, Any]:
    """Return what a saved artefact says of itself: base model, method and configurations.

    Paths are left out, as artefacts are passed on and where files lie is private: of a model in a
    folder the name stays. The learning rate is that which was trained with.
    """
    facts = method.sd.facts()
    if Path(facts["base_model"]).expanduser().exists():
        facts["base_model"] = Path(facts["base_model"]).name
    settings = {} if fit_config is None else {"fit": without_paths(asdict(fit_config))}
    return {
        "format": 1,
        "sdlearn": __version__,
        "method": method.name,
        **facts,
        "config": without_paths(asdict(method.config)),
        **settings,
    }


def without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out where files lie, as it is private."""
    return {key: value for key, value in settings.items() if not isinstance(value, Path)}


def learnt_under(stage: DenoisingStage, pictures: Any) -> Iterator[str]:
    """Go through what pictures are learnt under; of a stream only the first is known."""
    stream = isinstance(pictures, PictureStream)
    known = iter([pictures.first()]) if stream else descriptions(pictures)
    return (stage.caption(picture) for picture in known)


def add_up(stages: Sequence[dict[str, Any]]) -> dict[str, Any]:
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
