"""LoRA: teach a model pictures by low-rank updates that run beside its frozen weights.

Source: Hu et al. 2021, arXiv:2106.09685, section 4; for Stable Diffusion after Ryu 2022,
github.com/cloneofsimo/lora.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.data.encoded import descriptions
from sdlearn.finetune.config import LoRAConfig
from sdlearn.finetune.parts import PartsMethod
from sdlearn.finetune.templates import fill
from sdlearn.training.config import FitConfig

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion
    from sdlearn.training.batches import Batch


class LoRA(PartsMethod):
    """Learn a subject or a style from captioned pictures; the given model is not changed.

    Settings are those of `LoRAConfig`. Raises ValueError for targets that the model has not.
    """

    name = "lora"
    default_learning_rate = 1e-4  # diffusers' for Stable Diffusion

    def __init__(
        self, sd: StableDiffusion, config: LoRAConfig | None = None, **settings: Any
    ) -> None:
        own = replace(config or LoRAConfig(), **settings)
        super().__init__(sd, own, lora=own)

    def caption(self, picture: Picture) -> str:
        """Return a picture's prompt; raises ValueError where it lacks the words."""
        if "{text}" in self.config.prompt and not picture.text:
            raise ValueError(
                f"{picture.path or 'a picture'} has no caption: write one into metadata.jsonl, "
                'or give a prompt for all, such as "a picture of sks person"'
            )
        return fill(self.config.prompt, picture)

    def check(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Raise ValueError for a picture without a caption, or a size that is wrong."""
        super().check(pictures, config)
        for picture in descriptions(pictures):
            self.caption(picture)

    def prepare(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Encode the pictures, and the prompts unless the text encoders train."""
        super().prepare(pictures, config)
        self.encode(pictures, config)
        self.prompts = [self.caption(picture) for picture in descriptions(pictures)]
        self.parts.prepare_prompts([*self.prompts, ""])

    def loss(
        self, batch: Batch, unet: torch.nn.Module, **text_encoders: torch.nn.Module
    ) -> torch.Tensor:
        """Denoise the pictures under their prompts, some of them under none."""
        latents = self.moments.latents(batch.indices, batch.generators)
        prompts = [
            self._prompt(index, generator)
            for index, generator in zip(batch.indices, batch.generators, strict=True)
        ]
        conditioning = self.parts.condition(prompts, text_encoders)
        return self.denoise(unet, batch.indices, batch.generators, conditioning, latents).mean()

    def _prompt(self, index: int, generator: torch.Generator) -> str:
        """A picture's prompt, or none in `caption_dropout` of all cases."""
        share = self.config.caption_dropout
        dropped = share > 0 and float(torch.rand((), generator=generator)) < share
        return "" if dropped else self.prompts[index]
