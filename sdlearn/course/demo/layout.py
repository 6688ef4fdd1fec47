"""Where everything is on the contact sheet, in pixels; nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

MARGIN = 32
GAP = 8  # between pictures
ROW_GAP = 18
TITLE_HEIGHT = 88
TRAINING_TILE = 160
LABEL_WIDTH = 350
HEADER_HEIGHT = 84
TILE = 232
CLASS_TILE = (TILE - GAP) // 2  # two rows of small pictures beside one of large ones
BLOCK_GAP = 36  # between the situations and the class
LEGEND_WIDTH = 640  # of the words beside the training pictures
FOOTER_HEIGHT = 68


class Box(NamedTuple):
    """A rectangle: its left upper corner, width and height in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The places on a sheet: a row for each method, a column for each situation, then the class."""

    width: int
    height: int
    title: Box
    training_label: Box
    training: list[Box]
    legend: Box
    headers: list[Box]  # one a situation
    class_header: Box
    labels: list[Box]  # one a row
    situations: list[list[Box]]  # [row][column]
    class_pictures: list[list[Box]]  # [row][number], in two lines
    footer: Box


def lay_out(*, rows: int, columns: int, class_pictures: int, training: int) -> Layout:
    """Place a sheet. Training pictures that do not fit beside the legend get no place."""
    class_columns = (class_pictures + 1) // 2
    left = MARGIN + LABEL_WIDTH
    class_left = left + columns * (TILE + GAP) - GAP + BLOCK_GAP
    class_width = class_columns * (CLASS_TILE + GAP) - GAP
    width = class_left + class_width + MARGIN
    training_top = MARGIN + TITLE_HEIGHT
    header_top = training_top + TRAINING_TILE + ROW_GAP
    first = header_top + HEADER_HEIGHT
    tops = [first + i * (TILE + ROW_GAP) for i in range(rows)]
    shown = min(training, (width - MARGIN - left - LEGEND_WIDTH) // (TRAINING_TILE + GAP))
    legend_left = left + max(shown, 0) * (TRAINING_TILE + GAP) + GAP
    bottom = first + rows * (TILE + ROW_GAP)
    inner = width - 2 * MARGIN
    return Layout(
        width=width,
        height=bottom + FOOTER_HEIGHT + MARGIN // 2,
        title=Box(MARGIN, MARGIN, inner, TITLE_HEIGHT - ROW_GAP),
        training_label=Box(MARGIN, training_top, LABEL_WIDTH - 2 * GAP, TRAINING_TILE),
        training=_line(left, training_top, TRAINING_TILE, max(shown, 0)),
        legend=Box(legend_left, training_top, width - MARGIN - legend_left, TRAINING_TILE),
        headers=[
            Box(box.x, header_top, TILE, HEADER_HEIGHT - GAP)
            for box in _line(left, 0, TILE, columns)
        ],
        class_header=Box(class_left, header_top, class_width, HEADER_HEIGHT - GAP),
        labels=[Box(MARGIN, top, LABEL_WIDTH - 2 * GAP, TILE) for top in tops],
        situations=[_line(left, top, TILE, columns) for top in tops],
        class_pictures=[
            [
                *_line(class_left, top, CLASS_TILE, class_columns),
                *_line(class_left, top + CLASS_TILE + GAP, CLASS_TILE, class_columns),
            ][:class_pictures]
            for top in tops
        ],
        footer=Box(MARGIN, bottom, inner, FOOTER_HEIGHT),
    )


def _line(left: int, top: int, tile: int, count: int) -> list[Box]:
    """Square pictures beside each other."""
    return [Box(left + i * (tile + GAP), top, tile, tile) for i in range(count)]
