"""What stays the same all through training, computed once: VAE moments and caption states.

The VAE gives a distribution for each picture. Its mean and log-variance are kept, not a sample, so
each step still draws a fresh one, as a run that encodes the picture each step does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from sdlearn.data.folder import to_pixel_values
from sdlearn.models.conditioning import Conditioning, size_ids

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion


class MomentCache:
    """VAE moments of pictures, on the model's device, and latents drawn from them.

    With `random_flip` the moments of the mirrored pictures are kept as well. `size` is pixels.
    `time_ids` (N, 6) are the sizes that SDXL is told, for `Conditioning.with_sizes`.
    Raises ValueError for a size that does not fit the model, and where the VAE gives numbers that
    are not finite (SDXL's does in float16).
    """

    def __init__(
        self, sd: StableDiffusion, pictures: Sequence[Picture], size: int, random_flip: bool = False
    ) -> None:
        sd.check_size(size)
        self.random_flip = random_flip
        self.scaling_factor = sd.vae.config.scaling_factor
        bar = tqdm(pictures, desc="encode pictures", leave=False, delay=2)
        self.moments = torch.stack(
            [_encode(sd.vae, to_pixel_values(p.image, size), random_flip) for p in bar]
        )  # (N, 1 or 2, 2C, h, w)
        self.time_ids = torch.stack([_size_ids(p.image.size, size) for p in pictures]).to(sd.device)

    def __len__(self) -> int:
        return len(self.moments)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, h, w) of one sample."""
        channels, height, width = self.moments.shape[2:]
        return channels // 2, height, width

    def latents(
        self, indices: Sequence[int], generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        """Draw scaled latents (B, C, h, w) of the pictures at `indices`, a generator for each."""
        rows = [self._variant(generator) for generator in generators]
        noise = torch.stack(
            [torch.randn(self.latent_shape, generator=generator) for generator in generators]
        ).to(self.moments.device, non_blocking=True)
        return latents_from_moments(self.moments[list(indices), rows], noise, self.scaling_factor)

    def _variant(self, generator: torch.Generator) -> int:
        return int(torch.randint(2, (), generator=generator)) if self.random_flip else 0


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


def _size_ids(image_size: tuple[int, int], size: int) -> torch.Tensor:
    """SDXL's sizes of a picture (width, height), cut around its centre by `to_pixel_values`."""
    width, height = image_size
    scale = size / min(width, height)
    crop_top_left = (round(height * scale - size) // 2, round(width * scale - size) // 2)
    return size_ids((height, width), crop_top_left, (size, size))


def _encode(vae: Any, pixel_values: torch.Tensor, random_flip: bool) -> torch.Tensor:
    """Moments of one picture (3, H, W), and of its mirror image: (1 or 2, 2C, h, w), float32."""
    variants = [pixel_values, pixel_values.flip(-1)] if random_flip else [pixel_values]
    batch = torch.stack(variants).to(vae.device, vae.dtype)
    with torch.no_grad():
        moments = vae.encode(batch).latent_dist.parameters.float()
    if not torch.isfinite(moments).all():
        raise ValueError(
            f"the VAE gives numbers that are not finite in {vae.dtype}: load the model in float32"
        )
    return moments
