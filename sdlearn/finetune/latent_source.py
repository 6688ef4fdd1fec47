"""What full fine-tuning's loss takes: latents and captions, of a list, a folder or a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from accelerate import PartialState

from sdlearn.data.buckets import Size, assign_buckets, bucket_sizes
from sdlearn.data.cache import MomentCache, picture_size
from sdlearn.data.encoded import LazyFolder, descriptions
from sdlearn.data.picture_loader import PictureLoader
from sdlearn.data.streams import PictureStream
from sdlearn.data.tags import clean_tags, join_tags, vary_tags
from sdlearn.finetune.denoising import training_size
from sdlearn.finetune.templates import fill
from sdlearn.training.sources import (
    BatchPlan,
    ListSource,
    LoadedBatches,
    SourceBatches,
    StreamSource,
)

if TYPE_CHECKING:
    from sdlearn.data.encoded import EncodedPicture
    from sdlearn.data.folder import Picture
    from sdlearn.finetune.config import FullConfig
    from sdlearn.models import StableDiffusion
    from sdlearn.training.batches import Batch, ProcessRank
    from sdlearn.training.config import FitConfig

NO_CAPTION = ""  # what guidance compares a prompt with
MOST_CACHED_BYTES = 8 * 2**30  # moments of SD 1.5 take 128 kB a picture, twice that if mirrored


class Captions:
    """The captions of pictures, as a `FullConfig` asks for them."""

    def __init__(self, config: FullConfig) -> None:
        self.config = config
        self.are_tags = config.caption_style == "tags"
        self.vary = self.are_tags and (config.shuffle_tags or config.tag_dropout > 0)

    def of(self, picture: Picture | EncodedPicture) -> list[str]:
        """Return every template's caption; ValueError, naming the picture, for what it lacks."""
        filled = [fill(template, picture) for template in self.config.captions]
        return [join_tags(clean_tags(caption)) for caption in filled] if self.are_tags else filled

    def draw(self, captions: Sequence[str], generator: torch.Generator) -> str:
        """Draw one of a picture's captions, or none: the empty one, at the rate of the dropout.

        Source: Ho and Salimans 2022, arXiv:2207.12598, algorithm 1, for the dropout.
        """
        config = self.config
        if float(torch.rand((), generator=generator)) < config.caption_dropout:
            return NO_CAPTION
        caption = captions[int(torch.randint(len(captions), (), generator=generator))]
        if not self.vary:
            return caption
        tags = vary_tags(
            clean_tags(caption),
            generator,
            keep_tags=config.keep_tags,
            shuffle=config.shuffle_tags,
            dropout=config.tag_dropout,
        )
        return join_tags(tags)


class FullBatch(NamedTuple):
    """What a batch brings."""

    latents: torch.Tensor  # (B, C, h, w), a fresh sample, scaled
    captions: list[Sequence[str]]  # each picture's, to choose from
    time_ids: torch.Tensor  # (B, 6), the sizes that SDXL is told


