"""What a VAE makes of a picture: the mean and log-variance of its latents, kept on disk if wanted.

cache_dir/
    3f0a99c2d41b7e65-float32/       the VAE's weights, and the dtype that it ran in
        7c/
            7c41...e2-512x768.safetensors     the picture's checksum, height and width
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from sdlearn.data.encoded import EncodedPicture
from sdlearn.data.folder import Picture, to_pixel_values
from sdlearn.models.writing import full_disk_named, prepare_folder, replaced_when_complete

if TYPE_CHECKING:
    from sdlearn.data.buckets import Size


class MomentEncoder:
    """Encode pictures with a VAE; with a `cache_dir`, each picture and size only once for good.

    With `random_flip` the mirrored pictures are encoded as well. Raises OSError for a `cache_dir`
    that cannot be written to, and ValueError where the VAE gives numbers that are not finite
    (SDXL's does in float16).
    """

    def __init__(self, vae: Any, random_flip: bool = False, cache_dir: Path | None = None) -> None:
        self.vae, self.random_flip = vae, random_flip
        self.folder: Path | None = None
        if cache_dir is not None:
            name = f"{_fingerprint(vae)}-{str(vae.dtype).removeprefix('torch.')}"
            self.folder = prepare_folder(Path(cache_dir) / name)

    def moments(self, picture: Picture | EncodedPicture, size: Size) -> torch.Tensor:
        """Find or make the moments of one picture: (1 or 2, 2C, h, w), float32, where the VAE is.

        2C channels are mean and log-variance; a second row is the mirror image's.
        """
        checksum = self.checksum(picture)
        found = self.find(checksum, size)
        if found is None:
            found = self.encode(pixel_values_of(picture, size))
            self.keep(found, checksum, size)
        return found.to(self.vae.device)

    def checksum(self, picture: Picture | EncodedPicture) -> str:
        """Return what names a picture in the folder; "" without one."""
        if self.folder is None:
            return ""
        if isinstance(picture, EncodedPicture):
            return picture.checksum()
        pixels = f"{picture.image.size}".encode() + picture.image.tobytes()
        return hashlib.blake2b(pixels, digest_size=16).hexdigest()

    def find(self, checksum: str, size: Size) -> torch.Tensor | None:
        """Read what is kept for a picture, on the CPU; None where nothing is."""
        path = self._path(checksum, size)
        return load_file(path)["moments"].float() if path is not None and path.exists() else None

    def keep(self, moments: torch.Tensor, checksum: str, size: Size) -> None:
        """Write moments in the VAE's own dtype, which loses nothing; nothing without a folder."""
        path = self._path(checksum, size)
        if path is None:
            return
        path.parent.mkdir(exist_ok=True)
        with full_disk_named(path), replaced_when_complete(path) as unfinished:
            save_file({"moments": moments.to(self.vae.dtype).cpu().contiguous()}, unfinished)

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Encode `pixel_values` (3, H, W), and mirrored ones if wanted: (1 or 2, 2C, h, w)."""
        flipped = [pixel_values.flip(-1)] if self.random_flip else []
        return encode_moments(self.vae, torch.stack([pixel_values, *flipped]))

    def _path(self, checksum: str, size: Size) -> Path | None:
        if self.folder is None:
            return None
        flip = "-flip" if self.random_flip else ""
        name = f"{checksum}-{size[0]}x{size[1]}{flip}.safetensors"
        return self.folder / checksum[:2] / name


def pixel_values_of(picture: Picture | EncodedPicture, size: Size) -> torch.Tensor:
    """Turn a picture, decoded or not, into `pixel_values` (3, H, W)."""
    decoded = picture.decode() if isinstance(picture, EncodedPicture) else picture
    return to_pixel_values(decoded.image, size)


def encode_moments(vae: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """Encode `pixel_values` (B, 3, H, W) as moments (B, 2C, h, w), float32, where the VAE is.

    The VAE runs in its own dtype, within mixed precision as well.
    """
    with torch.no_grad(), _without_autocast(vae.device.type):
        batch = pixel_values.to(vae.device, vae.dtype)
        moments = vae.encode(batch).latent_dist.parameters.float()
    if not torch.isfinite(moments).all():
        raise ValueError(
            f"the VAE gives numbers that are not finite in {vae.dtype}: load the model in float32"
        )
    return moments


def _without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Mixed precision off; nothing where it cannot be on, as for tensors without numbers."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def _fingerprint(vae: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, weight in vae.state_dict().items():
        flat = weight.detach().cpu().reshape(-1).contiguous()
        digest.update(name.encode() + flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
