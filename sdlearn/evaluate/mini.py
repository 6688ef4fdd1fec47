"""The measurements of mini: its parts, what it draws of what is asked, and how fast.

All pictures are of attribute combinations that were never trained on. A prompt names every
attribute of its picture in the plainest words; "glasses: none" is asked for as "no glasses".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from sdlearn.data.folder import to_pixel_values
from sdlearn.data.world.attributes import Attributes
from sdlearn.data.world.captions import LANGUAGES
from sdlearn.evaluate.config import EvaluateConfig
from sdlearn.evaluate.judges import Judges
from sdlearn.evaluate.metrics import attribute_shares, psnr, retrieval_accuracy
from sdlearn.evaluate.mini_table import as_table
from sdlearn.evaluate.near_copies import embed_all, near_copies, nearest_others
from sdlearn.evaluate.report import measurement_facts, write_report
from sdlearn.evaluate.speed import time_picture
from sdlearn.evaluate.world import World
from sdlearn.models import StableDiffusion, load
from sdlearn.models.registry import SOURCES, shipped_folder
from sdlearn.pretrain.model_card import MEASUREMENTS, refresh_card
from sdlearn.training.accelerator import hardware

if TYPE_CHECKING:
    from PIL import Image

TRAINING_SEARCHED = 5_000  # training pictures that near-copies are looked for in
BUSY = 1.0  # load average from which other work slows the timed picture down
VAE_BATCH = 16  # pictures that the VAE rebuilds at a time
AMONG = 100  # captions that a picture's own is to be found in


def evaluate_mini(config: EvaluateConfig, model: str | Path = "mini") -> dict[str, Any]:
    """Measure a model that the recipe made, by name or folder. Minutes to half an hour on a CPU.

    Returns the figures with their table, command, hardware and versions, as
    `write_measurements` writes them. Raises ValueError or FileNotFoundError, before anything is
    drawn, for settings that cannot work and models without judges or `recipe.json`.
    """
    config.check()
    folder = model_folder(model)
    world, judges, sd = World.of_model(folder), Judges.load(folder), load(folder)
    figures = _figures(config, world, judges, sd)
    settings = asdict(config)
    return {
        **measurement_facts(config.command(), str(sd.device)),
        "settings": settings,
        "figures": figures,
        "table": as_table(figures, settings),
    }


def model_folder(model: str | Path) -> Path:
    """The folder of a shipped model's name, or the folder given. Raises FileNotFoundError."""
    if str(model) in SOURCES and SOURCES[str(model)].repo is None:
        return shipped_folder(str(model))
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no model folder "{model}": give "mini" or a folder')
    return folder


def is_shipped(folder: Path) -> bool:
    """Whether a model's folder is the one that the package ships, whose card others read."""
    try:
        return folder.resolve() == shipped_folder("mini").resolve()
    except FileNotFoundError:
        return False


def write_measurements(measured: dict[str, Any], folder: Path) -> None:
    """Write `measurements.json` beside the card, and the card anew. Raises OSError."""
    write_report(measured, folder / MEASUREMENTS)
    refresh_card(folder)


def _figures(
    config: EvaluateConfig, world: World, judges: Judges, sd: StableDiffusion
) -> dict[str, Any]:
    held_out = world.held_out(config.real_pictures)
    captions = {
        language: [world.prompt(shot.attributes, language) for shot in held_out]
        for language in LANGUAGES
    }
    attributes = [world.readable(shot.attributes) for shot in held_out]
    speed = time_picture(  # first, before this process keeps others busy
        sd,
        captions["en"][0],
        steps=config.steps,
        guidance_scale=config.guidance_scale,
        threads=config.threads,
    )
    real = list(world.draw(held_out, workers=config.workers, desc="held-out pictures"))
    among = min(AMONG, len(real))
    retrieval = {
        language: retrieval_accuracy(judges, real, words, among)
        for language, words in captions.items()
    }
    drawn = {
        language: _draw(config, sd, words[: config.number], language)
        for language, words in captions.items()
    }
    return {
        "psnr": reconstruction_psnr(sd, real),
        "retrieval": retrieval,
        "retrieval_among": among,
        "real_pictures": len(real),
        "attributes": _attribute_figures(judges, drawn, real, attributes),
        "near_copies": _near_copy_figures(config, world, judges, drawn["en"], real),
        "speed": speed,
        "processor": _processor(config, sd, speed["load"]),
    }