class LatentSource:
    """Gives each batch its latents and captions: from memory, from disk, or made as they come.

    `captions` gives a picture's own, or raises ValueError. `cache_latents`, `cache_dir` and
    `aspect_ratio_buckets` are those of `FullConfig`.
    """

    def __init__(
        self,
        captions: Callable[[Any], Sequence[str]],
        *,
        cache_latents: bool,
        cache_dir: Path | None,
        aspect_ratio_buckets: bool,
    ) -> None:
        self.captions = captions
        self.cache_latents, self.cache_dir = cache_latents, cache_dir
        self.aspect_ratio_buckets = aspect_ratio_buckets
        self.loader: PictureLoader | None = None

    def check(self, sd: StableDiffusion, pictures: Any, config: FitConfig) -> None:
        """Raise ValueError for captions that pictures lack, and for latents too large for memory.

        Of a stream, or of a folder read as it comes, only the first picture is looked at; later
        ones that cannot be used are skipped with a warning.
        """
        side = training_size(sd, config)
        if isinstance(pictures, PictureStream):
            self.captions(pictures.first())
            return
        if self.cache_latents:
            _check_memory(sd, len(pictures) * (1 + config.random_flip), side)
        read_later = isinstance(pictures, LazyFolder) and not self.cache_latents
        for picture in islice(descriptions(pictures), 1 if read_later else None):
            self.captions(picture)

    def prepare(self, sd: StableDiffusion, pictures: Any, config: FitConfig) -> list[str]:
        """Encode what is kept in memory; return the captions that are known by now."""
        self.size_step = sd.size_step
        is_stream = isinstance(pictures, PictureStream)
        self.sizes = self._buckets(sd, config) if is_stream else self._sizes(sd, pictures, config)
        if is_stream or not self.cache_latents:
            self.loader = PictureLoader(sd, self.captions, config.random_flip, self.cache_dir)
            return []
        self.loader = None
        flip, cache_dir = config.random_flip, self.cache_dir
        with sd.whole("vae"):
            self.moments = MomentCache(sd, pictures, self.sizes, flip, cache_dir=cache_dir)
        sd.let_go("vae")
        self.texts = [self.captions(picture) for picture in descriptions(pictures)]
        return list({text: 0 for texts in self.texts for text in texts})

    def make_batches(self, pictures: Any, config: FitConfig, rank: ProcessRank) -> SourceBatches:
        """Make batches of one size each."""
        plan = BatchPlan(
            batch_size=config.train_batch_size,
            parts=config.gradient_accumulation_steps,
            seed=config.seed,
            rank=rank,
        )
        if isinstance(pictures, PictureStream) and self.loader is not None:
            row = StreamSource(pictures, plan, self.sizes, self.size_step)
            return LoadedBatches(row, plan, self.loader, pictures.workers)
        listed = ListSource(pictures, self.sizes, plan)
        if self.loader is not None:
            return LoadedBatches(listed, plan, self.loader)
        return SourceBatches(listed, plan)

    def load(self, batch: Batch) -> FullBatch:
        """Return what a batch brings."""
        if self.loader is None:
            indices = list(batch.indices)
            latents = self.moments.latents(indices, batch.generators)
            return FullBatch(
                latents, [self.texts[i] for i in indices], self.moments.time_ids[indices]
            )
        latents = self.loader.latents(batch.loaded, batch.generators)
        time_ids = torch.stack([picture.time_ids for picture in batch.loaded])
        captions = [picture.captions for picture in batch.loaded]
        return FullBatch(latents, captions, time_ids.to(latents.device))

    def _buckets(self, sd: StableDiffusion, config: FitConfig) -> list[Size]:
        """The sizes that a stream's pictures go to."""
        side = training_size(sd, config)
        return bucket_sizes(side, sd.size_step) if self.aspect_ratio_buckets else [(side, side)]

    def _sizes(self, sd: StableDiffusion, pictures: Any, config: FitConfig) -> list[Size]:
        """The size of each listed picture, with as many of each as a step takes at least."""
        side = training_size(sd, config)
        if not self.aspect_ratio_buckets:
            return [(side, side)] * len(pictures)
        lazily = isinstance(pictures, LazyFolder)
        sizes = pictures.sizes() if lazily else [picture_size(picture) for picture in pictures]
        step = config.train_batch_size * config.gradient_accumulation_steps
        return assign_buckets(sizes, side, sd.size_step, step * PartialState().num_processes)


def _check_memory(sd: StableDiffusion, count: int, side: int) -> None:
    floats = 2 * sd.vae.config.latent_channels * (side // sd.vae_reduction) ** 2
    if 4 * floats * count > MOST_CACHED_BYTES:
        raise ValueError(
            f"the latents of {count} pictures take {4 * floats * count / 2**30:.0f} GB of memory: "
            "set cache_latents off, and perhaps a cache_dir to keep them on disk"
        )
