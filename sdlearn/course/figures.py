"""Figures that several chapters draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    Shown = Image.Image | torch.Tensor | np.ndarray

COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
"""Colours that all can tell apart. Source: Okabe and Ito 2008, Color Universal Design."""


def show_pictures(
    pictures: Sequence[Shown], titles: Sequence[str] = (), *, columns: int = 8, size: float = 1.6
) -> Figure:
    """Lay pictures out in rows, each with its title.

    A picture is a PIL image, or a tensor (3, H, W) in [-1, 1], or an array (H, W, 3) of bytes.
    `size` is inches a picture. Raises ValueError for no pictures.
    """
    import matplotlib.pyplot as plt

    if not len(pictures):
        raise ValueError("there are no pictures to show: give at least one")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = size * 1.2 if titles else size
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * size, rows * height), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        axis.imshow(as_array(picture))
        if i < len(titles):
            axis.set_title(titles[i], fontsize=11)
    return figure


def show_rows(
    rows: Mapping[str, Sequence[Shown]], titles: Sequence[str] = (), *, size: float = 1.4
) -> Figure:
    """Lay out rows of pictures, each row with its name on the left, titles above the first.

    Pictures are those of `show_pictures`. Raises ValueError where a row is shorter than another.
    """
    columns = {len(row) for row in rows.values()}
    if len(columns) > 1:
        lengths = ", ".join(f"{name}: {len(row)}" for name, row in rows.items())
        raise ValueError(f"the rows have different numbers of pictures ({lengths}): give as many")
    pictures = [picture for row in rows.values() for picture in row]
    figure = show_pictures(pictures, titles, columns=max(columns, default=1), size=size)
    names = 0.09 * max(len(line) for name in rows for line in name.splitlines())  # inches
    figure.set_size_inches(max(columns) * size + names, len(rows) * size + 0.3 * bool(titles))
    for name, axis in zip(rows, figure.axes[:: max(columns)], strict=True):
        axis.text(-0.08, 0.5, name, transform=axis.transAxes, ha="right", va="center", fontsize=11)
    return figure


def show_points(
    clouds: Sequence[torch.Tensor], titles: Sequence[str] = (), *, limit: float = 3.0
) -> Figure:
    """Draw clouds of points in the plane, (N, 2) each, side by side on equal axes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(clouds), figsize=(2.6 * len(clouds), 2.9), squeeze=False, sharey=True
    )
    for i, (axis, cloud) in enumerate(zip(axes.flat, clouds, strict=True)):
        x, y = cloud.detach().cpu().T
        axis.scatter(x, y, s=4, alpha=0.5, linewidths=0)
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="x")
        if i < len(titles):
            axis.set_title(titles[i], fontsize=12)
    axes[0, 0].set_ylabel("y")
    return figure


def show_losses(losses: Sequence[float], *, average: int = 50, what: str = "loss") -> Figure:
    """Draw a loss against its optimizer step, and its mean over the last `average` steps."""
    import matplotlib.pyplot as plt

    values = np.asarray(losses, dtype=float)
    figure, axis = plt.subplots()
    steps = np.arange(1, len(values) + 1)
    axis.plot(steps, values, alpha=0.25, linewidth=1, label="each step")
    if len(values) > average:
        mean = np.convolve(values, np.full(average, 1 / average), mode="valid")
        axis.plot(steps[average - 1 :], mean, color="C0", label=f"mean of {average} steps")
    axis.set(xlabel="optimizer step", ylabel=what, ylim=(0, None))
    axis.legend()
    return figure


def as_array(picture: Any) -> np.ndarray:
    """Turn a picture of any of the kinds above into (H, W, 3) bytes."""
    if isinstance(picture, torch.Tensor):
        values = picture.detach().cpu().float().clamp(-1, 1)
        return ((values.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    return np.asarray(picture)
