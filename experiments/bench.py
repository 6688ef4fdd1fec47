"""Where an experiment runs: a model, its judges, a size, and the folder that keeps what is done.

FOLDER/
    settings.json         size and model; other settings are refused
    units/KEY.json        what one run of one experiment measured
    pictures/KEY.png      what it drew, to look at
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from experiments.size import Size, Subject, subjects
from sdlearn.data.folder import Picture
from sdlearn.evaluate import Judges
from sdlearn.evaluate.bootstrap import Interval, bootstrap_mean
from sdlearn.evaluate.compare import (
    PICTURES,
    Recipe,
    class_prompts,
    draw,
    draw_situations,
    measure,
    measure_class,
    teach,
)
from sdlearn.evaluate.situations import class_prompt
from sdlearn.finetune import DreamBoothConfig
from sdlearn.finetune.class_pictures import class_pictures
from sdlearn.models import load
from sdlearn.models.records import keep_record
from sdlearn.models.writing import prepare_folder, replaced_when_complete

if TYPE_CHECKING:
    from sdlearn.models import StableDiffusion

THUMBNAIL = 96  # pixels, of the sheets that are kept to be looked at
PRIOR_SEED = 500  # of the first class picture to train on: none that drift is measured on

Unit = dict[str, Any]  # what JSON holds


class Work:
    """A folder of units; raises ValueError where it holds those of other settings."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = prepare_folder(folder)
        keep_record(
            self.folder / "settings.json",
            settings,
            what="the measurements",
            mend="choose another folder, or delete that one to start over",
        )

    def unit(self, key: str, compute: Callable[[], Unit]) -> Unit:
        """What was measured under `key` ("claim/what"): from its file, or now."""
        path = self.folder / "units" / f"{key}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        unit = compute()
        prepare_folder(path.parent)
        with replaced_when_complete(path) as unfinished:
            unfinished.write_text(json.dumps(unit, indent=1) + "\n", encoding="utf-8")
        return json.loads(json.dumps(unit))

    def picture(self, key: str) -> Path:
        """Where a unit's picture goes; its folder is there."""
        path = self.folder / "pictures" / f"{key}.png"
        prepare_folder(path.parent)
        return path


class Bench:
    """All that experiments share. Models and class pictures are made once, and only when needed."""

    def __init__(self, folder: Path, size: Size, model: str = "mini") -> None:
        self.size, self.model = size, model
        self.work = Work(folder, {"model": Path(model).name, "size": asdict(size)})
        self._class_images: dict[str, list[Image.Image]] = {}

    @cached_property
    def sd(self) -> StableDiffusion:
        """The model before anything is learnt."""
        return load(self.model)

    @cached_property
    def judges(self) -> Judges:
        """The judges of the model."""
        return Judges.load(self.model)

    def subjects(self, most: int | None = None) -> Sequence[Subject]:
        """The subjects of this size, or fewer."""
        number = self.size.subjects
        return subjects(number if most is None else min(number, most))

    def learnt(self, subject: Subject, recipe: Recipe) -> Unit:
        """Train a recipe on a subject and measure it, or take what was measured before.

        The unit holds lists of figures, see `measure` and `measure_class`, and `cost`. Claims that
        need the same run share it. Where the recipe names another class than the subject's, what
        became of that one is there too, as `named_class_drift` and so on.
        """
        key = f"learnt/{subject.name}/{recipe.name}"
        return self.work.unit(key, lambda: self._learn(subject, recipe, key))

    def class_images(self, class_word: str) -> list[Image.Image]:
        """The bare class as the model draws it before anything is learnt; picture i has seed i."""
        if class_word not in self._class_images:
            prompts = class_prompts(class_word, self.size.class_pictures)
            self._class_images[class_word] = draw(self.sd, prompts, self.size)
        return self._class_images[class_word]

    def prior(self, class_word: str) -> list[Picture]:
        """Pictures of the class to train on, drawn by the model itself, kept in the folder."""
        config = DreamBoothConfig(
            class_prompt=class_prompt(class_word),
            num_class_images=self.size.prior_pictures,
            class_inference_steps=self.size.sampler_steps,
            class_guidance_scale=self.size.guidance_scale,
            sample_batch_size=8,
        )
        return class_pictures(
            self.sd,
            config,
            folder=self.work.folder / "class-pictures" / class_word,
            size=self.sd.image_size,
            seed=PRIOR_SEED,
        )

    def _learn(self, subject: Subject, recipe: Recipe, key: str) -> Unit:
        prior = self.prior(subject.class_word) if recipe.prior else []
        sd, cost = teach(self.sd, subject, recipe, self.size, prior)
        groups = draw_situations(sd, subject, recipe, self.size)
        before = self.class_images(subject.class_word)
        after = (
            before
            if recipe.method == "before"
            else draw(sd, class_prompts(subject.class_word, len(before)), self.size)
        )
        pictures = [picture.image for picture in subject.pictures(PICTURES)]
        sheet([pictures, [g[0] for g in groups], after], self.work.picture(key))
        unit = {
            "subject": subject.name,
            "within": subject.is_known_style,
            "recipe": recipe.name,
            "cost": asdict(cost),
            **measure(self.judges, groups, subject, self.size, learnt_from=recipe.pictures),
            **measure_class(self.judges, before, after, pictures),
        }
        if recipe.noun and recipe.noun != subject.class_word:
            before = self.class_images(recipe.noun)
            after = draw(sd, class_prompts(recipe.noun, len(before)), self.size)
            named = measure_class(self.judges, before, after, pictures)
            unit |= {f"named_{name}": value for name, value in named.items()}
        del sd
        gc.collect()
        return unit


def sheet(rows: Sequence[Sequence[Image.Image]], path: Path) -> Path:
    """Write pictures in rows to a PNG, to look at."""
    width = max(len(row) for row in rows)
    canvas = Image.new("RGB", (THUMBNAIL * width, THUMBNAIL * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            canvas.paste(image.resize((THUMBNAIL, THUMBNAIL)), (THUMBNAIL * x, THUMBNAIL * y))
    canvas.save(path)
    return path


def over_subjects(units: Iterable[Mapping[str, Any]], name: str) -> Interval:
    """A figure's mean over subjects with its interval over subjects and seeds."""
    return bootstrap_mean([unit[name] for unit in units])


def difference(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], name: str
) -> Interval:
    """How much higher a figure is in `first`, subject by subject and picture by picture.

    Both have the same subjects in the same order, drawn from the same prompts and seeds, so what
    is common to a pair does not widen the interval.
    """
    return paired_mean([unit[name] for unit in first], [unit[name] for unit in second])


def paired_mean(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> Interval:
    """How much higher the values of `first` are, group by group and value by value."""
    pairs = zip(first, second, strict=True)
    return bootstrap_mean([[a - b for a, b in zip(*pair, strict=True)] for pair in pairs])
