"""Pictures made ready one by one as they come, instead of all before training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sdlearn.data.cache import cut_size_ids, draw_latents, draw_variant, picture_size
from sdlearn.data.moments import MomentEncoder, encode_moments, pixel_values_of

if TYPE_CHECKING:
    from sdlearn.data.buckets import Size
    from sdlearn.data.encoded import EncodedPicture
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion


@dataclass(frozen=True, kw_only=True)
class LoadedPicture:
    """One picture, cut to its size, with what else a step needs of it."""

    path: Path | None
    captions: Sequence[str]
    size: Size
    checksum: str  # "" where nothing is kept on disk
    time_ids: torch.Tensor  # (6,), the sizes that SDXL is told
    pixel_values: torch.Tensor  # (3, H, W), float32, [-1, 1]; (0,) where there are moments
    moments: torch.Tensor | None  # (1 or 2, 2C, h, w), float32, on the CPU


class PictureLoader:
    """Decode pictures, in threads, and encode them with the VAE, as many at once as a batch has.

    `captions` gives the sentences of a picture, and may raise ValueError for one that has none.
    With a `cache_dir`, moments are read from there and kept there; see `MomentEncoder`.
    """

    def __init__(
        self,
        sd: StableDiffusion,
        captions: Callable[[Picture | EncodedPicture], Sequence[str]],
        random_flip: bool = False,
        cache_dir: Path | None = None,
    ) -> None:
        self.encoder = MomentEncoder(sd.vae, random_flip, cache_dir)
        self.scaling_factor = sd.vae.config.scaling_factor
        self.captions = captions

    def load(self, picture: Picture | EncodedPicture, size: Size) -> LoadedPicture:
        """Do all that needs no GPU; raises ValueError, naming the picture, if it cannot be used."""
        checksum = self.encoder.checksum(picture)
        moments = self.encoder.find(checksum, size)
        pixel_values = torch.empty(0)
        if moments is None:
            pixel_values = pixel_values_of(picture, size)
        return LoadedPicture(
            path=picture.path,
            captions=self.captions(picture),
            size=size,
            checksum=checksum,
            time_ids=cut_size_ids(picture_size(picture), size),
            pixel_values=pixel_values,
            moments=moments,
        )

    def latents(
        self, loaded: Sequence[LoadedPicture], generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        """Draw scaled latents (B, C, h, w), as `MomentCache.latents` does from its own moments."""
        variants = [draw_variant(self.encoder.random_flip, g) for g in generators]
        moments = self._moments(loaded, variants)  # (B, 2C, h, w)
        return draw_latents(moments, generators, self.scaling_factor)

    def _moments(self, loaded: Sequence[LoadedPicture], variants: Sequence[int]) -> torch.Tensor:
        vae = self.encoder.vae
        if self.encoder.folder is None:
            both = zip((picture.pixel_values for picture in loaded), variants, strict=True)
            return encode_moments(vae, torch.stack([p.flip(-1) if v else p for p, v in both]))
        rows = [self._kept(picture)[v] for picture, v in zip(loaded, variants, strict=True)]
        return torch.stack([row.to(vae.device, non_blocking=True) for row in rows])

    def _kept(self, picture: LoadedPicture) -> torch.Tensor:
        """All moments of a picture, which are on disk from now on."""
        if picture.moments is not None:
            return picture.moments
        moments = self.encoder.encode(picture.pixel_values)
        self.encoder.keep(moments, picture.checksum, picture.size)
        return moments
