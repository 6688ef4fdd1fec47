"""The methods that learn the subject; each leaves an artefact that is complete or absent.

output/
    textual-inversion/          my-character.safetensors
    dreambooth/                 unet/, without prior preservation
    dreambooth-with-prior/      unet/
    runs/NAME/                  checkpoints, while a method is training
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdlearn.course.demo.progress import TRAINING_PICTURE, Progress
from sdlearn.data.folder import Picture
from sdlearn.evaluate.compare import BEFORE, DREAMBOOTH, TEXTUAL_INVERSION, Recipe
from sdlearn.finetune import FitConfig, fit

if TYPE_CHECKING:
    from sdlearn.course.demo.config import DemoConfig
    from sdlearn.finetune import Method
    from sdlearn.models import StableDiffusion


@dataclass(frozen=True, kw_only=True)
class DemoMethod:
    """One row of the sheet: a recipe to learn the subject by, or the model as it was."""

    name: str  # of its folders
    label: str
    about: str  # what it changes, in a few words
    recipe: Recipe
    steps: int = 0  # optimizer steps; 0: nothing is learnt
    batch_size: int = 1  # pictures of the subject a step

    @property
    def pictures_a_step(self) -> int:
        """Pictures of the subject and of its class, in one optimizer step."""
        return self.batch_size + (self.recipe.class_batch_size or 0) * self.recipe.prior

    @property
    def passes(self) -> int:
        """What training costs, in passes of a picture through the U-Net."""
        return TRAINING_PICTURE * self.steps * self.pictures_a_step


def demo_methods(config: DemoConfig) -> list[DemoMethod]:
    """Return the rows of the sheet, from the model as it was to DreamBooth with everything."""
    word = replace(
        TEXTUAL_INVERSION,
        num_vectors=config.num_vectors,
        placeholder_token=config.placeholder_token,
        learning_rate=config.textual_inversion_learning_rate,
        captions=config.captions,
    )
    without = replace(
        DREAMBOOTH,
        identifier=config.identifier,
        train_text_encoder=config.train_text_encoder,
        learning_rate=config.dreambooth_learning_rate,
        captions=config.captions,
    )
    with_prior = replace(
        without,
        prior=True,
        prior_loss_weight=config.prior_loss_weight,
        class_batch_size=config.class_batch_size,
    )
    return [
        DemoMethod(
            name="before",
            label="Before",
            about="the model as it was",
            recipe=replace(BEFORE, identifier=config.identifier),
        ),
        DemoMethod(
            name="textual-inversion",
            label="Textual Inversion",
            about="learns one word, changes no weight",
            recipe=word,
            steps=config.textual_inversion_steps,
            batch_size=config.textual_inversion_batch_size,
        ),
        DemoMethod(
            name="dreambooth",
            label="DreamBooth",
            about="trains the model, without prior preservation",
            recipe=without,
            steps=config.dreambooth_steps,
            batch_size=config.dreambooth_batch_size,
        ),
        DemoMethod(
            name="dreambooth-with-prior",
            label="DreamBooth + prior",
            about="trains the model, with prior preservation",
            recipe=with_prior,
            steps=config.dreambooth_prior_steps,
            batch_size=config.dreambooth_batch_size,
        ),
    ]


def learn(
    demo_method: DemoMethod,
    sd: StableDiffusion,
    pictures: Sequence[Picture],
    class_pictures: Sequence[Picture],
    config: DemoConfig,
    *,
    class_word: str,
    progress: Progress,
) -> Path:
    """Train one method, from its last checkpoint if there is one; return its artefact's folder.

    A finished artefact is left as it is. Checkpoints are deleted when the artefact is in place.
    """
    folder, runs = config.output / demo_method.name, config.output / "runs" / demo_method.name
    if folder.is_dir():
        progress.found(demo_method.passes)
        return folder
    method = demo_method.recipe.make(sd, class_word, class_pictures)
    captioned = demo_method.recipe.training_pictures(pictures, class_word)
    _train(demo_method, method, captioned, config, progress)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    method.save(unfinished)
    os.replace(unfinished, folder)
    shutil.rmtree(runs.parent, ignore_errors=True)
    return folder


def _train(
    demo_method: DemoMethod,
    method: Method,
    pictures: Sequence[Picture],
    config: DemoConfig,
    progress: Progress,
) -> None:
    fit_config = FitConfig(
        max_train_steps=demo_method.steps,
        train_batch_size=demo_method.batch_size,
        learning_rate=demo_method.recipe.learning_rate,
        snr_gamma=config.snr_gamma,
        seed=config.draw_seed,
        output_dir=config.output / "runs" / demo_method.name,
        checkpointing_steps=config.checkpointing_steps,
        checkpoints_total_limit=1,
        resume=True,
    )
    cost = TRAINING_PICTURE * demo_method.pictures_a_step
    before = 0
    progress.say(demo_method.label)
    for step in fit(method, pictures, fit_config):
        if not before:
            progress.found(cost * (step.step - 1))
        before = step.step
        progress.say(f"{demo_method.label}: step", step.step, demo_method.steps)
        progress.done(cost)
    if not before:  # it had finished, and was stopped before its artefact was in place
        progress.found(demo_method.passes)
