"""The methods that a plan runs without numbers: the very classes that train."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from sdlearn.data.folder import Picture
from sdlearn.finetune.config import LoRAConfig

if TYPE_CHECKING:
    from sdlearn.models import StableDiffusion
    from sdlearn.plan.config import MethodName, PlanConfig

PROMPT = "a b"  # some; every prompt is as long once it is padded


def placeholders(count: int) -> list[Picture]:
    """Make pictures to plan with, each with a caption of its own."""
    image = Image.new("RGB", (64, 64))
    return [Picture(image=image, text=f"{PROMPT} {number}") for number in range(count)]


def stages(
    method: MethodName, sd: StableDiffusion, config: PlanConfig
) -> Iterator[tuple[Any, int | None]]:
    """Yield each run of the loop, one after the other: what trains, and its own steps if any.

    Imagic has two, the others one.
    """
    if method == "imagic":
        yield from _imagic(sd, config)
    else:
        yield MAKERS[method](sd, config), None


def _textual_inversion(sd: StableDiffusion, config: PlanConfig) -> Any:
    from sdlearn.finetune import TextualInversion

    return TextualInversion(sd, initializer_token=None, num_vectors=config.num_vectors)


def _dreambooth(sd: StableDiffusion, config: PlanConfig) -> Any:
    from sdlearn.finetune import DreamBooth

    return DreamBooth(
        sd,
        own_class_pictures=placeholders(1),  # without numbers none can be drawn
        with_prior_preservation=config.with_prior_preservation,
        train_text_encoder=config.train_text_encoder,
        lora_rank=config.lora_rank,
    )


def _lora(sd: StableDiffusion, config: PlanConfig) -> Any:
    from sdlearn.finetune import LoRA

    rank = config.lora_rank or LoRAConfig().rank
    return LoRA(sd, rank=rank, train_text_encoder=config.train_text_encoder)


def _imagic(sd: StableDiffusion, config: PlanConfig) -> Iterator[tuple[Any, int]]:
    from sdlearn.finetune import Imagic
    from sdlearn.finetune.imagic.stages import EmbeddingStage, UNetStage

    imagic = Imagic(sd, target_prompt=PROMPT, lora_rank=config.lora_rank)
    first = EmbeddingStage(imagic.base, PROMPT, imagic.e_tgt)
    yield first, imagic.steps["embedding"]
    second = UNetStage(imagic.base, PROMPT, first.learnt, config.lora_rank)
    yield second, imagic.steps["unet"]


def _full(sd: StableDiffusion, config: PlanConfig) -> Any:
    from sdlearn.finetune import FullFineTuning

    return FullFineTuning(
        sd,
        train_text_encoder=config.train_text_encoder,
        cache_latents=config.cache_latents is not False,
    )


MAKERS = {
    "full": _full,
    "textual-inversion": _textual_inversion,
    "dreambooth": _dreambooth,
    "lora": _lora,
}
