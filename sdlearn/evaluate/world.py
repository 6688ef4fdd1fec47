"""The real pictures of a model's world, drawn again from what its `recipe.json` says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

from sdlearn.data import captions as faces_captions
from sdlearn.data import render as faces
from sdlearn.data.world.attributes import Attributes, Shot, pictures, readable
from sdlearn.data.world.captions import caption
from sdlearn.data.world.render import render
from sdlearn.pretrain.model_card import FACTS


@dataclass(frozen=True, kw_only=True)
class World:
    """The training pictures and the held-out ones, the same as the recipe rendered."""

    seed: int  # of the recipe
    pictures: int  # that it was trained on
    image_size: int  # pixels
    faces_alone: bool = False  # the first mini's world: people on one colour

    @classmethod
    def of_model(cls, folder: Path) -> World:
        """The world of a model folder. Raises FileNotFoundError, ValueError for other models."""
        path = folder / FACTS
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} has no {FACTS}: only what `sdlearn pretrain` made can be measured so"
            )
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
            numbers = {name: int(settings[name]) for name in ("seed", "pictures", "image_size")}
            return cls(**numbers, faces_alone="vae_crop" not in settings)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} does not say seed, pictures and image_size: fetch the model again"
            ) from error

    def training(self, number: int) -> list[Shot]:
        """The first `number` pictures that the model was trained on."""
        return self._shots(min(number, self.pictures), seed=self.seed)

    def held_out(self, number: int) -> list[Shot]:
        """`number` pictures whose combinations of attributes it never saw."""
        return self._shots(number, seed=self.seed + 1, held_out=True)

    def _shots(self, number: int, *, seed: int, held_out: bool = False) -> list[Shot]:
        if not self.faces_alone:
            return pictures(number, seed=seed, held_out=held_out)
        chosen = faces.characters(number, seed=seed, held_out=held_out)
        return [Shot(index, attributes, index) for index, attributes in chosen]

    def prompt(self, attributes: Attributes, language: str) -> str:
        """Everything that a picture shows, in the plainest words."""
        say = faces_captions.caption if self.faces_alone else caption
        return say(attributes, language)

    def readable(self, attributes: Attributes) -> Attributes:
        """What of a picture's attributes the reader tells."""
        return attributes if self.faces_alone else readable(attributes)

    def draw(
        self, shots: Sequence[Shot], *, workers: int | None = None, desc: str = "rendering"
    ) -> Iterator[Image.Image]:
        """Real pictures, RGB, at the model's size, with a progress bar."""
        if self.faces_alone:
            chosen = [(shot.seed, shot.attributes) for shot in shots]
            drawn = faces.render(chosen, self.image_size, seed=self.seed, workers=workers)
        else:
            drawn = render(shots, self.image_size, workers=workers)
        for pixels in tqdm(drawn, total=len(shots), desc=desc, unit="picture"):
            yield Image.fromarray(pixels)
