"""What stays the same all through training, computed once: VAE moments and caption states.

The VAE gives a distribution for each picture. Its mean and log-variance are kept, not a sample, so
each step still draws a fresh one, as a run that encodes the picture each step does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from sdlearn.data.encoded import EncodedPicture
from sdlearn.data.moments import MomentEncoder
from sdlearn.models.conditioning import Conditioning, size_ids

if TYPE_CHECKING:
    from pathlib import Path

    from sdlearn.data.buckets import Size
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion


class MomentCache:
    """VAE moments of pictures, on the model's device, and latents drawn from them.

    With `random_flip` the moments of the mirrored pictures are kept as well. `size` is pixels, or
    height and width of each picture. `time_ids` (N, 6) are the sizes that SDXL is told, for
    `Conditioning.with_sizes`. With a `cache_dir` the moments are kept there for later runs.
    Raises ValueError for a size that does not fit the model, and where the VAE gives numbers that
    are not finite (SDXL's does in float16).
    """

    def __init__(
        self,
        sd: StableDiffusion,
        pictures: Sequence[Picture],
        size: int | Sequence[Size],
        random_flip: bool = False,
        *,
        cache_dir: Path | None = None,
    ) -> None:
        sizes = [(size, size)] * len(pictures) if isinstance(size, int) else size
        for side in sorted({side for both in sizes for side in both}):
            sd.check_size(side)
        self.random_flip = random_flip
        self.scaling_factor = sd.vae.config.scaling_factor
        encoder = MomentEncoder(sd.vae, random_flip, cache_dir)
        # what is read lazily need not be decoded where the cache has it
        read = getattr(pictures, "encoded", pictures.__getitem__)
        rows, time_ids = [], []
        for index in tqdm(range(len(sizes)), desc="encode pictures", leave=False, delay=2):
            picture = read(index)
            rows.append(encoder.moments(picture, sizes[index]))
            time_ids.append(cut_size_ids(picture_size(picture), sizes[index]))
        # (N, 1 or 2, 2C, h, w), or a list of N where the sizes differ
        self.moments: Any = torch.stack(rows) if len(set(sizes)) == 1 else rows
        self.time_ids = torch.stack(time_ids).to(sd.device)

    def __len__(self) -> int:
        return len(self.moments)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, h, w) of one sample; of the first, where the sizes differ."""
        channels, height, width = self.moments[0].shape[1:]
        return channels // 2, height, width

    def latents(
        self, indices: Sequence[int], generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        """Draw scaled latents (B, C, h, w) of the pictures at `indices`, a generator for each.

        All of them must be of one size.
        """
        variants = [draw_variant(self.random_flip, generator) for generator in generators]
        moments = torch.stack(
            [self.moments[i][variant] for i, variant in zip(indices, variants, strict=True)]
        )  # (B, 2C, h, w)
        return draw_latents(moments, generators, self.scaling_factor)


def draw_variant(random_flip: bool, generator: torch.Generator) -> int:
    """Draw whether a picture is mirrored (1) or not (0)."""
    return int(torch.randint(2, (), generator=generator)) if random_flip else 0


def draw_latents(
    moments: torch.Tensor, generators: Sequence[torch.Generator], scaling_factor: float
) -> torch.Tensor:
    """Draw scaled latents (B, C, h, w) from moments (B, 2C, h, w), with a generator for each."""
    shape = (moments.shape[1] // 2, *moments.shape[2:])
    noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    noise = noise.to(moments.device, non_blocking=True)
    return latents_from_moments(moments, noise, scaling_factor)


def latents_from_moments(
    moments: torch.Tensor, noise: torch.Tensor, scaling_factor: float
) -> torch.Tensor:
    """Sample the VAE's distribution: `moments` (B, 2C, h, w), `noise` (B, C, h, w) -> latents.

    The only place where latents are scaled.

    Source: Kingma and Welling 2013, arXiv:1312.6114, section 2.4; Rombach et al. 2021,
    arXiv:2112.10752, appendix D.1, for the scale.
    """
    mean, logvar = moments.float().chunk(2, dim=1)
    std = torch.exp(0.5 * logvar.clamp(-30.0, 20.0))  # diffusers' bounds
    return (mean + std * noise) * scaling_factor


class CaptionCache:
    """What frozen text encoders make of captions, each different caption once."""

    def __init__(self, sd: StableDiffusion, captions: Iterable[str]) -> None:
        self.rows = {caption: i for i, caption in enumerate(dict.fromkeys(captions))}
        with torch.no_grad():
            self.conditioning = Conditioning.cat([sd.condition([text]) for text in self.rows])

    def __getitem__(self, captions: Sequence[str]) -> Conditioning:
        """Return the conditioning, B rows, of captions that were cached."""
        return self.conditioning[[self.rows[caption] for caption in captions]]


def cut_size_ids(picture: Size, size: Size) -> torch.Tensor:
    """SDXL's sizes (6,) of a picture of (height, width), cut around its centre to a size."""
    (height, width), (to_height, to_width) = picture, size
    scale = max(to_height / height, to_width / width)
    top, left = round(height * scale - to_height) // 2, round(width * scale - to_width) // 2
    return size_ids(picture, (top, left), size)


def picture_size(picture: Picture | EncodedPicture) -> Size:
    """Height and width of a picture, decoded or not."""
    if isinstance(picture, EncodedPicture):
        return picture.size()
    return picture.image.height, picture.image.width
