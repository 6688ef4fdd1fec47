"""Things to play with: a function of a few settings that makes a picture, and sliders for it.

`render` is a pure function, so what a slider shows can be tested, drawn without a browser, and
printed: every widget leaves a static sheet behind.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sdlearn.course.figures import as_array, show_pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Render = Callable[..., Any]  # settings by name -> a picture, as `show_pictures` takes it
MOST_ON_A_SHEET = 12
SHOWN_SIDE = 320  # pixels, at least, of the picture beside the sliders


def explore(render: Render, settings: Mapping[str, Sequence[Any]], *, sheet: int = 6) -> Figure:
    """Show sliders for the settings beside `render`'s picture; return a static sheet of it.

    `settings` are the values that each slider can take, by the names that `render` takes them. The
    sheet runs through them evenly: `sheet` pictures at most. Where there are no widgets (a book, a
    test) the sheet is all there is. Raises ValueError for a setting without values.
    """
    for name, values in settings.items():
        if not len(values):
            raise ValueError(f"the setting {name} has no values: give at least one")
    try:
        from IPython.display import display

        display(sliders(render, settings))
    except ImportError:
        pass
    return static_sheet(render, settings, sheet)


def sliders(render: Render, settings: Mapping[str, Sequence[Any]]) -> Any:
    """Make the widget: one slider a setting, and the picture. Works with ipywidgets 7.7 to 8."""
    import ipywidgets

    picture = ipywidgets.Image(format="png")
    controls = {
        name: ipywidgets.SelectionSlider(
            options=list(values),
            value=list(values)[len(values) // 2],
            description=name.replace("_", " "),
            continuous_update=False,
            style={"description_width": "8em"},
        )
        for name, values in settings.items()
    }
    seen: dict[tuple[Any, ...], bytes] = {}

    def redraw(_: Any = None) -> None:
        chosen = tuple(control.value for control in controls.values())
        if chosen not in seen:
            seen[chosen] = to_png(render(**dict(zip(controls, chosen, strict=True))))
        picture.value = seen[chosen]

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    return ipywidgets.HBox([picture, ipywidgets.VBox(list(controls.values()))])


def static_sheet(render: Render, settings: Mapping[str, Sequence[Any]], number: int = 6) -> Figure:
    """Draw `number` of all combinations at most, spread evenly, with their settings as titles."""
    every = list(itertools.product(*settings.values()))
    number = min(number, len(every), MOST_ON_A_SHEET)
    chosen = [every[round(i * (len(every) - 1) / max(number - 1, 1))] for i in range(number)]
    titles = [
        "\n".join(
            f"{name.replace('_', ' ')} {value}" for name, value in zip(settings, c, strict=True)
        )
        for c in chosen
    ]
    pictures = [render(**dict(zip(settings, c, strict=True))) for c in chosen]
    return show_pictures(pictures, titles, columns=6, size=1.8)


def before_and_after(before: Any, after: Any) -> Figure:
    """Show two pictures of one size under a slider that moves the seam between them."""

    def render(seam: int) -> Any:
        left, right = as_array(before), as_array(after)
        if left.shape != right.shape:
            raise ValueError(f"the pictures differ in size: {left.shape} and {right.shape}")
        both = right.copy()
        cut = round(both.shape[1] * seam / 100)
        both[:, :cut] = left[:, :cut]
        return both

    return explore(render, {"seam": range(0, 101, 10)}, sheet=5)


def to_png(picture: Any) -> bytes:
    """Write a picture as PNG, small ones enlarged without smoothing."""
    from PIL import Image

    image = Image.fromarray(as_array(picture))
    factor = max(1, -(-SHOWN_SIDE // max(image.size)))
    enlarged = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    file = io.BytesIO()
    enlarged.save(file, format="PNG")
    return file.getvalue()
