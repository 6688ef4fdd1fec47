"""Pictures and sliders as plain HTML: they work without a kernel, a network or a library.

A notebook, a slide deck and a page of the book show them alike. Small pictures are enlarged by the
browser, without smoothing; on paper a slider becomes the row of its pictures.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdlearn.course.figures import as_array

STYLE = """<style>
.sdlearn-row{display:flex;flex-wrap:wrap;gap:.4em;justify-content:center;margin:.3em 0}
.sdlearn-row figure,.sdlearn-slider{margin:0;text-align:center}
.sdlearn-row img,.sdlearn-slider img{margin:0 auto;max-width:none}
.sdlearn-slider img{display:none}.sdlearn-slider img.shown{display:block}
.sdlearn-slider input{width:60%;height:1.4em;vertical-align:middle}
.sdlearn-slider output{display:inline-block;min-width:3em;text-align:left}
@media print{.sdlearn-slider img{display:inline-block!important;height:auto!important;max-width:16%}
.sdlearn-slider label{display:none}}
</style>"""
# Only this slider's own pictures change. A slider that was dragged lets go of the keyboard, as the
# arrow keys turn a deck's pages.
MOVE = (
    "const f=this.closest('figure');f.querySelectorAll('img').forEach((image,i)=>"
    "image.classList.toggle('shown',i==this.value));"
    "f.querySelector('output').value=f.querySelector('img.shown').alt"
)


@dataclass(frozen=True)
class Html:
    """A piece of a page, which a notebook shows as such."""

    text: str

    def _repr_html_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{len(self.text)} characters of HTML>"


def picture_row(pictures: Sequence[Any], titles: Sequence[str] = (), *, height: int = 200) -> Html:
    """Lay pictures out in a row of `height` pixels, each above its title.

    A picture is one as `show_pictures` takes it. Raises ValueError for no pictures, and for titles
    of another number.
    """
    if not len(pictures):
        raise ValueError("there are no pictures to show: give at least one")
    if titles and len(titles) != len(pictures):
        raise ValueError(f"there are {len(pictures)} pictures and {len(titles)} titles")
    names = [html.escape(title) for title in titles] or [""] * len(pictures)
    figures = [
        f"<figure>{_image(picture, name, height)}<figcaption>{name}</figcaption></figure>"
        for picture, name in zip(pictures, names, strict=True)
    ]
    return Html(f'{STYLE}<div class="sdlearn-row">{"".join(figures)}</div>')


def static_slider(
    render: Callable[..., Any],
    parameter: str,
    values: Sequence[Any],
    *,
    start: int = 0,
    height: int = 320,
) -> Html:
    """Draw `render(parameter=value)` for each value, and put the pictures under one slider.

    It starts at `values[start]`; `height` is in pixels of the page. Raises ValueError for no
    values, IndexError for a start beyond them.
    """
    if not len(values):
        raise ValueError(f"the setting {parameter} has no values: give at least one")
    start = range(len(values))[start]
    names = [html.escape(str(value)) for value in values]
    images = [
        _image(render(**{parameter: value}), name, height, "shown" if i == start else "")
        for i, (value, name) in enumerate(zip(values, names, strict=True))
    ]
    label = html.escape(parameter.replace("_", " "))
    return Html(
        f'{STYLE}<figure class="sdlearn-slider">{"".join(images)}<label>{label} '
        f'<input type="range" min="0" max="{len(values) - 1}" value="{start}" '
        f'oninput="{MOVE}" onpointerup="this.blur()"> <output>{names[start]}</output>'
        "</label></figure>"
    )


def before_after_slider(before: Sequence[Any], after: Sequence[Any], *, height: int = 320) -> Html:
    """Put pairs of pictures side by side, with a slider that moves from `before` to `after`.

    All pictures are of one height. Raises ValueError for rows of different lengths, and for a pair
    that differs in size.
    """
    if len(before) != len(after) or not len(before):
        raise ValueError(f"there are {len(before)} pictures before and {len(after)} after")
    pairs = [(as_array(a), as_array(b)) for a, b in zip(before, after, strict=True)]
    for old, new in pairs:
        if old.shape != new.shape:
            raise ValueError(f"the pictures of a pair differ in size: {old.shape}, {new.shape}")

    def render(learnt: str) -> np.ndarray:
        share = int(learnt.removesuffix(" %")) / 100
        cuts = [round(new.shape[1] * share) for _, new in pairs]
        joined = [
            np.hstack([new[:, :cut], old[:, cut:]])
            for (old, new), cut in zip(pairs, cuts, strict=True)
        ]
        return np.hstack(joined)

    return static_slider(render, "learnt", [f"{i} %" for i in range(0, 101, 10)], height=height)


def _image(picture: Any, name: str, height: int, kind: str = "") -> str:
    """An `img` that holds its picture, `height` pixels high on the page."""
    from PIL import Image

    pixels, file = as_array(picture), io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    chosen = f' class="{kind}"' if kind else ""
    style = f"height:{height}px" + ";image-rendering:pixelated" * (len(pixels) < height)
    return f'<img{chosen} style="{style}" alt="{name}" src="data:image/png;base64,{data}">'
