"""The character maker: one character, drawn several times, ready to train on."""

import random
from collections.abc import Mapping
from itertools import product

from sdlearn.data.captions import caption
from sdlearn.data.faces import Attributes
from sdlearn.data.folder import Picture
from sdlearn.data.licenses import license_of
from sdlearn.data.render import draw, paint
from sdlearn.data.styles import BASE_STYLES
from sdlearn.data.subjects import SUBJECT_STYLES, SubjectStyle
from sdlearn.data.vocabulary import BACKGROUNDS

STYLES = (*BASE_STYLES, *SUBJECT_STYLES)


def draw_character(
    style: str, seed: int, number: int = 5, size: int = 256, **attributes: str
) -> list[Picture]:
    """Draws one character in different expressions, on different backgrounds.

    Args:
        style: a drawing style; `SUBJECT_STYLES` holds those that mini has never seen.
        seed: which character: everything that no attribute says follows from it.
        number: pictures.
        size: height and width in pixels.
        attributes: what the character shall have, for example `glasses="round"`. A given
            expression or background stays the same in all pictures.

    Returns:
        Pictures with true captions in both languages, attributes, licence, artist and source.

    Raises:
        ValueError: the style or the value of an attribute does not exist; says which do.
    """
    if style not in STYLES:
        raise ValueError(f"style {style!r} does not exist: choose from {sorted(STYLES)}")
    choices = style_choices(style)
    for name, value in attributes.items():
        if value not in choices.get(name, ()):
            allowed = choices.get(name) or f"only {sorted(choices)} can be set"
            raise ValueError(f"{name} {value!r} cannot be drawn in {style} style: {allowed}")
    rng = random.Random(f"sdlearn-character-{style}-{seed}")
    fixed = _fill(style, attributes, rng)
    scenes = _scenes(choices, attributes, rng)
    return [
        _picture(style, seed, fixed | scenes[i % len(scenes)], size=size) for i in range(number)
    ]


def style_choices(style: str) -> dict[str, tuple[str, ...]]:
    """Every attribute that can be set in a style, and its values."""
    table = BASE_STYLES[style] if style in BASE_STYLES else SUBJECT_STYLES[style]
    return table.choices() | {"background": tuple(BACKGROUNDS)}


def _fill(style: str, attributes: Mapping[str, str], rng: random.Random) -> Attributes:
    """The attributes that stay: in a base style all of them, elsewhere only the given ones."""
    drawn = dict(attributes)
    for name, values in style_choices(style).items():
        chosen = rng.choice(values)
        if style in BASE_STYLES and name not in ("expression", "background"):
            drawn.setdefault(name, chosen)
    if "glasses" in style_choices(style):
        drawn.setdefault("glasses", "none")
    return {"style": style} | drawn


def _scenes(
    choices: Mapping[str, tuple[str, ...]], attributes: Mapping[str, str], rng: random.Random
) -> list[Attributes]:
    """Expressions and backgrounds in turn, so that few pictures show many of both."""
    values = {
        name: [attributes[name]] if name in attributes else list(choices[name])
        for name in ("expression", "background")
    }
    for row in values.values():
        rng.shuffle(row)
    expressions, backgrounds = values["expression"], values["background"]
    length = len(list(product(expressions, backgrounds)))
    return [
        {
            "expression": expressions[i % len(expressions)],
            "background": backgrounds[(i + i // len(backgrounds)) % len(backgrounds)],
        }
        for i in range(length)
    ]


def _picture(style: str, seed: int, attributes: Attributes, *, size: int) -> Picture:
    if style in BASE_STYLES:
        image = draw(attributes, size, seed=seed)
    else:
        image = paint(style, _subject_options(SUBJECT_STYLES[style], attributes, seed), size)
    rights = license_of(style)
    return Picture(
        image=image,
        text=caption(attributes),
        text_ja=caption(attributes, "ja"),
        license=rights["license"],
        author=rights["author"],
        source=rights["source"],
        attributes=attributes,
    )


def _subject_options(
    style: SubjectStyle, attributes: Mapping[str, str], seed: int
) -> dict[str, object]:
    options: dict[str, object] = dict(style.fixed) | {"seed": f"sdlearn-{seed}"}
    options |= style.expression[attributes["expression"]]
    options |= style.glasses.get(attributes.get("glasses", ""), {})
    for name, (own_name, table) in style.colors.items():
        if name in attributes:
            options[f"{own_name}Color"] = [table[attributes[name]].hex]
    options["backgroundColor"] = [BACKGROUNDS[attributes["background"]].hex]
    return options | {"idRandomization": False}
