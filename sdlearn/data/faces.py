"""The picture world: characters with exact attributes, true captions, and a held-out rule.

Everything is a function of `(seed, index)`: the same in every process and on every machine.
"""

import random
from collections.abc import Mapping

from sdlearn.data.styles import BASE_STYLES
from sdlearn.data.vocabulary import (
    BACKGROUNDS,
    BODY_COLORS,
    CLOTHES_COLORS,
    EXPRESSIONS,
    GLASSES,
    HAIR,
    HAIR_COLORS,
    SKIN_TONES,
    TOPS,
)

Attributes = dict[str, str]
HELD_OUT_ONE_IN = 10
ATTRIBUTE_VALUES: dict[str, tuple[str, ...]] = {
    "style": tuple(sorted(BASE_STYLES)),
    "hair": tuple(HAIR),
    "hair_color": tuple(HAIR_COLORS),
    "expression": tuple(EXPRESSIONS),
    "glasses": tuple(GLASSES),
    "clothes_color": tuple(CLOTHES_COLORS),
    "body_color": tuple(BODY_COLORS),
    "top": tuple(TOPS),
    "background": tuple(BACKGROUNDS),
}
_COLORS = {
    "hair_color": HAIR_COLORS,
    "clothes_color": CLOTHES_COLORS,
    "body_color": BODY_COLORS,
}


def sample_attributes(seed: int, index: int, *, held_out: bool = False) -> Attributes:
    """Attributes of character `index`: every style equally often, every value of it too.

    Args:
        held_out: draw from the combinations that training never sees, instead of the others.
    """
    rng = random.Random(f"sdlearn-world-{seed}-{index}")
    while True:
        attributes = _draw(rng)
        if is_held_out(attributes) == held_out:
            return attributes


def _draw(rng: random.Random) -> Attributes:
    style = BASE_STYLES[rng.choice(sorted(BASE_STYLES))]
    attributes = {"style": style.name}
    for name, values in style.choices().items():
        attributes[name] = rng.choice(values)
    if "glasses" in attributes and rng.random() < 0.25:  # about half of the people wear none
        attributes["glasses"] = "none"
    attributes["background"] = rng.choice(list(BACKGROUNDS))
    return attributes


def is_held_out(attributes: Mapping[str, str]) -> bool:
    """Whether training never sees this combination: one in ten, fixed by rule.

    In each style, each hair colour (or body colour) has one or two backgrounds it is never
    shown on. The single values are all common, only their combination is new.
    """
    colors = HAIR_COLORS if "hair_color" in attributes else BODY_COLORS
    color = attributes.get("hair_color") or attributes["body_color"]
    position = (
        7 * sorted(BASE_STYLES).index(attributes["style"])
        + 3 * list(colors).index(color)
        + list(BACKGROUNDS).index(attributes["background"])
    )
    return position % HELD_OUT_ONE_IN == 0


def check_attributes(attributes: Mapping[str, str]) -> None:
    """Raises `ValueError` naming the attribute and the values it may take."""
    name = attributes.get("style", "")
    if name not in BASE_STYLES:
        raise ValueError(f"style {name!r} is not a base style: choose from {sorted(BASE_STYLES)}")
    choices = BASE_STYLES[name].choices() | {"background": tuple(BACKGROUNDS)}
    for key, value in attributes.items():
        if key != "style" and value not in choices.get(key, ()):
            allowed = choices.get(key) or "no such attribute"
            raise ValueError(f"{key} {value!r} cannot be drawn in {name} style: {allowed}")


def avatar_options(attributes: Mapping[str, str], rng: random.Random) -> dict[str, object]:
    """DiceBear options that draw these attributes; skin tone and the like come from `rng`."""
    check_attributes(attributes)
    style = BASE_STYLES[attributes["style"]]
    options: dict[str, object] = dict(style.fixed)
    for part in ("hair", "top", "expression", "glasses"):
        if part in attributes:
            options |= getattr(style, part)[attributes[part]]
    for part, names in _COLORS.items():
        if part in attributes:
            for own_name in getattr(style, part):
                options[f"{own_name}Color"] = [names[attributes[part]].hex]
    if style.skin:
        options[f"{style.skin}Color"] = [rng.choice(SKIN_TONES)]
    options["backgroundColor"] = [BACKGROUNDS[attributes["background"]].hex]
    return options | {"seed": "sdlearn", "idRandomization": False}
