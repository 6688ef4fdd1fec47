"""Measuring what a method has learnt: draw its subject in new situations, and its bare class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sdlearn.data.png import read_generated
from sdlearn.evaluate.config import EvaluateConfig, SubjectConfig
from sdlearn.evaluate.editing import edit_curve
from sdlearn.evaluate.figures import (
    Figure,
    attribute_figures,
    class_figures,
    diversity_figures,
    likeness_figures,
    prompt_figures,
)
from sdlearn.evaluate.situations import (
    CAPTION_WORD,
    class_prompt,
    prompt,
    situations,
    with_article,
)

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.data.folder import Picture
    from sdlearn.evaluate.judges import Judges
    from sdlearn.evaluate.subject_name import SubjectName
    from sdlearn.models import StableDiffusion

Measured = tuple[list[Figure], list[str]]  # figures, and what to know of them


class Drawer:
    """Draws as the settings say: the same prompts and seeds for every model."""

    def __init__(self, drawing: EvaluateConfig, config: SubjectConfig) -> None:
        self.drawing, self.config = drawing, config

    def draw(self, sd: StableDiffusion, prompts: Sequence[str], desc: str) -> list[Image.Image]:
        """One picture a prompt; picture i has seed i."""
        return sd.draw(
            prompts,
            num_inference_steps=self.drawing.steps,
            guidance_scale=self.drawing.guidance_scale,
            batch_size=self.drawing.batch_size,
            desc=desc,
        )

    def groups(self, sd: StableDiffusion, prompts: Sequence[str]) -> list[list[Image.Image]]:
        """For each prompt one picture a seed."""
        seeds = self.config.seeds
        images = self.draw(sd, [p for p in prompts for _ in range(seeds)], "drawing the subject")
        return [images[start : start + seeds] for start in range(0, len(images), seeds)]

    def of_class(
        self, before: StableDiffusion, after: StableDiffusion, class_word: str
    ) -> tuple[list[Image.Image], list[Image.Image]]:
        """The bare class, by the base model and by the tuned one."""
        prompts = [class_prompt(class_word)] * self.config.class_pictures
        return (
            self.draw(before, prompts, "drawing the class without it"),
            self.draw(after, prompts, "drawing the class"),
        )


def measure_artefact(
    judges: Judges,
    models: tuple[StableDiffusion, StableDiffusion],
    pictures: Sequence[Picture],
    name: SubjectName,
    drawer: Drawer,
) -> Measured:
    """Measure a subject: `models` are the base and the one with the artefact in it."""
    references = [picture.image for picture in pictures]
    asked = situations(pictures, name.class_word)
    groups = drawer.groups(models[1], [prompt(a, name.class_word, name.subject) for a in asked])
    likeness, note = likeness_figures(judges, groups, references)
    of_class = drawer.of_class(*models, name.class_word)
    figures = [
        *likeness,
        *prompt_figures(judges, groups, [prompt(a, name.class_word) for a in asked]),
        *attribute_figures(
            judges, groups, [[a] * len(g) for a, g in zip(asked, groups, strict=True)]
        ),
        *diversity_figures(judges, groups),
        *class_figures(judges, *of_class, references),
    ]
    called = f'"{name.subject}"' if name.subject else f"the class itself, {name.class_word}"
    return figures, [
        f"The subject is {called}: {len(asked)} situations with {drawer.config.seeds} seeds each, "
        f'and {drawer.config.class_pictures} pictures of "{class_prompt(name.class_word)}".',
        note,
        _read_of_subject(judges, pictures),
    ]


def _read_of_subject(judges: Judges, pictures: Sequence[Picture]) -> str:
    """How often the reader is right about the subject itself, whose style it may never have seen.

    Empty where the pictures do not say what they show.
    """
    images, true = [p.image for p in pictures], [p.attributes for p in pictures]
    found = attribute_figures(judges, [images], [true])
    if not found:
        return ""
    return (
        f"Of what the subject's own {len(pictures)} pictures are said to show, the reader sees "
        f"{found[0].interval.value:.0%}: how far it can be believed in this style."
    )


def measure_edit(
    judges: Judges,
    pictures: Mapping[float, Sequence[Image.Image]],
    original: Image.Image,
    target_prompt: str,
    chosen: float | None = None,
) -> list[Figure]:
    """Measure an edit of Imagic's from its pictures at each eta.

    How much the seeds differ is measured at the chosen eta, where there is one.
    """
    figures = []
    for edit in edit_curve(judges, pictures, original, target_prompt):
        number = len(pictures[edit.eta])
        for name, interval, label in (
            ("faithfulness", edit.faithfulness, "like the picture (cosine)"),
            ("edit_strength", edit.edit_strength, "like the prompt (CLIP-T)"),
        ):
            figures.append(
                Figure(
                    name=f"{name}_at_{edit.eta:g}",
                    label=f"eta {edit.eta:g}: {label}",
                    better="higher",
                    pictures=number,
                    interval=interval,
                )
            )
    if chosen is not None and chosen in pictures:
        figures += diversity_figures(judges, [pictures[chosen]])
    return figures


def measure_pictures(
    judges: Judges, drawn: Sequence[Picture], pictures: Sequence[Picture], config: SubjectConfig
) -> Measured:
    """Measure a folder of pictures; `pictures` are the subject's, or none.

    Pictures of the same prompt belong together: their caption's, or that in their PNG.
    """
    texts = [_text(picture) for picture in drawn]
    places = [[i for i, t in enumerate(texts) if t == text] for text in dict.fromkeys(texts)]
    groups = [[drawn[i].image for i in group] for group in places]
    figures, notes = diversity_figures(judges, groups), []
    if not figures:
        notes.append("No two pictures have the same prompt, so how they differ was not measured.")
    if pictures:
        likeness, note = likeness_figures(judges, groups, [p.image for p in pictures])
        figures, notes = likeness + figures, [*notes, note]
    else:
        notes.append("Without --pictures nothing was compared with the subject.")
    if all(texts):
        prompts = [_without_subject(text, config) for text in dict.fromkeys(texts)]
        figures += prompt_figures(judges, groups, prompts)
    else:
        notes.append("Not all pictures say their prompt, so prompts were not compared.")
    figures += attribute_figures(judges, groups, [[drawn[i].attributes for i in g] for g in places])
    return figures, notes


def _text(picture: Picture) -> str:
    """The prompt that a picture was drawn from, as far as it says."""
    if picture.text or picture.path is None:
        return picture.text
    try:
        return read_generated(picture.path).prompt
    except ValueError:
        return ""


def _without_subject(text: str, config: SubjectConfig) -> str:
    """The judges know no learned words: the class in their place."""
    if not config.subject:
        return text
    word = config.class_word or CAPTION_WORD
    subject = re.escape(config.subject)
    text = re.sub(rf"(^|\bof ){subject}", lambda m: m[1] + with_article(word), text)
    return text.replace(config.subject, word)
