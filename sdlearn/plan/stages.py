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
    from sdlearn.finetune import DreamBooth, FullFineTuning, Imagic, LoRA, TextualInversion
    from sdlearn.finetune.imagic.stages import EmbeddingStage, UNetStage

    trains_text, rank = config.train_text_encoder, config.lora_rank
    if method == "imagic":
        imagic = Imagic(sd, target_prompt=PROMPT, lora_rank=rank)
        first = EmbeddingStage(imagic.base, PROMPT, imagic.e_tgt)
        yield first, imagic.steps["embedding"]
        yield UNetStage(imagic.base, PROMPT, first.learnt, rank), imagic.steps["unet"]
    elif method == "textual-inversion":
        yield TextualInversion(sd, initializer_token=None, num_vectors=config.num_vectors), None
    elif method == "lora":
        yield LoRA(sd, rank=rank or LoRAConfig.rank, train_text_encoder=trains_text), None
    elif method == "full":
        caches = config.cache_latents is not False
        yield FullFineTuning(sd, train_text_encoder=trains_text, cache_latents=caches), None
    else:
        yield (
            DreamBooth(
                sd,
                own_class_pictures=placeholders(1),  # without numbers none can be drawn
                with_prior_preservation=config.with_prior_preservation,
                train_text_encoder=trains_text,
                lora_rank=rank,
            ),
            None,
        )
