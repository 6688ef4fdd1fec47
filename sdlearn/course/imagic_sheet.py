"""Imagic's contact sheet: the picture, the edit at every eta, and the chosen one marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from sdlearn.course.demo.layout import Box
from sdlearn.course.demo.sheet import INK, MADE_BY_AI, PAPER, QUIET, paste, write

if TYPE_CHECKING:
    from sdlearn.finetune.imagic.eta import EtaChoice

MARGIN, GAP, TILE, LABEL, COLUMNS = 32, 16, 200, 64, 6  # pixels, and tiles a row
TITLE, FOOTER = 100, 96  # pixels
CHOSEN = "#0072b2"  # Okabe and Ito's blue, which colour-blind people can tell from the rest
LAST_LETTER = "\u2fff"  # beyond come Chinese characters and kana, which the sheet's font has not


def draw_imagic_sheet(
    picture: Image.Image, images: Sequence[Image.Image], choice: EtaChoice, target_prompt: str
) -> Image.Image:
    """Draw the sheet, RGB: `images` are those of `choice.etas`, in that order."""
    rows = -(-(len(images) + 1) // COLUMNS)
    width = 2 * MARGIN + COLUMNS * (TILE + GAP) - GAP
    height = MARGIN + TITLE + rows * (TILE + LABEL + GAP) + FOOTER
    sheet = Image.new("RGB", (width, height), PAPER)
    inner = width - 2 * MARGIN
    write(sheet, _title(target_prompt), Box(MARGIN, MARGIN, inner, TITLE - GAP), size=36, bold=True)
    labels = ["the picture", *(_label(choice, index) for index in range(len(images)))]
    for number, (image, label) in enumerate(zip([picture, *images], labels, strict=True)):
        row, column = divmod(number, COLUMNS)
        left, top = MARGIN + column * (TILE + GAP), MARGIN + TITLE + row * (TILE + LABEL + GAP)
        paste(sheet, image, Box(left, top, TILE, TILE))
        chosen = number > 0 and choice.etas[number - 1] == choice.eta
        color = CHOSEN if chosen else INK
        write(sheet, label, Box(left, top + TILE + 6, TILE, LABEL - 6), size=17, color=color)
        if chosen:
            edge = (left - 6, top - 6, left + TILE + 5, top + TILE + 5)
            ImageDraw.Draw(sheet).rectangle(edge, outline=CHOSEN, width=6)
    footer = f"Chosen: eta {choice.eta:g}; {choice.reason}.\n{MADE_BY_AI}."
    write(sheet, footer, Box(MARGIN, height - FOOTER, inner, FOOTER - GAP), size=20, color=QUIET)
    return sheet


def _title(target_prompt: str) -> str:
    if any(letter > LAST_LETTER for letter in target_prompt):
        return "One picture, edited by a prompt"
    return f"One picture, edited towards “{target_prompt}”"


def _label(choice: EtaChoice, index: int) -> str:
    """Eta, what is kept of the picture, and the edit as it was measured."""
    label = f"eta {choice.etas[index]:g}\nkept {choice.kept[index]:.0%}"
    if choice.edit_strength is not None:
        label += f", edit {choice.edit_strength[index]:.2f}"
    return label
