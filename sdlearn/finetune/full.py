"""Full fine-tuning: train the whole U-Net on, on many captioned pictures.

Source: Rombach et al. 2021, arXiv:2112.10752, section 3.3, in the way of Waifu Diffusion (Hakurei
2022, github.com/harubaru/waifu-diffusion): pictures keep their shapes, some captions are left out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.finetune.config import FullConfig
from sdlearn.finetune.denoising import denoising_losses
from sdlearn.finetune.latent_source import NO_CAPTION, Captions, LatentSource
from sdlearn.finetune.parts import PartsMethod

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion
    from sdlearn.training.batches import Batch, ProcessRank
    from sdlearn.training.config import FitConfig
    from sdlearn.training.sources import SourceBatches

MOST_CACHED_CAPTIONS = 1000  # states of SD 1.5 take 240 kB each


class FullFineTuning(PartsMethod):
    """Learn a style, or a whole world of pictures, with all weights; the given model is unchanged.

    Settings are those of `FullConfig`. It takes lists of pictures, streams, and a `LazyFolder`.
    """

    name = "full"
    default_learning_rate = 5e-6  # Waifu Diffusion's
    takes_streams = True

    def __init__(
        self, sd: StableDiffusion, config: FullConfig | None = None, **settings: Any
    ) -> None:
        super().__init__(sd, replace(config or FullConfig(), **settings))
        self.choice = Captions(self.config)
        self.source = LatentSource(
            self.choice.of,
            cache_latents=self.config.cache_latents,
            cache_dir=self.config.cache_dir,
            aspect_ratio_buckets=self.config.aspect_ratio_buckets,
        )

    def caption(self, picture: Picture) -> str:
        """Return the caption to measure a picture's loss under."""
        return self.choice.of(picture)[0]

    def check(self, pictures: Any, config: FitConfig) -> None:
        """Raise ValueError for pictures without the captions asked for, and wrong sizes."""
        super().check(pictures, config)
        self.source.check(self.sd, pictures, config)

    def prepare(self, pictures: Any, config: FitConfig) -> None:
        """Encode pictures and captions where that is done once for all."""
        super().prepare(pictures, config)
        captions = self.source.prepare(self.sd, pictures, config)
        if self.choice.vary or len(captions) > MOST_CACHED_CAPTIONS:
            captions = []  # encoded at each step instead
        self.parts.prepare_prompts([NO_CAPTION, *captions], are_all=bool(captions))

    def make_batches(self, pictures: Any, config: FitConfig, rank: ProcessRank) -> SourceBatches:
        """Make batches of one size each, of a list, a folder or a stream."""
        return self.source.make_batches(pictures, config, rank)

    def loss(
        self, batch: Batch, unet: torch.nn.Module, **text_encoders: torch.nn.Module
    ) -> torch.Tensor:
        """Denoise pictures under their captions, or under none at times.

        Source: Rombach et al. 2021, arXiv:2112.10752, eq. 3.
        """
        latents, captions, time_ids = self.source.load(batch)
        both = zip(captions, batch.generators, strict=True)
        prompts = [self.choice.draw(own, generator) for own, generator in both]
        return denoising_losses(
            unet,
            latents,
            self.parts.condition(prompts, text_encoders).with_sizes(time_ids),
            batch.generators,
            schedule=self.schedule,
            snr_gamma=self.fit_config.snr_gamma,
            noise_offset=self.config.noise_offset,
        ).mean()

    def save(self, path: str | Path) -> Path:
        """Write what was trained, or with `save_whole_model` all; see `TrainedParts.save`."""
        whole = self.config.save_whole_model
        return self.parts.save(path, self.record(), made=self.made, whole_model=whole)
