"""Figures of the claims: points with their intervals, in colours that all can tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sdlearn.course.figures import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

JsonInterval = Mapping[str, float]


def axes(number: int = 1, width: float = 6.0, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A figure with axes side by side, that no display needs to be there for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * number, height), layout="constrained")
    FigureCanvasAgg(figure)
    found = [figure.add_subplot(1, number, i + 1) for i in range(number)]
    for each in found:
        each.grid(alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)
    return figure, found


def bars(ax: Axes, rows: Mapping[str, JsonInterval], label: str, zero: bool = False) -> None:
    """A row a name: a dot at the figure and a line over its interval; `label` with its unit."""
    names = list(rows)
    for y, name in enumerate(names):
        i, color = rows[name], COLORS[y % len(COLORS)]
        ax.plot([i["low"], i["high"]], [y, y], color=color, linewidth=3, alpha=0.5)
        ax.plot(i["value"], y, "o", color=color, markersize=9)
        ax.annotate(
            f"{i['value']:.2f}", (i["value"], y), (0, 7), textcoords="offset points", ha="center"
        )
    if zero:
        ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.7)
    ax.set_xlabel(label)


def curves(
    ax: Axes,
    x: Sequence[float],
    lines: Mapping[str, Sequence[JsonInterval]],
    labels: tuple[str, str],
) -> None:
    """Lines over x with their intervals as bands; `labels` of both axes, with units."""
    for color, (name, points) in zip(COLORS, lines.items(), strict=False):
        ax.plot(x, [p["value"] for p in points], "o-", color=color, label=name, linewidth=2)
        ax.fill_between(
            x, [p["low"] for p in points], [p["high"] for p in points], color=color, alpha=0.15
        )
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    if len(lines) > 1:
        ax.legend(frameon=False)


def save(figure: Figure, path: Any) -> None:
    """Write a PNG that says that measurements made it, complete or not at all."""
    from sdlearn.models.writing import prepare_folder, replaced_when_complete

    prepare_folder(path.parent)
    with replaced_when_complete(path) as unfinished:
        figure.savefig(
            unfinished, format="png", dpi=100, metadata={"Author": "sdlearn's experiments"}
        )
