"""The judges: three small networks that look at pictures and never draw any.

They lie beside a model in `judges/`, trained by the same recipe but apart from the generator: a
CLIP (`clip`), a self-supervised image encoder (`image-encoder`) and an attribute reader (`reader`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer, ResNetForImageClassification, ResNetModel

from sdlearn.data.folder import to_pixel_values
from sdlearn.models.quiet import without_loading_bar
from sdlearn.models.registry import SOURCES, shipped_folder

if TYPE_CHECKING:
    from PIL import Image

PARTS = ("clip", "image-encoder", "reader")
BATCH_SIZE = 32  # pictures or prompts at a time


@dataclass(frozen=True, kw_only=True)
class Judges:
    """What measures drawn pictures. Pictures of any size are brought to the judges' own.

    Every method takes RGB pictures (or prompts) and answers in their order, on the CPU, float32.
    """

    clip: CLIPModel
    tokenizer: CLIPTokenizer
    image_encoder: ResNetModel
    reader: ResNetForImageClassification

    @classmethod
    def load(cls, folder_or_name: str | Path = "mini", *, device: str = "cpu") -> Judges:
        """Open the judges of a model: its name, its folder, or the folder `judges` itself.

        They compute in float32, also where they are stored as float16. Raises FileNotFoundError
        where the model has no judges or one is missing.
        """
        folder = _judges_folder(str(folder_or_name))
        kinds: dict[str, Any] = {
            "clip": CLIPModel,
            "image-encoder": ResNetModel,
            "reader": ResNetForImageClassification,
        }
        with without_loading_bar():
            models: dict[str, Any] = {
                name.replace("-", "_"): kind.from_pretrained(folder / name, dtype=torch.float32)
                for name, kind in kinds.items()
            }
        for model in models.values():
            model.requires_grad_(False).eval().to(device)
        return cls(tokenizer=CLIPTokenizer.from_pretrained(folder / "clip"), **models)

    @property
    def image_size(self) -> int:
        """Height and width in pixels of the pictures that the judges were trained on."""
        vision: Any = self.clip.config.vision_config
        return vision.image_size

    @property
    def values(self) -> dict[str, tuple[str, ...]]:
        """Each attribute that the reader knows, and the values it tells apart, in logit order."""
        labels: Any = self.reader.config.id2label
        found: dict[str, list[str]] = {}
        for index in range(len(labels)):
            name, _, value = labels[index].partition("=")
            found.setdefault(name, []).append(value)
        return {name: tuple(values) for name, values in found.items()}

    def read(self, images: Sequence[Image.Image]) -> list[dict[str, str]]:
        """The most likely value of every attribute, for each picture."""
        return [
            {name: max(values, key=values.__getitem__) for name, values in picture.items()}
            for picture in self.read_probabilities(images)
        ]

    def read_probabilities(
        self, images: Sequence[Image.Image]
    ) -> list[dict[str, dict[str, float]]]:
        """The probability of every value of every attribute; each attribute's sum to 1."""
        logits = self._see(images, lambda pixel_values: self.reader(pixel_values).logits)
        answers: list[dict[str, dict[str, float]]] = [{} for _ in images]
        parts = logits.split([len(values) for values in self.values.values()], dim=1)
        for (name, values), part in zip(self.values.items(), parts, strict=True):
            for answer, row in zip(answers, part.softmax(1).tolist(), strict=True):
                answer[name] = dict(zip(values, row, strict=True))
        return answers

    def image_embeds(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Self-supervised features (N, D), unit length: the stand-in for DINO's."""
        return self._see(
            images, lambda x: self.image_encoder(x).pooler_output.flatten(1), unit=True
        )

    def clip_image_embeds(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """CLIP's picture features (N, D), unit length."""
        return self._see(images, lambda x: self.clip.get_image_features(x).pooler_output, unit=True)

    def clip_text_embeds(self, prompts: Sequence[str]) -> torch.Tensor:
        """CLIP's text features (N, D), unit length; in the same space as the pictures'."""
        text: Any = self.clip.config.text_config
        rows = []
        for part in _batches(prompts):
            tokens = self.tokenizer(
                list(part),
                padding=True,
                truncation=True,
                max_length=text.max_position_embeddings,
                return_tensors="pt",
            ).to(self.clip.device)
            with torch.no_grad():
                rows.append(self.clip.get_text_features(**tokens).pooler_output.cpu())
        if not rows:
            raise ValueError("there are no prompts to judge: give at least one")
        return F.normalize(torch.cat(rows), dim=1)  # (N, D)

    @torch.no_grad()
    def _see(
        self,
        images: Sequence[Image.Image],
        model: Callable[[torch.Tensor], torch.Tensor],
        *,
        unit: bool = False,
    ) -> torch.Tensor:
        """A model's answer (N, D) for pictures, batch by batch."""
        if not len(images):
            raise ValueError("there are no pictures to judge: give at least one")
        rows = []
        for part in _batches(images):
            pixel_values = torch.stack([to_pixel_values(i, self.image_size) for i in part])
            rows.append(model(pixel_values.to(self.clip.device)).cpu())  # (B, D)
        answer = torch.cat(rows)
        return F.normalize(answer, dim=1) if unit else answer


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), BATCH_SIZE):
        yield items[start : start + BATCH_SIZE]


def _judges_folder(name: str) -> Path:
    """The folder with all three judges of a model."""
    source = SOURCES.get(name)
    if source is not None and source.repo is not None:
        raise FileNotFoundError(f'"{name}" has no judges: take those of "mini"')
    folder = shipped_folder(name) if source is not None else Path(name).expanduser()
    if (folder / "judges").is_dir():
        folder = folder / "judges"
    missing = [part for part in PARTS if not (folder / part / "config.json").is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no judge {', '.join(missing)}: give the folder of a model that "
            "`sdlearn pretrain` made with its stage judges"
        )
    return folder
