"""Pictures from prompts and seeds, several at once, each kept as soon as it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdlearn.course.demo.progress import DRAWING_STEP, Progress
from sdlearn.data.image_files import read_image
from sdlearn.data.png import save_generated

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.course.demo.config import DemoConfig
    from sdlearn.models import StableDiffusion


@dataclass(frozen=True, kw_only=True)
class Order:
    """A picture to draw, and the file that keeps it."""

    prompt: str
    seed: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture that a model drew."""

    image: Image.Image  # RGB
    prompt: str
    seed: int
    path: Path


def draw_all(
    load: Callable[[], StableDiffusion],
    orders: Sequence[Order],
    config: DemoConfig,
    *,
    model_name: str,
    progress: Progress,
    phase: str,
) -> list[Drawn]:
    """Draw what is not there yet, write it as PNG, and return all of it in the order asked for.

    Each picture has a generator of its own on the CPU, so it is the same alone as beside others,
    up to rounding. `load` is only called where something is missing. `model_name` goes into the
    files, as `sdlearn generate` writes it.
    """
    missing = [order for order in orders if not order.path.exists()]
    cost = DRAWING_STEP * config.num_inference_steps
    progress.found(cost * (len(orders) - len(missing)))
    if missing:
        _draw_missing(load(), missing, config, model_name, (progress, phase))
    return [Drawn(image=_read(o.path), prompt=o.prompt, seed=o.seed, path=o.path) for o in orders]


def _draw_missing(
    sd: StableDiffusion,
    missing: Sequence[Order],
    config: DemoConfig,
    model_name: str,
    report: tuple[Progress, str],
) -> None:
    progress, phase = report
    for start in range(0, len(missing), config.draw_batch_size):
        batch = missing[start : start + config.draw_batch_size]
        progress.say(f"{phase}: picture", start + 1, len(missing))
        images = sd.draw(
            [order.prompt for order in batch],
            seeds=[order.seed for order in batch],
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
            desc=None,
            callback_on_step_end=_count(progress, DRAWING_STEP * len(batch)),
        )
        for order, image in zip(batch, images, strict=True):
            save_generated(
                image,
                order.path,
                prompt=order.prompt,
                negative_prompt="",
                seed=order.seed,
                model=model_name,
                steps=config.num_inference_steps,
                guidance_scale=config.guidance_scale,
            )


def _count(progress: Progress, passes: int) -> Any:
    """A pipeline's step callback that counts the passes of a batch."""

    def callback(
        pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        progress.done(passes)
        return tensors

    return callback


def _read(path: Path) -> Image.Image:
    try:
        return read_image(path, smallest_side=1)
    except ValueError as error:
        raise ValueError(f"{path} is broken: delete it, and it will be drawn again") from error
