"""The rows of the sheet, and what the judges say of each, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from sdlearn.evaluate import Judges
from sdlearn.evaluate.compare import measure_class, measure_situations

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from sdlearn.course.demo.drawing import Drawn
    from sdlearn.course.demo.methods import DemoMethod
    from sdlearn.evaluate.situations import Situation


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one method made: its pictures, and where what it learnt is kept."""

    method: DemoMethod
    called: str  # what its prompts call the subject
    artefact: Path | None  # for `sdlearn generate --load`; None: the model as it was
    situations: Sequence[Drawn]
    class_pictures: Sequence[Drawn]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One figure of the table."""

    name: str
    label: str
    about: str
    better: str  # "higher" or "lower"


COLUMNS = (
    Column(
        name="fidelity",
        label="Fidelity",
        about="cosine with the real pictures of the character",
        better="higher",
    ),
    Column(
        name="prompt_fit",
        label="Prompt fit",
        about="CLIP's cosine of picture and prompt",
        better="higher",
    ),
    Column(
        name="asked_and_seen",
        label="Asked and seen",
        about="share of the attributes asked for that the reader sees",
        better="higher",
    ),
    Column(
        name="class_like_subject",
        label="Class like subject",
        about="cosine of pictures of the bare class with the character's real ones",
        better="lower",
    ),
    Column(
        name="class_shift",
        label="Class shift",
        about="how far the attributes of pictures of the bare class have moved, 0 to 1",
        better="lower",
    ),
)
Scores = Mapping[str, Mapping[str, float]]  # name of a row -> name of a column -> figure


def judge(
    rows: Sequence[Row],
    references: Sequence[Image.Image],
    asked: Sequence[Situation],
    class_word: str,
    model: str,
) -> tuple[Scores, str]:
    """Return the figures of each row, or none and one sentence that says why.

    The first row is the model before training, which class pictures are compared with.
    """
    try:
        judges = Judges.load(model)
    except FileNotFoundError as error:
        return {}, f"There is no table, as the model has no judges ({error})."
    before = [drawn.image for drawn in rows[0].class_pictures]
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        groups = [[drawn.image] for drawn in row.situations]
        after = [drawn.image for drawn in row.class_pictures]
        found = {
            **measure_situations(judges, groups, asked, class_word, references),
            **measure_class(judges, before, after, references),
        }
        scores[row.method.name] = {column.name: mean(found[column.name]) for column in COLUMNS}
    return scores, ""


def cells(row: Row, scores: Scores) -> list[str]:
    """The figures of a row as text, in the order of `COLUMNS`."""
    found = scores[row.method.name]
    return [
        f"{found[c.name]:.0%}" if c.name == "asked_and_seen" else f"{found[c.name]:.2f}"
        for c in COLUMNS
    ]


def format_table(rows: Sequence[Row], scores: Scores) -> str:
    """The table for a terminal."""
    lines = [["", *(f"{c.label} ({c.better})" for c in COLUMNS)]]
    lines += [[row.method.label, *cells(row, scores)] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS) + 1)]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(f"  {cell.rjust(w)}" for cell, w in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )
