"""The transforms of diffusers' example scripts."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch
from PIL import Image


class InterpolationMode(Enum):
    """Pillow's filters by the names that the scripts use."""

    NEAREST = Image.Resampling.NEAREST
    BILINEAR = Image.Resampling.BILINEAR
    BICUBIC = Image.Resampling.BICUBIC
    BOX = Image.Resampling.BOX
    HAMMING = Image.Resampling.HAMMING
    LANCZOS = Image.Resampling.LANCZOS


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image


class Lambda:
    """A function as a transform."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, image: Any) -> Any:
        return self.function(image)


class Resize:
    """Scale a picture until its smaller side is `size` pixels."""

    def __init__(
        self, size: int, interpolation: InterpolationMode = InterpolationMode.BILINEAR
    ) -> None:
        self.size, self.interpolation = size, interpolation

    def __call__(self, image: Image.Image) -> Image.Image:
        smaller = min(image.size)
        if smaller == self.size:
            return image
        width, height = (int(self.size * side / smaller) for side in image.size)
        return image.resize((width, height), self.interpolation.value)


class _Crop:
    """A square of `size` pixels, cut out of a picture."""

    def __init__(self, size: int) -> None:
        self.size = size

    def corner(self, room: int) -> int:
        raise NotImplementedError

    def __call__(self, image: Image.Image) -> Image.Image:
        left, top = (self.corner(side - self.size) for side in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


class CenterCrop(_Crop):
    """The square in the middle."""

    def corner(self, room: int) -> int:
        return round(room / 2)


class RandomCrop(_Crop):
    """A square anywhere."""

    def corner(self, room: int) -> int:
        return int(torch.randint(0, room + 1, ()))


class RandomHorizontalFlip:
    """A picture or its mirror image, which in a share `p` of all cases."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, image: Image.Image) -> Image.Image:
        mirrored = float(torch.rand(())) < self.p
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image


class ToTensor:
    """A picture as float32 (C, H, W) in [0, 1]."""

    def __call__(self, image: Image.Image) -> torch.Tensor:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # (C, H, W)
        return pixels.contiguous().float() / 255


class Normalize:
    """(x - mean) / std of every channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean = torch.tensor(mean).view(-1, 1, 1)
        self.std = torch.tensor(std).view(-1, 1, 1)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels - self.mean) / self.std
