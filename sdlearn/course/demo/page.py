"""The page: the sheet's pictures, prompts and table as one HTML file that works offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from sdlearn.course.demo.folder import FOLDERS, SHEET, TABLE
from sdlearn.course.demo.scores import COLUMNS, cells
from sdlearn.course.demo.sheet import short_label, title_of
from sdlearn.models.registry import public_name
from sdlearn.models.writing import replaced_when_complete

if TYPE_CHECKING:
    from sdlearn.course.demo.config import DemoConfig
    from sdlearn.course.demo.drawing import Drawn
    from sdlearn.course.demo.run import DemoResult
    from sdlearn.course.demo.scores import Row

PAGE = "index.html"
TRAINING_SIDE = 256  # pixels, the longest that is embedded
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .3rem .5rem; text-align: left; vertical-align: top; }
.figures td { text-align: right; font-variant-numeric: tabular-nums; }
.figures tr + tr { border-top: 1px solid #8888; }
.pictures { display: block; overflow-x: auto; }
.pictures th { font-weight: 600; }
img { display: block; width: 9rem; height: 9rem; object-fit: cover; }
.class img { width: 5.5rem; height: 5.5rem; }
.strip { display: flex; flex-wrap: wrap; gap: .5rem; }
small { display: block; font-weight: 400; max-width: 14rem; opacity: .8; }
"""


def write_page(result: DemoResult, config: DemoConfig, class_prompt: str) -> None:
    """Write `index.html`: pictures are embedded, so the file can be sent alone."""
    title = escape(title_of(result, config))
    strip = "".join(
        f"<figure>{_img(p.image, p.text or 'a training picture')}</figure>" for p in result.pictures
    )
    parts = [
        f"<h1>{title}</h1>",
        "<p><strong>Made by AI:</strong> every picture below the training pictures was drawn by "
        f"the model {escape(public_name(config.model))}, not by a person.</p>",
        f'<h2>Training pictures</h2><div class="strip">{strip}</div>{_rights(result)}',
        "<h2>In new situations</h2><p>The same seed all the way down a column. Hover over a "
        "picture for its prompt.</p>",
        _situations(result),
        f"<h2>“{escape(class_prompt)}”, before and after</h2><p>The prompt has no word for the "
        "subject. Where it begins to look like the subject, the model has drifted.</p>",
        _class_pictures(result.rows),
        "<h2>What the judges say</h2>",
        _figures(result),
        f'<p>Beside this page: <a href="{SHEET}">the contact sheet</a>, '
        f'<a href="{TABLE}">the table as JSON</a>, '
        f'<a href="{FOLDERS["drawn"]}/">all drawn pictures</a>, and what was learnt: '
        + ", ".join(
            f'<a href="{r.artefact.name}/">{escape(r.method.label)}</a>'
            for r in result.rows
            if r.artefact
        )
        + ". Draw with it: <code>sdlearn generate PROMPT --load FOLDER</code>.</p>",
    ]
    head = f'<meta charset="utf-8"><title>{title}</title>'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1">'
    html = f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head><body>\n'
    with replaced_when_complete(result.page) as unfinished:
        unfinished.write_text(html + "\n".join(parts) + "\n</body></html>\n", encoding="utf-8")


def _situations(result: DemoResult) -> str:
    heads = "".join(f'<th scope="col">{escape(short_label(a))}</th>' for a in result.asked)
    lines = [f"<tr><td></td>{heads}</tr>"]
    lines += [f"<tr>{_head(row)}{_cells(row.situations)}</tr>" for row in result.rows]
    return f'<table class="pictures">{"".join(lines)}</table>'


def _class_pictures(rows: Sequence[Row]) -> str:
    lines = [f"<tr>{_head(row)}{_cells(row.class_pictures)}</tr>" for row in rows]
    return f'<table class="pictures class">{"".join(lines)}</table>'


def _figures(result: DemoResult) -> str:
    if not result.scores:
        return f"<p>{escape(result.why_no_scores)}</p>"
    heads = "".join(
        f'<th scope="col">{c.label}<small>{c.about}; {c.better} is better</small></th>'
        for c in COLUMNS
    )
    lines = [f"<tr><td></td>{heads}</tr>"]
    for row in result.rows:
        figures = "".join(f"<td>{cell}</td>" for cell in cells(row, result.scores))
        lines.append(f"<tr>{_head(row)}{figures}</tr>")
    return f'<table class="figures">{"".join(lines)}</table>'


def _rights(result: DemoResult) -> str:
    """Author, licence and source of the training pictures, each named once."""
    known = {(p.author, p.license, p.source): None for p in result.pictures if p.author}
    if not known:
        return "<p>These are pictures of your own; their rights are yours to know.</p>"
    lines = []
    for author, name, source in known:
        link = escape(source, quote=True)
        web = source.startswith(("https://", "http://"))
        where = f'<a href="{link}">{link}</a>' if web else link
        lines.append(f"After the drawing style by {escape(author)}, {escape(name)}, {where}.")
    return f"<p>{'<br>'.join(lines)}</p>"


def _head(row: Row) -> str:
    word = f"“{escape(row.called)}”"
    label, about = escape(row.method.label), escape(row.method.about)
    return f'<th scope="row">{label}<small>{about}; {word}</small></th>'


def _cells(pictures: Sequence[Drawn]) -> str:
    return "".join(f"<td>{_img(d.image, f'{d.prompt} (seed {d.seed})')}</td>" for d in pictures)


def _img(image: Image.Image, words: str) -> str:
    """A picture inside the page, with words for those who do not see it."""
    small = image.copy()
    small.thumbnail((TRAINING_SIDE, TRAINING_SIDE))
    file = io.BytesIO()
    small.save(file, format="PNG")
    data = base64.b64encode(file.getvalue()).decode()
    text = escape(words, quote=True)
    return f'<img alt="{text}" title="{text}" src="data:image/png;base64,{data}">'
