"""The pictures that mini learns from: rendered once to one file, captioned afresh each step."""

import os
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from sdlearn.data.world.attributes import Attributes, Shot, other_view, pictures
from sdlearn.data.world.captions import caption, mentioned
from sdlearn.data.world.render import render
from sdlearn.pretrain.config import PretrainConfig

HELD_OUT_PICTURES = 1_000  # of combinations never trained on, for every measurement


@dataclass(frozen=True)
class WorldDataset:
    """Rendered characters and their attributes."""

    pixels: np.ndarray  # (N, H, W, 3) uint8
    shots: list[Shot]

    def __len__(self) -> int:
        return len(self.shots)

    @property
    def attributes(self) -> list[Attributes]:
        """What each picture shows."""
        return [shot.attributes for shot in self.shots]

    def pixel_values(self, indices: Tensor | slice) -> Tensor:
        """Pictures as `(B, 3, H, W)` float32 in [-1, 1], channels last in memory."""
        chosen = torch.from_numpy(np.array(self.pixels[_as_index(indices)]))  # (B, H, W, 3)
        return chosen.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)  # (B, 3, H, W)

    def batch(self, size: int, generator: torch.Generator) -> Tensor:
        """`size` random indices."""
        return torch.randint(len(self), (size,), generator=generator)

    def captions(self, indices: Tensor, japanese: float, generator: torch.Generator) -> list[str]:
        """A fresh true caption of each picture."""
        seed = int(torch.randint(2**31, (1,), generator=generator))
        rng = random.Random(seed)
        languages = ["ja" if rng.random() < japanese else "en" for _ in indices]
        return [
            caption(mentioned(self.shots[i].attributes, rng), language, rng)
            for i, language in zip(indices.tolist(), languages, strict=True)
        ]


def _as_index(indices: Tensor | slice) -> np.ndarray | slice:
    return indices if isinstance(indices, slice) else indices.numpy()


def world_dataset(config: PretrainConfig, *, held_out: bool = False) -> WorldDataset:
    """Render the pictures, or open those that an earlier run has rendered."""
    number = HELD_OUT_PICTURES if held_out else config.pictures
    name = "held-out" if held_out else "train"
    return _dataset(name, pictures(number, seed=config.seed + held_out, held_out=held_out), config)


def other_views(config: PretrainConfig) -> WorldDataset:
    """A second picture of the subjects of each training picture, standing elsewhere."""
    shots = [other_view(shot) for shot in pictures(config.pictures, seed=config.seed)]
    return _dataset("views", shots, config)


def _dataset(name: str, shots: list[Shot], config: PretrainConfig) -> WorldDataset:
    path = config.work / f"pictures-{name}-{len(shots)}-{config.image_size}-{config.seed}.npy"
    if not path.exists():
        _render_to(path, shots, config)
    return WorldDataset(np.load(path, mmap_mode="r"), shots)


def _render_to(path: Path, shots: list[Shot], config: PretrainConfig) -> None:
    size = config.image_size
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    shape = (len(shots), size, size, 3)
    pixels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
    drawn = render(shots, size, workers=config.workers)
    for i, picture in enumerate(tqdm(drawn, total=len(shots), desc="drawing", unit=" pictures")):
        pixels[i] = picture
    pixels.flush()
    os.replace(temporary, path)


def to_images(pixel_values: Tensor) -> list[Image.Image]:
    """`(B, 3, H, W)` in [-1, 1] to RGB pictures."""
    pixels = ((pixel_values.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return [Image.fromarray(p) for p in pixels.permute(0, 2, 3, 1).cpu().numpy()]


def sheet(images: list[Image.Image], columns: int, scale: int = 2) -> Image.Image:
    """Pictures in rows on one white sheet, enlarged without smoothing."""
    width, height = (side * scale + 4 for side in images[0].size)
    rows = -(-len(images) // columns)
    page = Image.new("RGB", (columns * width, rows * height), "white")
    for i, image in enumerate(images):
        enlarged = image.resize((width - 4, height - 4), Image.Resampling.NEAREST)
        page.paste(enlarged, (i % columns * width, i // columns * height))
    return page
