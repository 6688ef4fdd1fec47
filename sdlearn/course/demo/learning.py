"""The three ways to learn the subject, each of which leaves an artefact that is complete or absent.

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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdlearn.course.demo.progress import TRAINING_PICTURE, Progress
from sdlearn.data.folder import Picture
from sdlearn.evaluate.situations import class_prompt, worded
from sdlearn.finetune import DreamBooth, FitConfig, TextualInversion, fit

if TYPE_CHECKING:
    from sdlearn.course.demo.config import DemoConfig
    from sdlearn.finetune import Method
    from sdlearn.models import StableDiffusion


@dataclass(frozen=True, kw_only=True)
class Way:
    """One row of the sheet: a way to learn the subject, or none yet."""

    name: str  # of its folders
    label: str
    about: str  # what it changes, in a few words
    subject: str  # what prompts call the subject
    steps: int = 0  # optimizer steps; 0: nothing is learnt
    pictures_a_step: int = 0
    batch_size: int = 1  # of the subject
    learning_rate: float | None = None

    @property
    def passes(self) -> int:
        """What training costs, in passes of a picture through the U-Net."""
        return TRAINING_PICTURE * self.steps * self.pictures_a_step


def ways(config: DemoConfig, class_word: str) -> list[Way]:
    """The rows of the sheet, from the model as it was to DreamBooth with everything."""
    word, few = f"{config.identifier} {class_word}", config.dreambooth_batch_size
    return [
        Way(name="before", label="Before", about="the model as it was", subject=word),
        Way(
            name="textual-inversion",
            label="Textual Inversion",
            about="learns one word, changes no weight",
            subject=config.placeholder_token,
            steps=config.textual_inversion_steps,
            pictures_a_step=config.textual_inversion_batch_size,
            batch_size=config.textual_inversion_batch_size,
            learning_rate=config.textual_inversion_learning_rate,
        ),
        Way(
            name="dreambooth",
            label="DreamBooth",
            about="trains the model, without prior preservation",
            subject=word,
            steps=config.dreambooth_steps,
            pictures_a_step=few,
            batch_size=few,
            learning_rate=config.dreambooth_learning_rate,
        ),
        Way(
            name="dreambooth-with-prior",
            label="DreamBooth + prior",
            about="trains the model, with prior preservation",
            subject=word,
            steps=config.dreambooth_prior_steps,
            pictures_a_step=few + config.class_batch_size,
            batch_size=few,
            learning_rate=config.dreambooth_learning_rate,
        ),
    ]


def learn(
    way: Way,
    sd: StableDiffusion,
    pictures: Sequence[Picture],
    class_pictures: Sequence[Picture],
    config: DemoConfig,
    *,
    class_word: str,
    progress: Progress,
) -> Path:
    """Train one way, from its last checkpoint if there is one, and return its artefact's folder.

    A finished artefact is left as it is. Checkpoints are deleted when the artefact is in place.
    """
    folder, runs = config.output / way.name, config.output / "runs" / way.name
    if folder.is_dir():
        progress.found(way.passes)
        return folder
    texts = worded(pictures, class_word, way.subject, config.captions)
    others = class_pictures if way.name == "dreambooth-with-prior" else []
    method = make_method(way, sd, others, config, class_word)
    _train(way, method, texts, config, progress)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    method.save(unfinished)
    os.replace(unfinished, folder)
    shutil.rmtree(runs.parent, ignore_errors=True)
    return folder


def make_method(
    way: Way,
    sd: StableDiffusion,
    class_pictures: Sequence[Picture],
    config: DemoConfig,
    class_word: str,
) -> Method:
    """The method of a row, on a loaded model; raises ValueError for words that it cannot learn."""
    if way.name == "textual-inversion":
        return TextualInversion(
            sd,
            placeholder_token=config.placeholder_token,
            initializer_token=class_word,
            num_vectors=config.num_vectors,
            templates=("{text}",),
        )
    return DreamBooth(
        sd,
        instance_prompt="{text}",
        class_prompt=class_prompt(class_word),
        with_prior_preservation=bool(class_pictures),
        prior_loss_weight=config.prior_loss_weight,
        class_batch_size=config.class_batch_size,
        train_text_encoder=config.train_text_encoder,
        own_class_pictures=class_pictures,
    )


def _train(
    way: Way, method: Method, pictures: Sequence[Picture], config: DemoConfig, progress: Progress
) -> None:
    fit_config = FitConfig(
        max_train_steps=way.steps,
        train_batch_size=way.batch_size,
        learning_rate=way.learning_rate,
        snr_gamma=config.snr_gamma,
        seed=config.draw_seed,
        output_dir=config.output / "runs" / way.name,
        checkpointing_steps=config.checkpointing_steps,
        checkpoints_total_limit=1,
        resume=True,
    )
    cost = TRAINING_PICTURE * way.pictures_a_step
    before = 0
    progress.say(way.label)
    for step in fit(method, pictures, fit_config):
        if not before:
            progress.found(cost * (step.step - 1))
        before = step.step
        progress.say(f"{way.label}: step", step.step, way.steps)
        progress.done(cost)
    if not before:  # it had finished, and was stopped before its artefact was in place
        progress.found(way.passes)
