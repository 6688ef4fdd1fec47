"""The contact sheet: one PNG that a room can read from a projector."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

from sdlearn.course.demo.layout import Box, Layout, lay_out
from sdlearn.course.demo.scores import cells
from sdlearn.models.registry import public_name
from sdlearn.models.writing import replaced_when_complete

if TYPE_CHECKING:
    from sdlearn.course.demo.config import DemoConfig
    from sdlearn.course.demo.run import DemoResult
    from sdlearn.course.demo.scores import Row
    from sdlearn.evaluate.situations import Situation

INK, QUIET, EDGE, PAPER = "#1c1c22", "#55555f", "#c8c8d0", "#ffffff"
SMALLEST_TEXT = 12  # pixels; smaller is not read by anybody
MADE_BY_AI = "Made by AI: all pictures but the training pictures were drawn by a model"


def draw_sheet(result: DemoResult, config: DemoConfig, class_prompt: str) -> Image.Image:
    """Draw the sheet, RGB: training pictures on top, then a row for each method."""
    rows = result.rows
    layout = lay_out(
        rows=len(rows),
        columns=len(result.asked),
        class_pictures=len(rows[0].class_pictures),
        training=len(result.pictures),
    )
    sheet = Image.new("RGB", (layout.width, layout.height), PAPER)
    _words(sheet, layout, result, config, class_prompt)
    pictures = [p.image for p in result.pictures]
    for image, box in zip(pictures, layout.training, strict=False):  # as many as there is room for
        paste(sheet, image, box)
    for i, row in enumerate(rows):
        _label(sheet, layout.labels[i], row, result)
        for drawn, box in zip(row.situations, layout.situations[i], strict=True):
            paste(sheet, drawn.image, box)
        for drawn, box in zip(row.class_pictures, layout.class_pictures[i], strict=True):
            paste(sheet, drawn.image, box)
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write the sheet as a PNG that says what it is."""
    info = PngInfo()
    info.add_itxt("Description", MADE_BY_AI)
    with replaced_when_complete(path) as unfinished:
        sheet.save(unfinished, format="PNG", pnginfo=info)


def title_of(result: DemoResult, config: DemoConfig) -> str:
    """Name the subject and the model."""
    if config.pictures is not None:
        who = f"The pictures in {config.pictures.name}"
    else:
        who = f"A character in {config.style} style (seed {config.seed})"
    return f"{who}, learnt by {public_name(config.model)} from {len(result.pictures)} pictures"


def short_label(asked: Situation) -> str:
    """Say a situation in a few words for a column: "sunglasses, on green"."""
    names = {"glasses": {"round": "round glasses"}, "top": {"ears": "round ears"}}
    words = [names.get(k, {}).get(v, v) for k, v in asked.items() if k != "background"]
    return ", ".join([*words, f"on {asked['background']}"])


def rights_of(result: DemoResult) -> str:
    """Whose the training pictures are, as far as is known."""
    known = [p for p in result.pictures if p.author or p.license]
    if not known:
        return "Training pictures: your own; their rights are yours to know"
    return f"Training pictures: after {known[0].author or 'unknown'}, {known[0].license}"


def paste(sheet: Image.Image, image: Image.Image, box: Box) -> None:
    """Put a picture into a box, scaled to cover it and cut around its centre."""
    size = (box.width, box.height)
    sheet.paste(ImageOps.fit(image, size, method=Image.Resampling.LANCZOS), (box.x, box.y))
    edge = (box.x - 1, box.y - 1, box.x + box.width, box.y + box.height)
    ImageDraw.Draw(sheet).rectangle(edge, outline=EDGE)  # a white picture ends somewhere as well


def write(
    sheet: Image.Image, text: str, box: Box, *, size: int, bold: bool = False, color: str = INK
) -> int:
    """Write text into a box, wrapped, and smaller where it would not fit; returns its height.

    What does not fit at the smallest size is left out, with an ellipsis.
    """
    draw = ImageDraw.Draw(sheet)
    while True:
        font = _font(size, bold)
        lines = _wrap(text, font, box.width)
        height = round(1.25 * size)
        fits = len(lines) * height <= box.height
        if (fits and all(font.getlength(line) <= box.width for line in lines)) or (
            size <= SMALLEST_TEXT
        ):
            break
        size -= 1
    room = max(box.height // height, 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], lines[room - 1] + "…"]
    for i, line in enumerate(lines):
        draw.text((box.x, box.y + i * height), line, font=font, fill=color)
    return len(lines) * height


def _words(
    sheet: Image.Image, layout: Layout, result: DemoResult, config: DemoConfig, class_prompt: str
) -> None:
    """Everything written on the sheet but the rows' labels."""
    write(sheet, title_of(result, config), layout.title, size=44, bold=True)
    write(sheet, "Training pictures", layout.training_label, size=28, bold=True)
    legend = (
        "Large pictures: the subject in new situations. Small ones: what the bare class looks "
        "like, with no word for the subject; if it begins to look like the subject, the model has "
        "drifted. The same seed all the way down a column."
    )
    write(sheet, legend, layout.legend, size=24, color=QUIET)
    for asked, box in zip(result.asked, layout.headers, strict=True):
        write(sheet, short_label(asked), box, size=26)
    write(sheet, f"“{class_prompt}”", layout.class_header, size=26)
    footer = f"{rights_of(result)}.\n{MADE_BY_AI} ({public_name(config.model)})."
    write(sheet, footer, layout.footer, size=22, color=QUIET)


def _label(sheet: Image.Image, box: Box, row: Row, result: DemoResult) -> None:
    """A row's name, what it changes, its word for the subject and the judges' figures."""
    texts = [
        (row.method.label, 28, True, INK),
        (row.method.about, 21, False, QUIET),
        (f"“{row.called}”", 23, False, INK),
    ]
    if result.scores:
        fidelity, _, seen, drift, _ = cells(row, result.scores)
        figures = f"fidelity {fidelity}, asked and seen {seen}, class like subject {drift}"
        texts.append((figures, 21, False, QUIET))
    top, bottom = box.y, box.y + box.height
    for text, size, bold, color in texts:
        room = Box(box.x, top, box.width, max(bottom - top, SMALLEST_TEXT))
        top += write(sheet, text, room, size=size, bold=bold, color=color) + 6


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break text into lines between words; a newline in it is one as well."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines


@lru_cache(maxsize=64)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along on every system; `size` in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
