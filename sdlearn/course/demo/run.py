"""The demo from end to end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdlearn.course.demo.drawing import Order, draw_all
from sdlearn.course.demo.folder import (
    SHEET,
    TABLE,
    folder_of,
    keep_training_pictures,
    prepare,
    record,
    training_pictures,
)
from sdlearn.course.demo.methods import DemoMethod, demo_methods, learn
from sdlearn.course.demo.page import PAGE, write_page
from sdlearn.course.demo.progress import DRAWING_STEP, Progress
from sdlearn.course.demo.scores import COLUMNS, Row, Scores, format_table, judge
from sdlearn.course.demo.sheet import draw_sheet, save_sheet
from sdlearn.data.folder import Picture
from sdlearn.evaluate.situations import Situation, class_prompt, prompt, situations
from sdlearn.models import load
from sdlearn.models.registry import public_name
from sdlearn.models.writing import replaced_when_complete

if TYPE_CHECKING:
    from sdlearn.course.demo.config import DemoConfig
    from sdlearn.models import StableDiffusion

CLASS_SEEDS_FROM = 100  # after draw_seed; other seeds than those of the situations
PRIOR_SEEDS_FROM = 10_000  # pictures to train on must not be the ones that drift is measured on


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What a demo made."""

    output: Path  # the folder with all of it
    sheet: Path  # PNG
    page: Path  # HTML
    pictures: Sequence[Picture]  # of the subject, that were learnt from
    asked: Sequence[Situation]  # of each column
    rows: Sequence[Row]  # before, Textual Inversion, DreamBooth, DreamBooth with prior
    scores: Scores  # empty where the model has no judges
    why_no_scores: str = ""

    @property
    def table(self) -> str:
        """The figures as text, or the sentence that says why there are none."""
        return format_table(self.rows, self.scores) if self.scores else self.why_no_scores


@dataclass(frozen=True, kw_only=True)
class _Demo:
    """What stays the same from the first picture to the last."""

    config: DemoConfig
    sd: StableDiffusion  # before training
    class_word: str
    pictures: Sequence[Picture]
    asked: Sequence[Situation]
    methods: Sequence[DemoMethod]

    @property
    def passes(self) -> int:
        """The whole work, in passes of a picture through the U-Net."""
        a_row = len(self.asked) + self.config.class_seeds
        drawn = len(self.methods) * a_row + self.config.num_class_images
        drawing = DRAWING_STEP * self.config.num_inference_steps * drawn
        return drawing + sum(method.passes for method in self.methods)


def run_demo(config: DemoConfig) -> DemoResult:
    """Learn a character by three methods, draw it in new situations, and compare.

    What is finished in the output folder is kept, so a demo that was stopped goes on where it was.
    Raises ValueError for a subject that cannot be had, words that cannot be learnt, and a folder
    of another demo; OSError for a folder that cannot be written to.
    """
    demo = _prepare(replace(config, output=config.output.expanduser()))
    with Progress(demo.passes) as progress:
        class_pictures = _class_pictures(demo, progress)
        rows = []
        for method in demo.methods:
            artefact = None
            if method.steps:
                artefact = learn(
                    method,
                    demo.sd,
                    demo.pictures,
                    class_pictures,
                    demo.config,
                    class_word=demo.class_word,
                    progress=progress,
                )
            rows.append(_row(demo, method, artefact, progress))
        progress.say("Judging, and writing the sheet")
        return _write(demo, rows)


def _prepare(config: DemoConfig) -> _Demo:
    """Check all that can be checked before the long work starts."""
    pictures = training_pictures(config)
    class_word = prepare(config)
    sd = load(config.model)
    methods = demo_methods(config)
    methods[1].recipe.make(sd, class_word)  # refuses words that the model does not know
    record(config, sd, pictures, class_word)
    keep_training_pictures(config, pictures)
    return _Demo(
        config=config,
        sd=sd,
        class_word=class_word,
        pictures=pictures,
        asked=situations(pictures, class_word),
        methods=methods,
    )


def _class_pictures(demo: _Demo, progress: Progress) -> list[Picture]:
    """What the class looks like to the model before training, for prior preservation."""
    text, folder = class_prompt(demo.class_word), folder_of(demo.config, "prior")
    first = demo.config.draw_seed + PRIOR_SEEDS_FROM
    orders = [
        Order(prompt=text, seed=first + i, path=folder / f"{i:04d}.png")
        for i in range(demo.config.num_class_images)
    ]
    drawn = draw_all(
        lambda: demo.sd,
        orders,
        demo.config,
        model_name=public_name(demo.config.model),
        progress=progress,
        phase="Pictures of the class",
    )
    return [Picture(image=d.image, text=text, path=d.path) for d in drawn]


def _row(demo: _Demo, method: DemoMethod, artefact: Path | None, progress: Progress) -> Row:
    """Draw the situations and the bare class with what a method has learnt."""
    config, folder = demo.config, folder_of(demo.config, "drawn") / method.name
    called = method.recipe.called(demo.class_word)
    texts = [prompt(situation, demo.class_word, called) for situation in demo.asked]
    orders = [
        Order(prompt=text, seed=config.draw_seed + i, path=folder / f"situation-{i}.png")
        for i, text in enumerate(texts)
    ]
    first = config.draw_seed + CLASS_SEEDS_FROM
    orders += [
        Order(prompt=class_prompt(demo.class_word), seed=first + i, path=folder / f"class-{i}.png")
        for i in range(config.class_seeds)
    ]
    drawn = draw_all(
        lambda: demo.sd if artefact is None else demo.sd.with_artefact(artefact),
        orders,
        config,
        model_name=" + ".join([public_name(config.model), *([artefact.name] if artefact else [])]),
        progress=progress,
        phase=f"{method.label}: drawing",
    )
    count = len(texts)
    return Row(
        method=method,
        called=called,
        artefact=artefact,
        situations=drawn[:count],
        class_pictures=drawn[count:],
    )


def _write(demo: _Demo, rows: Sequence[Row]) -> DemoResult:
    """Judge, and write the table, the sheet and the page."""
    config, class_word = demo.config, demo.class_word
    images = [picture.image for picture in demo.pictures]
    scores, why_not = judge(rows, images, demo.asked, class_word, config.model)
    result = DemoResult(
        output=config.output,
        sheet=config.output / SHEET,
        page=config.output / PAGE,
        pictures=demo.pictures,
        asked=demo.asked,
        rows=rows,
        scores=scores,
        why_no_scores=why_not,
    )
    _write_table(result)
    save_sheet(draw_sheet(result, config, class_prompt(class_word)), result.sheet)
    write_page(result, config, class_prompt(class_word))
    return result


def _write_table(result: DemoResult) -> None:
    facts = {
        "columns": {c.name: {"about": c.about, "better": c.better} for c in COLUMNS},
        "rows": {
            row.method.name: {
                "artefact": None if row.artefact is None else row.artefact.name,
                "prompts": [drawn.prompt for drawn in row.situations],
                "seeds": [drawn.seed for drawn in row.situations],
                "class_seeds": [drawn.seed for drawn in row.class_pictures],
                "scores": dict(result.scores.get(row.method.name, {})),
            }
            for row in result.rows
        },
        "why_no_scores": result.why_no_scores,
    }
    with replaced_when_complete(result.output / TABLE) as unfinished:
        unfinished.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
