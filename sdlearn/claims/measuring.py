"""Measuring one learnt subject, picture by picture, so that intervals can be made of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sdlearn.evaluate.diversity import diversity, vendi_score
from sdlearn.evaluate.drawing import draw_prompts
from sdlearn.evaluate.memorisation import memorisation
from sdlearn.evaluate.metrics import seen_shares, total_variation
from sdlearn.evaluate.situations import class_prompt, prompt, situations

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.claims.recipe import Recipe
    from sdlearn.claims.size import Size
    from sdlearn.claims.subjects import Subject
    from sdlearn.data.folder import Picture
    from sdlearn.evaluate import Judges
    from sdlearn.models import StableDiffusion

PICTURES = 5  # of the subject that drawn pictures are compared with, however many were learnt from
Unit = dict[str, Any]


def draw(sd: StableDiffusion, prompts: Sequence[str], size: Size) -> list[Image.Image]:
    """One picture a prompt; picture i has seed i, the same for every model."""
    return draw_prompts(
        sd,
        prompts,
        steps=size.sampler_steps,
        guidance_scale=size.guidance_scale,
        desc="drawing",
    )


def draw_situations(
    sd: StableDiffusion, subject: Subject, recipe: Recipe, size: Size
) -> list[list[Image.Image]]:
    """The subject in new situations: for each, a picture a seed."""
    asked = situations(subject.pictures(PICTURES), subject.class_word, size.prompts)
    called = subject.class_word if recipe.method == "before" else recipe.called(subject)
    named = None if recipe.method == "before" else called
    prompts = [prompt(a, subject.class_word, named) for a in asked for _ in range(size.seeds)]
    images = draw(sd, prompts, size)
    return [images[i : i + size.seeds] for i in range(0, len(images), size.seeds)]


def measure(
    judges: Judges,
    groups: Sequence[Sequence[Image.Image]],
    subject: Subject,
    size: Size,
    *,
    learnt_from: int = PICTURES,
) -> Unit:
    """Of each drawn picture: likeness, prompt fit, what was asked and is seen, nearness to a copy.

    Lists are in the pictures' order, seeds of a situation together; `diversity` and `vendi_score`
    have a value a situation. See `sdlearn.evaluate.metrics` for what each means. Copies are looked
    for among the pictures that were learnt from; how near is too near is the same of any number.
    """
    pictures = subject.pictures(PICTURES)
    asked = situations(pictures, subject.class_word, size.prompts)
    images = [image for group in groups for image in group]
    embeds = judges.image_embeds(images)
    real = judges.image_embeds([p.image for p in pictures])
    texts = judges.clip_text_embeds([prompt(a, subject.class_word) for a in asked])
    fits = judges.clip_image_embeds(images) * texts.repeat_interleave(size.seeds, 0)
    wanted = [attributes for attributes in asked for _ in range(size.seeds)]
    learnt = judges.image_embeds([p.image for p in subject.pictures(learnt_from)])
    near = memorisation(embeds, learnt, real)
    return {
        "fidelity": (embeds @ real.T).mean(1).tolist(),
        "prompt_fit": fits.sum(1).tolist(),
        "asked_and_seen": seen_shares(judges, images, wanted),
        "nearest": near.nearest.tolist(),
        "copied": near.copied,
        "diversity": [diversity(part) for part in embeds.split(size.seeds)],
        "vendi_score": [vendi_score(part) for part in embeds.split(size.seeds)],
    }


def measure_class(
    judges: Judges,
    before: Sequence[Image.Image],
    after: Sequence[Image.Image],
    references: Sequence[Picture],
) -> Unit:
    """How far the bare class has gone towards the subject; picture i of both has seed i.

    `class_like_subject` is PRES of each picture, `class_drift` its rise, `class_shift` the total
    variation of what the reader sees, `class_diversity` DIV.
    """
    real = judges.image_embeds([p.image for p in references])
    rows = [judges.image_embeds(images) for images in (before, after)]
    alike = [(row @ real.T).mean(1) for row in rows]
    return {
        "class_like_subject": alike[1].tolist(),
        "class_like_subject_before": alike[0].tolist(),
        "class_drift": (alike[1] - alike[0]).tolist(),
        "class_shift": [total_variation(judges.read(before), judges.read(after))],
        "class_diversity": [diversity(rows[1])],
        "class_diversity_before": [diversity(rows[0])],
    }


def class_prompts(class_word: str, number: int) -> list[str]:
    """The bare class, so often."""
    return [class_prompt(class_word)] * number
