"""The output folder of a demo: what lies where, and how it is known to be of the same demo."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdlearn.data.characters import draw_character
from sdlearn.data.folder import METADATA_NAME, Picture, read_pictures, write_pictures
from sdlearn.evaluate.situations import CAPTION_WORD, class_word_of
from sdlearn.models.records import keep_record
from sdlearn.models.registry import public_name
from sdlearn.models.writing import prepare_folder

if TYPE_CHECKING:
    from sdlearn.course.demo.config import DemoConfig
    from sdlearn.models import StableDiffusion

RECORD, SHEET, TABLE = "demo.json", "sheet.png", "table.json"
FOLDERS = {"training": "training", "prior": "class-pictures", "drawn": "drawn", "runs": "runs"}
LEARNT = ("textual-inversion", "dreambooth", "dreambooth-with-prior")
OWN = (*FOLDERS.values(), *LEARNT, SHEET, TABLE, "index.html", RECORD)  # the record goes last
FREE_FIELDS = {"output", "fresh", "draw_batch_size", "checkpointing_steps"}  # may change on the way
PICTURE_SIZE = 256  # pixels of a drawn character; training scales them to the model's size


def folder_of(config: DemoConfig, what: str) -> Path:
    """A folder inside the output, by what is in it."""
    return config.output / FOLDERS[what]


def prepare(config: DemoConfig) -> str:
    """Make the output folder, or empty it of an earlier demo if asked; return the class word.

    Only what a demo wrote is deleted. Raises OSError where the folder cannot be written to.
    """
    prepare_folder(config.output)
    if config.fresh and (config.output / RECORD).is_file():
        for name in OWN:
            path = config.output / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if config.class_word:
        return config.class_word
    return CAPTION_WORD if config.pictures else class_word_of(config.style)


def training_pictures(config: DemoConfig) -> list[Picture]:
    """The subject's pictures, drawn or read.

    Raises ValueError for a style, an attribute or a folder of pictures that cannot be used.
    """
    if config.pictures is not None:
        return read_pictures(config.pictures)
    return draw_character(
        config.style, config.seed, config.number, PICTURE_SIZE, **config.attributes
    )


def keep_training_pictures(config: DemoConfig, pictures: Sequence[Picture]) -> None:
    """Write the subject's pictures to the output folder, ready for `sdlearn train`."""
    folder = folder_of(config, "training")
    if not (folder / METADATA_NAME).is_file():
        write_pictures(folder, pictures)


def record(
    config: DemoConfig, sd: StableDiffusion, pictures: Sequence[Picture], class_word: str
) -> None:
    """Note what the demo is made from, or raise ValueError unless it is the same as before."""
    keep_record(
        config.output / RECORD,
        _settings(config, sd, pictures, class_word),
        what="the demo's files",
        mend="give --fresh to start over, or another --output",
    )


def _settings(
    config: DemoConfig, sd: StableDiffusion, pictures: Sequence[Picture], class_word: str
) -> Mapping[str, Any]:
    fields = {key: value for key, value in asdict(config).items() if key not in FREE_FIELDS}
    digest = 0
    for picture in pictures:
        digest = zlib.crc32(picture.image.tobytes(), digest)
    plain = {k: v.name if isinstance(v, Path) else v for k, v in fields.items()}
    plain |= {"attributes": dict(config.attributes), "model": public_name(config.model)}
    return {
        **plain,
        "class_word": class_word,
        "pictures_checksum": f"{digest:08x}",
        "model_checksum": _checksum(sd),
    }


def _checksum(sd: StableDiffusion) -> str:
    """Of all weights, so that a newer model of the same name is not taken for the old one."""
    digest = 0
    for model in sd.models:
        for weight in model.parameters():
            digest = zlib.crc32(weight.detach().cpu().contiguous().numpy().tobytes(), digest)
    return f"{digest:08x}"
