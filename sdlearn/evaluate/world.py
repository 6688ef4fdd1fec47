"""The real pictures of a model's world, drawn again from what its `recipe.json` says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

from sdlearn.data.render import Character, characters, render
from sdlearn.pretrain.model_card import FACTS


@dataclass(frozen=True, kw_only=True)
class World:
    """The training pictures and the held-out ones, the same as the recipe rendered."""

    seed: int  # of the recipe
    pictures: int  # that it was trained on
    image_size: int  # pixels

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
            return cls(**{name: int(settings[name]) for name in ("seed", "pictures", "image_size")})
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} does not say seed, pictures and image_size: fetch the model again"
            ) from error

    def training(self, number: int) -> list[Character]:
        """The first `number` characters that the model was trained on."""
        return characters(min(number, self.pictures), seed=self.seed)

    def held_out(self, number: int) -> list[Character]:
        """`number` characters whose combinations of attributes it never saw."""
        return characters(number, seed=self.seed + 1, held_out=True)

    def draw(
        self, chosen: Sequence[Character], *, workers: int | None = None, desc: str = "rendering"
    ) -> Iterator[Image.Image]:
        """Real pictures of characters, RGB, at the model's size, with a progress bar."""
        drawn = render(chosen, self.image_size, seed=self.seed, workers=workers)
        for pixels in tqdm(drawn, total=len(chosen), desc=desc, unit="picture"):
            yield Image.fromarray(pixels)
