"""Pictures of a class, drawn by the model itself before it is fine-tuned.

They are PNG files in a folder, and are used again by a later run with the same settings. Picture i
is drawn from seed + i, so a run that was killed while drawing goes on where it was. A folder of
somebody's own pictures, which were not drawn so, is taken as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from sdlearn.data.encoded import LazyFolder
from sdlearn.data.folder import READ_SUFFIXES, Picture
from sdlearn.data.image_files import read_image
from sdlearn.data.png import save_generated
from sdlearn.models.loading import as_loaded
from sdlearn.models.records import keep_record
from sdlearn.models.writing import prepare_folder

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.finetune.config import DreamBoothConfig
    from sdlearn.models import StableDiffusion
    from sdlearn.training.config import FitConfig

RECORD_NAME = "class_pictures.json"


def class_pictures(
    sd: StableDiffusion, config: DreamBoothConfig, *, folder: Path | None, size: int, seed: int
) -> list[Picture]:
    """Return `num_class_images` pictures of `class_prompt`, `size` pixels high and wide.

    Those that `folder` holds are read, the others drawn and written there; other files in it are
    left alone. Without a folder they are drawn and kept in memory. No random number is taken from
    torch's global generator. Raises ValueError for a folder drawn with other settings.
    """
    settings = {
        "model": sd.name,
        "prompt": config.class_prompt,
        "size": size,
        "seed": seed,
        "steps": config.class_inference_steps,
        "guidance_scale": config.class_guidance_scale,
    }
    if folder is not None:
        keep_record(
            prepare_folder(folder) / RECORD_NAME,
            settings,
            what="the class pictures",
            mend="delete them or name another folder",
        )
    images: dict[int, Image.Image] = {}
    for number in range(config.num_class_images):
        image = None if folder is None else _read(_path(folder, number), size)
        if image is not None:
            images[number] = image
    missing = [n for n in range(config.num_class_images) if n not in images]
    sd = as_loaded(sd) if missing else sd
    chunks = range(0, len(missing), config.sample_batch_size)
    for start in tqdm(chunks, desc="draw class pictures", disable=not missing):
        numbers = missing[start : start + config.sample_batch_size]
        for number, image in zip(numbers, _draw(sd, numbers, settings), strict=True):
            images[number] = image
            if folder is not None:
                _write(image, _path(folder, number), settings, number)
    return [Picture(image=images[n], text=config.class_prompt) for n in sorted(images)]


def class_folder(config: DreamBoothConfig, fit_config: FitConfig) -> Path | None:
    """Where class pictures are kept; None: in memory."""
    if config.class_data_dir is not None or fit_config.output_dir is None:
        return config.class_data_dir
    return fit_config.output_dir / "class_pictures"


def own_pictures(folder: Path | None) -> Sequence[Picture]:
    """Check a folder of somebody's own class pictures; none where it is empty, or drawn by a run.

    They are read again when they are needed, as a class may have thousands.
    Raises ValueError, naming the file, as `read_pictures`.
    """
    folder = None if folder is None else folder.expanduser()
    if folder is None or not folder.is_dir() or (folder / RECORD_NAME).exists():
        return []
    held = any(path.suffix.lower() in READ_SUFFIXES for path in folder.iterdir())
    return LazyFolder(folder).check() if held else []


def _draw(
    sd: StableDiffusion, numbers: Sequence[int], settings: dict[str, Any]
) -> list[Image.Image]:
    return sd.draw(
        settings["prompt"],
        seeds=[settings["seed"] + n for n in numbers],
        height=settings["size"],
        width=settings["size"],
        num_inference_steps=settings["steps"],
        guidance_scale=settings["guidance_scale"],
        desc=None,
    )


def _path(folder: Path, number: int) -> Path:
    return folder / f"class-{number:05d}.png"


def _read(path: Path, size: int) -> Image.Image | None:
    """A class picture drawn before, or None where it is not there yet."""
    if not path.is_file():
        return None
    try:
        image = read_image(path, smallest_side=1)
    except ValueError as error:
        raise ValueError(f"{path} is broken: delete it, and it will be drawn again") from error
    if image.size != (size, size):
        raise ValueError(f"{path} is not {size} x {size} pixels: delete it or name another folder")
    return image


def _write(image: Image.Image, path: Path, settings: dict[str, Any], number: int) -> None:
    save_generated(
        image,
        path,
        prompt=settings["prompt"],
        negative_prompt="",
        seed=settings["seed"] + number,
        model=settings["model"],
        steps=settings["steps"],
        guidance_scale=settings["guidance_scale"],
    )
