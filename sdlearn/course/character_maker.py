"""The character maker: choose a character by its attributes, see it, and keep it in a folder.

`render` and `save_character` are plain functions; the widget only calls them. `own_character` is
how the later chapters get at what was kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdlearn.course.widgets import static_sheet, to_png
from sdlearn.data.characters import STYLES, draw_character, style_choices
from sdlearn.data.folder import Picture, read_pictures, write_pictures
from sdlearn.data.styles import BASE_STYLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANY = "any"  # of an attribute: the seed chooses
FOLDER = "my-character"
NEEDED = ("style", "expression", "background")  # what the chapters write their prompts with
NUMBER = 5  # pictures in the folder, as few as DreamBooth's paper takes
SIZE = 256  # their height and width in pixels
SHOWN, SHOWN_SIZE = 4, 128  # pictures beside the controls, and their height and width in pixels
SEEDS = range(20)
ATTRIBUTES = ("hair", "hair_color", "top", "body_color", "glasses", "clothes_color")
ON_THE_SHEET: dict[str, Sequence[Any]] = {
    "style": ["lorelei", "adventurer", "critters"],
    "seed": [0, 1],
}


def character(style: str, seed: int, *, number: int, size: int, **attributes: str) -> list[Picture]:
    """Draw a character, whatever the style: attributes that it cannot have are left out.

    An attribute that is "any" is left to the seed. Raises ValueError for an unknown style.
    """
    choices = style_choices(style) if style in STYLES else {}
    given = {
        name: value
        for name, value in attributes.items()
        if value != ANY and value in choices.get(name, ())
    }
    return draw_character(style, seed, number, size, **given)


def render(style: str = "lorelei", seed: int = 0, **attributes: str) -> np.ndarray:
    """Draw four pictures of a character side by side, (H, 4 H, 3) bytes."""
    pictures = character(style, seed, number=SHOWN, size=SHOWN_SIZE, **attributes)
    return np.concatenate([np.asarray(picture.image) for picture in pictures], axis=1)


def save_character(
    folder: str | Path, style: str = "lorelei", seed: int = 0, **attributes: str
) -> list[Path]:
    """Write a character's pictures and captions to a folder; replaces the one that is there.

    Raises ValueError where the folder holds other pictures, OSError where it cannot be written to.
    """
    return write_pictures(folder, character(style, seed, number=NUMBER, size=SIZE, **attributes))


def own_character(folder: str | Path = FOLDER) -> list[Picture]:
    """The pictures that the maker kept; where there is no such folder, somebody unknown to mini.

    Prints which of the two it is. Raises ValueError where a picture's style, expression or
    background is not said, and what `read_pictures` raises.
    """
    folder = Path(folder)
    pictures = read_pictures(folder) if folder.exists() else draw_character("lorelei", 0, NUMBER)
    for picture in pictures:
        missing = [name for name in NEEDED if name not in picture.attributes]
        if missing:
            raise ValueError(
                f"{picture.path} does not say its {' and '.join(missing)} in metadata.jsonl: make "
                "the folder with the character maker, or move it away and somebody is drawn for you"
            )
    style = pictures[0].attributes["style"]
    who = "your own character" if folder.exists() else f"no {folder} here (chapter 0 makes it)"
    shown = "was shown" if style in BASE_STYLES else "was never shown"
    print(f"{who}: {len(pictures)} pictures in {style} style, which mini {shown}")
    return pictures


def make_character(folder: str | Path = FOLDER) -> Figure:
    """Show the maker, which writes to `folder` when its button is pressed; return a static sheet.

    Where there are no widgets (a book, a test) the sheet is all there is.
    """
    try:
        from IPython.display import display

        display(maker(folder))
    except ImportError:
        pass
    return static_sheet(lambda **one: render(**one)[:, :SHOWN_SIZE], ON_THE_SHEET)


def maker(folder: str | Path) -> Any:
    """Make the widget: a picture, a control for each setting, a button and what it did.

    Works with ipywidgets 7.7 to 8.
    """
    import ipywidgets as w

    wide = {"description_width": "8em"}
    style = w.Dropdown(options=sorted(STYLES), value="lorelei", description="style", style=wide)
    seed = w.SelectionSlider(options=list(SEEDS), description="seed", style=wide)
    others = {
        name: w.Dropdown(options=[ANY], description=name.replace("_", " "), style=wide)
        for name in ATTRIBUTES
    }
    picture, button = w.Image(format="png"), w.Button(description="keep this one")
    said = w.Label()

    def chosen() -> dict[str, Any]:
        values = {name: control.value for name, control in others.items()}
        return {"style": style.value, "seed": seed.value} | values

    def redraw(_: Any = None) -> None:
        picture.value = to_png(render(**chosen()))

    def offer(_: Any = None) -> None:
        choices = style_choices(style.value)
        for name, control in others.items():
            kept = control.value
            control.options = [ANY, *choices.get(name, ())]
            control.value = kept if kept in control.options else ANY
            control.layout.display = "" if name in choices else "none"

    def keep(_: Any = None) -> None:
        try:
            paths = save_character(folder, **chosen())
        except (OSError, ValueError) as error:
            said.value = str(error)
        else:
            said.value = f"{len(paths)} pictures are in the folder {Path(folder)}"

    style.observe(offer, names="value")
    for control in (style, seed, *others.values()):
        control.observe(redraw, names="value")
    button.on_click(keep)
    offer()
    redraw()
    return w.VBox([picture, w.VBox([style, seed, *others.values()]), w.HBox([button, said])])
