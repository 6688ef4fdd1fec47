"""Measuring one learnt subject, picture by picture, so that intervals can be made of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.evaluate.diversity import diversity, vendi_score
from sdlearn.evaluate.memorisation import memorisation
from sdlearn.evaluate.metrics import seen_shares, total_variation
from sdlearn.evaluate.situations import class_prompt, prompt, situations

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.evaluate import Judges
    from sdlearn.evaluate.compare.recipe import CompareConfig, Recipe, Subject
    from sdlearn.evaluate.situations import Situation
    from sdlearn.models import StableDiffusion

PICTURES = 5  # of the subject that drawn pictures are compared with, however many were learnt from
BATCH_SIZE = 10  # pictures drawn at a time
Figures = dict[str, Any]  # name -> a list of numbers


def draw(sd: StableDiffusion, prompts: Sequence[str], config: CompareConfig) -> list[Image.Image]:
    """Draw one picture a prompt; picture i has seed i, the same for every model."""
    return sd.draw(
        prompts,
        num_inference_steps=config.sampler_steps,
        guidance_scale=config.guidance_scale,
        batch_size=BATCH_SIZE,
    )


def draw_situations(
    sd: StableDiffusion, subject: Subject, recipe: Recipe, config: CompareConfig
) -> list[list[Image.Image]]:
    """Draw the subject in new situations: for each, a picture a seed."""
    asked = situations(subject.pictures(PICTURES), subject.class_word, config.prompts)
    called = None if recipe.method == "before" else recipe.called(subject.class_word)
    prompts = [prompt(a, subject.class_word, called) for a in asked for _ in range(config.seeds)]
    images = draw(sd, prompts, config)
    return [images[i : i + config.seeds] for i in range(0, len(images), config.seeds)]


def measure(
    judges: Judges,
    groups: Sequence[Sequence[Image.Image]],
    subject: Subject,
    config: CompareConfig,
    *,
    learnt_from: int = PICTURES,
) -> Figures:
    """Measure pictures of a subject that was learnt from its first `learnt_from` pictures.

    `groups` are those of `draw_situations`. See `measure_situations`.
    """
    pictures = subject.pictures(PICTURES)
    asked = situations(pictures, subject.class_word, config.prompts)
    learnt = [picture.image for picture in subject.pictures(learnt_from)]
    references = [picture.image for picture in pictures]
    return measure_situations(judges, groups, asked, subject.class_word, references, learnt=learnt)


def measure_situations(
    judges: Judges,
    groups: Sequence[Sequence[Image.Image]],
    asked: Sequence[Situation],
    class_word: str,
    references: Sequence[Image.Image],
    *,
    learnt: Sequence[Image.Image] = (),
) -> Figures:
    """Measure pictures of situations: likeness, prompt fit, and what was asked and is seen.

    `fidelity`, `prompt_fit` and `asked_and_seen` have a value a picture, in the order of groups;
    `diversity` and `vendi_score` one a situation of several pictures. See
    `sdlearn.evaluate.metrics` for what each means.

    Args:
        groups: for each situation, one picture a seed.
        asked: the situations. The judges are told the class where the model was told its subject.
        references: real pictures of the subject, which also say how near is too near for a copy.
        learnt: the pictures that were learnt from; with them `nearest` and `copied` are measured.
    """
    images = [image for group in groups for image in group]
    lengths = [len(group) for group in groups]
    embeds = judges.image_embeds(images)  # (N, D)
    real = judges.image_embeds(references)  # (M, D)
    texts = judges.clip_text_embeds([prompt(a, class_word) for a in asked])
    fits = judges.clip_image_embeds(images) * texts.repeat_interleave(torch.tensor(lengths), 0)
    wanted = [a for a, length in zip(asked, lengths, strict=True) for _ in range(length)]
    several = [part for part in embeds.split(lengths) if len(part) > 1]
    near = memorisation(embeds, judges.image_embeds(learnt), real) if learnt else None
    return {
        "fidelity": (embeds @ real.T).mean(1).tolist(),
        "prompt_fit": fits.sum(1).tolist(),
        "asked_and_seen": seen_shares(judges, images, wanted),
        **({"nearest": near.nearest.tolist(), "copied": near.copied} if near else {}),
        "diversity": [diversity(part) for part in several],
        "vendi_score": [vendi_score(part) for part in several],
    }


def measure_class(
    judges: Judges,
    before: Sequence[Image.Image],
    after: Sequence[Image.Image],
    references: Sequence[Image.Image],
) -> Figures:
    """Measure how far the bare class has gone towards a subject; picture i of both has seed i.

    `class_like_subject` is PRES of each picture, `class_drift` its rise, `class_shift` the total
    variation of what the reader sees, `class_diversity` DIV. `references` are the subject's.
    """
    real = judges.image_embeds(references)
    rows = [judges.image_embeds(images) for images in (before, after)]
    alike = [(row @ real.T).mean(1) for row in rows]
    several = len(after) > 1
    return {
        "class_like_subject": alike[1].tolist(),
        "class_like_subject_before": alike[0].tolist(),
        "class_drift": (alike[1] - alike[0]).tolist(),
        "class_shift": [total_variation(judges.read(before), judges.read(after))],
        "class_diversity": [diversity(rows[1])] if several else [],
        "class_diversity_before": [diversity(rows[0])] if several else [],
    }


def class_prompts(class_word: str, number: int) -> list[str]:
    """The bare class, so often."""
    return [class_prompt(class_word)] * number
