"""What a training cell shows as it goes: the loss so far, pictures in between, and a stop button.

`render` is a pure function. `watch` drives the loop and redraws `render`'s picture in place, so the
last one stays in the notebook, for a book and for print. The button is the only widget, and what
trained until it is pressed is kept. Training gets the same results as without a view.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sdlearn.course.clicks import Clicks
from sdlearn.course.figures import as_array
from sdlearn.course.widgets import to_png
from sdlearn.training.run_files import read_losses

if TYPE_CHECKING:
    from sdlearn.finetune import TrainStep

SECONDS_BETWEEN = 2.0  # two redraws, at least
SHARE = 0.02  # of the time that may go into redrawing
AVERAGED = 20  # steps, for the line that can be read
PREVIEWS = 4  # pictures in between: after each quarter
INCHES, DPI = (8.0, 2.6), 100


def render(
    losses: Sequence[float],
    previews: Sequence[tuple[int, Any]] = (),
    *,
    max_train_steps: int | None = None,
) -> np.ndarray:
    """Draw losses against their steps, and the last four previews beside them: (H, W, 3) bytes.

    A preview is a step and a picture, as `show_pictures` takes it. The axis runs to
    `max_train_steps`, so that one sees how far there is to go; at the beginning of a long run only
    ten times as far as it is. Raises ValueError without losses.
    """
    if not losses:
        raise ValueError("there is no loss to show: give at least one")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = list(previews)[-PREVIEWS:]
    figure = Figure(figsize=INCHES, dpi=DPI)
    figure.set_layout_engine("none")  # the one that notebooks have is slow
    right = 0.62 if shown else 0.95
    _draw_losses(figure.add_axes((0.1, 0.22, right - 0.1, 0.66)), losses, max_train_steps)
    for i, (step, picture) in enumerate(shown):
        axis = figure.add_axes((right + 0.02 + 0.18 * (i % 2), 0.5 - 0.49 * (i // 2), 0.17, 0.41))
        axis.imshow(as_array(picture), interpolation="nearest")
        axis.set_title(f"step {step}", fontsize=9, pad=2)
        axis.axis("off")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def watch(
    steps: Iterator[TrainStep],
    preview: Callable[[], Any] | None = None,
    show: Callable[..., Any] | None = None,
) -> None:
    """Take `steps` to their end, or until "stop" is pressed, and show how it goes.

    `preview` draws a picture with what was learnt so far, after each quarter of the steps. `show`
    puts a mimebundle on the page and returns a handle with `update`: IPython's `display`. The
    kernel's own way to stop, KeyboardInterrupt, is passed on when the last picture is drawn.
    """
    view = View(show)
    try:
        with view.clicks as clicks:
            for step in steps:
                view.add(step, preview)
                if clicks is not None and clicks.heard():
                    break
    except KeyboardInterrupt:
        view.finish()
        raise
    view.finish()


class View:
    """The outputs of one training cell: a button, and a picture below it."""

    def __init__(self, show: Callable[..., Any] | None = None) -> None:
        from IPython.display import display

        self.show = show or display
        self.values: list[float] = []
        self.waiting: list[torch.Tensor] = []  # losses still on the device
        self.previews: list[tuple[int, Any]] = []
        self.picture: Any = None
        self.last: TrainStep | None = None
        self.redraw_at = 0.0
        button = stop_button()
        self.clicks: Any = nullcontext() if button is None else Clicks(button)
        self.button = None if button is None else self.show(button, display_id=True)

    def add(self, step: TrainStep, preview: Callable[[], Any] | None) -> None:
        """Take note of a step, and redraw if it is time."""
        self.last = step
        self.waiting.append(step.loss)
        if preview is not None and is_quarter(step.step, step.max_train_steps):
            self.previews.append((step.step, preview()))
            self.redraw_at = 0.0
        if time.monotonic() >= self.redraw_at:
            self.redraw()

    def redraw(self) -> None:
        """Draw all losses until now, and wait the longer the longer that took."""
        assert self.last is not None
        began = time.monotonic()
        self.values += read_losses(self.waiting)
        self.waiting.clear()
        png = to_png(render(self.values, self.previews, max_train_steps=self.last.max_train_steps))
        bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": self.line()}
        if self.picture is None:
            self.picture = self.show(bundle, raw=True, display_id=True)
        else:
            self.picture.update(bundle, raw=True)
        ended = time.monotonic()
        self.redraw_at = ended + max(SECONDS_BETWEEN, (ended - began) / SHARE)

    def line(self) -> str:
        """How far it is, in words."""
        assert self.last is not None
        recent = self.values[-AVERAGED:]
        return (
            f"step {self.last.step} of {self.last.max_train_steps}, "
            f"loss {sum(recent) / len(recent):.4f} (mean of the last {len(recent)})"
        )

    def finish(self) -> None:
        """Draw the last picture, and put a sentence in the button's place."""
        if self.last is None:
            text = "there was no step"
        else:
            self.redraw()
            stopped = self.last.step < self.last.max_train_steps
            text = self.line() + ("; stopped, and kept as it is" if stopped else "")
        if self.button is not None:
            self.button.update({"text/plain": text}, raw=True)


def stop_button() -> Any:
    """A button for stopping, or None where there are no widgets."""
    try:
        import ipywidgets
    except ImportError:
        return None
    return ipywidgets.Button(description="stop", icon="stop", tooltip="stop, and keep the result")


def is_quarter(step: int, max_train_steps: int) -> bool:
    """Whether a quarter of the steps ends with this one; a whole of less than four has fewer."""
    return PREVIEWS * step // max_train_steps > PREVIEWS * (step - 1) // max_train_steps


def _draw_losses(axis: Any, losses: Sequence[float], max_train_steps: int | None) -> None:
    values = np.asarray(losses, dtype=float)
    at = np.arange(1, len(values) + 1)
    window = min(AVERAGED, len(values))
    mean = np.convolve(values, np.full(window, 1 / window), mode="valid")
    axis.plot(at, values, color="C0", alpha=0.3, linewidth=1)
    axis.plot(at[window - 1 :], mean, color="C0", linewidth=2.5, marker="o", markevery=[-1])
    far = min(max_train_steps or len(values), 10 * len(values))
    axis.set_xlim(0, max(far, len(values)) + 0.5)
    if max_train_steps:
        axis.set_title(f"step {len(values)} of {max_train_steps}", loc="left", fontsize=11)
    axis.set_ylim(0, 1.05 * max(float(values.max()), 1e-6))
    axis.set_xlabel("optimizer step", fontsize=11)
    axis.set_ylabel(f"loss, mean of {window}", fontsize=11)
    axis.tick_params(labelsize=10)