def _draw(
    config: EvaluateConfig, sd: StableDiffusion, prompts: Sequence[str], language: str
) -> list[Image.Image]:
    return sd.draw(
        prompts,
        num_inference_steps=config.steps,
        guidance_scale=config.guidance_scale,
        batch_size=config.batch_size,
        desc=f"drawing prompts ({language})",
    )


def _processor(config: EvaluateConfig, sd: StableDiffusion, load: float) -> str:
    """What a picture was timed on, and whether other work was in the way."""
    if sd.device.type != "cpu":
        return hardware(str(sd.device))
    busy = f", while the machine's load was {load:.1f}" if load >= BUSY else ""
    return f"{config.threads} thread{'s' * (config.threads > 1)} on {hardware('cpu')}{busy}"


def _attribute_figures(
    judges: Judges,
    drawn: dict[str, list[Image.Image]],
    real: Sequence[Image.Image],
    attributes: Sequence[Attributes],
) -> dict[str, dict[str, float]]:
    """For each attribute: how many prompts ask it, and the shares that the reader sees."""
    asked = attributes[: len(drawn["en"])]
    shares = {
        language: attribute_shares(judges.read(images), asked, judges.values)
        for language, images in drawn.items()
    }
    shares["real"] = attribute_shares(judges.read(real), attributes, judges.values)
    figures: dict[str, dict[str, float]] = {}
    for name in shares["en"]:
        values = Counter(a[name] for a in asked if name in a)
        figures[name] = {"prompts": values.total()}
        figures[name] |= {column: share[name] for column, share in shares.items()}
        figures[name]["guess"] = values.most_common(1)[0][1] / values.total()
    return figures


def _near_copy_figures(
    config: EvaluateConfig,
    world: World,
    judges: Judges,
    drawn: Sequence[Image.Image],
    real: Sequence[Image.Image],
) -> dict[str, float]:
    training = world.training(world.pictures if config.all else TRAINING_SEARCHED)
    pictures = world.draw(training, workers=config.workers, desc="training pictures")
    training_embeds = embed_all(judges, pictures)
    training_attributes = [shot.attributes for shot in training]
    held_out = [shot.attributes for shot in world.held_out(len(real))]
    searched = drawn[: config.copies_searched]
    share, threshold = near_copies(
        *(
            nearest_others(
                embed_all(judges, images),
                held_out[: len(images)],
                training_embeds,
                training_attributes,
            )
            for images in (searched, real)
        )
    )
    return {
        "share": share,
        "threshold": threshold,
        "drawn": len(searched),
        "training": len(training),
    }


@torch.no_grad()
def reconstruction_psnr(sd: StableDiffusion, images: Sequence[Image.Image]) -> float:
    """Return the mean PSNR, in dB, of pictures that the VAE encodes (its mode) and decodes.

    Higher is better.
    """
    ratios = []
    for start in tqdm(range(0, len(images), VAE_BATCH), desc="rebuilding", unit="batch"):
        part = images[start : start + VAE_BATCH]
        pixel_values = torch.stack([to_pixel_values(image, sd.image_size) for image in part])
        pixel_values = pixel_values.to(sd.device, sd.vae.dtype)  # (B, 3, H, W)
        latents = sd.vae.encode(pixel_values).latent_dist.mode()
        ratios.append(psnr(sd.vae.decode(latents).sample.float(), pixel_values.float()).cpu())
    return torch.cat(ratios).mean().item()
