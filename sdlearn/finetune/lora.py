"""LoRA: teach a model pictures by low-rank updates that run beside its frozen weights.

Source: Hu et al. 2021, arXiv:2106.09685, section 4; for Stable Diffusion after Ryu 2022,
github.com/cloneofsimo/lora.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.data.cache import MomentCache
from sdlearn.data.encoded import descriptions
from sdlearn.diffusion import NoiseSchedule
from sdlearn.finetune.config import LoRAConfig
from sdlearn.finetune.parts import TrainedParts
from sdlearn.finetune.templates import fill
from sdlearn.training.config import FitConfig
from sdlearn.training.method import denoising_losses, record, training_size

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion
    from sdlearn.training.batches import Batch


class LoRA:
    """Learn a subject or a style from captioned pictures; the given model is not changed.

    Settings are those of `LoRAConfig`. Raises ValueError for targets that the model has not.
    """

    name = "lora"
    default_learning_rate = 1e-4  # diffusers' for Stable Diffusion

    def __init__(
        self, sd: StableDiffusion, config: LoRAConfig | None = None, **settings: Any
    ) -> None:
        self.config = replace(config or LoRAConfig(), **settings)
        self.parts = TrainedParts(sd, self.config.train_text_encoder, self.config)
        self.sd = self.parts.sd
        self.fit_config = FitConfig()
        self.made: dict[str, Any] = {}

    def trained(self) -> dict[str, torch.nn.Module]:
        """The U-Net, and the text encoders if asked for; only the updates in them train."""
        return self.parts.models

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """One group a model."""
        own_rate = self.config.text_encoder_learning_rate
        return self.parts.parameter_groups(learning_rate, own_rate)

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
        training_size(self.sd, config)
        for picture in descriptions(pictures):
            self.caption(picture)

    def prepare(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Encode the pictures, and the prompts unless the text encoders train."""
        self.fit_config = config
        size = training_size(self.sd, config)
        self.moments = MomentCache(self.sd, pictures, size, config.random_flip)
        self.prompts = [self.caption(picture) for picture in descriptions(pictures)]
        self.parts.prepare_prompts([*self.prompts, ""])
        self.schedule = NoiseSchedule.from_scheduler(self.sd.noise_scheduler).to(self.sd.device)

    def loss(
        self, batch: Batch, unet: torch.nn.Module, **text_encoders: torch.nn.Module
    ) -> torch.Tensor:
        """Denoise the pictures under their prompts, some of them under none."""
        indices = list(batch.indices)
        latents = self.moments.latents(indices, batch.generators)
        prompts = [
            self._prompt(index, generator)
            for index, generator in zip(indices, batch.generators, strict=True)
        ]
        conditioning = self.parts.condition(prompts, text_encoders)
        return denoising_losses(
            unet,
            latents,
            conditioning.with_sizes(self.moments.time_ids[indices]),
            batch.generators,
            schedule=self.schedule,
            snr_gamma=self.fit_config.snr_gamma,
        ).mean()

    def save(self, path: str | Path) -> Path:
        """Write the updates to a folder as diffusers' file and as kohya's, and a record."""
        return self.parts.save(path, record(self, self.fit_config), made=self.made)

    def _prompt(self, index: int, generator: torch.Generator) -> str:
        """A picture's prompt, or none in `caption_dropout` of all cases."""
        share = self.config.caption_dropout
        dropped = share > 0 and float(torch.rand((), generator=generator)) < share
        return "" if dropped else self.prompts[index]
