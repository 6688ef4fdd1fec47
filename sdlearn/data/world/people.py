"""People, creatures and robots of the picture world: DiceBear avatar styles, drawn by attribute.

`people.json` beside this says which of an artist's variants show which value, found by looking at
every one of them at 128 pixels. What it does not list confuses or cannot be seen that small. A
style's entry holds:

- `attributes`: attribute -> value -> component -> variants, one of which is drawn by chance; no
  variant leaves the component out. `NAMEColor` takes colours, or an attribute whose colour it is.
  Of two attributes that draw the same component, or hide each other, the later one wins.
- `colors`: attribute -> the style's own colours that take its colour.
- `hides`: attribute -> value -> attributes that it covers, which are then neither named nor drawn.
- `varied`: what no caption names, drawn by chance among these variants or colours.
- `repaint`: in which variants of a component a fill becomes another of the style's colours, so
  that hair drawn in ink has a colour; only above a height where the ink draws the chin as well.
- `fixed`: DiceBear options of every avatar of the style.
"""

import json
import random
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from typing import Any

_DATA = json.loads(files(__package__).joinpath("people.json").read_text("utf-8"))
COLORS: dict[str, dict[str, str]] = _DATA["colors"]
"""Colour attribute -> name of a colour -> its hexadecimal value."""
WORDS: dict[str, dict[str, tuple[str, str]]] = {
    name: {value: tuple(words) for value, words in table.items()}
    for name, table in _DATA["words"].items()
} | {
    name: {color: tuple(_DATA["color_words"][color]) for color in table}
    for name, table in COLORS.items()
}
"""Attribute -> value -> how an English and a Japanese caption say it; `{}` takes a colour."""
CONNECTIONS: dict[str, tuple[str, str]] = {
    name: tuple(words) for name, words in _DATA["connections"].items()
}
"""Attribute -> what ties it to the noun: "wearing" before its words, 「をかぶった」 after them."""
COLOR_OF = {"hair": "hair_color", "hat": "hat_color", "clothes": "clothes_color"}
"""Attribute -> the attribute whose colour is said with it."""
PLAIN = ("none", "two")
"""What most avatars have, and a caption seldom says."""
_Parts = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PeopleStyle:
    """One artist's drawing style, and the attributes that it shows truly."""

    name: str
    kind: str  # "person", "creature" or "robot": the noun of a caption
    full_body: bool  # False: a bust, cut off at its lower edge
    attributes: dict[str, Mapping[str, _Parts]]
    colors: _Parts
    varied: _Parts
    hides: Mapping[str, _Parts] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)

    def choices(self) -> dict[str, tuple[str, ...]]:
        """Every attribute this style can draw, and its values."""
        colors = {name: tuple(COLORS[name]) for name in self.colors}
        return {name: tuple(values) for name, values in self.attributes.items()} | colors

    def sample(self, rng: random.Random) -> dict[str, str]:
        """A true set of attributes: what another one hides is not in it."""
        visible, _ = self._complete({}, rng.getrandbits(64))
        hidden = set(self._hidden(visible))
        return {name: visible[name] for name in self.choices() if name in visible.keys() - hidden}

    def options(self, attributes: Mapping[str, str], rng: random.Random) -> dict[str, object]:
        """DiceBear options that draw these attributes; what no attribute says comes from `rng`.

        Every part has a chance of its own: whoever calls again with an equal `rng` and another
        expression gets the same character with another expression.

        Raises:
            ValueError: an attribute or value that the style has not, or one that another hides.
        """
        self._check(attributes)
        seed = rng.getrandbits(64)
        visible, covered = self._complete(attributes, seed)
        whole = visible | covered
        parts = dict(self.varied)
        for name, own_names in self.colors.items():
            parts |= {f"{own}Color": COLORS[name][whole[name]] for own in own_names.split()}
        for name, values in self.attributes.items():
            parts |= values[whole[name]]
        options: dict[str, object] = {"seed": str(seed), **self.fixed}
        for part, variants in parts.items():
            options |= _option(part, variants, whole, random.Random(f"{seed}-{part}"))
        return options

    def allowed(self, name: str, others: Mapping[str, str]) -> tuple[str, ...]:
        """The values of one attribute that can be seen beside others and leave those to be seen."""
        values = self.choices()[name]
        if name in self._hidden(others):
            return tuple(value for value in values if value in PLAIN)
        seen = {key for key, value in others.items() if value not in PLAIN}
        return tuple(v for v in values if seen.isdisjoint(self._hidden({name: v})))

    def _hidden(self, attributes: Mapping[str, str]) -> Iterator[str]:
        for name, value in attributes.items():
            yield from self.hides.get(name, {}).get(value, "").split()

    def _check(self, attributes: Mapping[str, str]) -> None:
        choices = self.choices()
        for name, value in attributes.items():
            if value not in choices.get(name, ()):
                allowed = choices.get(name) or f"only {sorted(choices)} can be set"
                raise ValueError(
                    f"{name} {value!r} cannot be drawn in {self.name} style: {allowed}"
                )
        for name, value in attributes.items():
            others = {key: other for key, other in attributes.items() if key != name}
            if value not in (allowed := self.allowed(name, others)):
                raise ValueError(
                    f"{name} {value!r} cannot be seen together with {others} in {self.name} style: "
                    f"{allowed or f'leave {name} out'}"
                )

    def _complete(
        self, attributes: Mapping[str, str], seed: int
    ) -> tuple[dict[str, str], dict[str, str]]:
        """These attributes and others by chance that leave them to be seen; then what is hidden."""
        visible, covered = dict(attributes), {}
        for name in (*reversed(self.attributes), *self.colors):  # a hat wins over the hair below
            if name in attributes:
                continue
            rng = random.Random(f"{seed}-{name}")
            drawn = _pick(self.choices()[name], rng)
            if allowed := self.allowed(name, visible):
                visible[name] = drawn if drawn in allowed else _pick(allowed, rng)
            elif name in self._hidden(visible):
                covered[name] = drawn
            else:
                raise ValueError(f"No {name} in {self.name} style leaves {attributes} to be seen")
        return visible, covered


def _plain(values: tuple[str, ...]) -> str | None:
    return next((value for value in values if value in PLAIN), None)


def _pick(values: tuple[str, ...], rng: random.Random) -> str:
    """Any value; the plain one at least half of the time, and more where others are few."""
    plain = _plain(values)
    others = [value for value in values if value != plain]
    if plain and rng.random() < max(0.5, 1 - 0.15 * len(others)):
        return plain
    return rng.choice(others)


def _option(
    part: str, variants: str, attributes: Mapping[str, str], rng: random.Random
) -> dict[str, object]:
    """One part as DiceBear takes it: a variant of a component, or a colour."""
    if not part.endswith("Color"):
        chosen = {f"{part}Variant": [rng.choice(variants.split())]} if variants else {}
        return chosen | {f"{part}Probability": 100 if variants else 0}
    if variants in attributes:
        return {part: [COLORS[variants][attributes[variants]]]}
    palette = variants.split()
    if variants in COLORS:
        palette = list(COLORS[variants].values())
    if variants == "skin":
        hair = COLORS["hair_color"].get(attributes.get("hair_color", ""))
        palette = [tone for tone in _DATA["skin"] if not hair or _differ(tone, hair)]
    return {part: [rng.choice(palette)]}


def _differ(first: str, second: str) -> bool:
    """Whether one can be seen on the other: a brown beard cannot on some brown skins."""
    rows = (bytes.fromhex(color[1:]) for color in (first, second))
    return sum(abs(a - b) for a, b in zip(*rows, strict=True)) > 100


def _styles(table: Mapping[str, dict[str, Any]]) -> dict[str, PeopleStyle]:
    given = {field.name for field in fields(PeopleStyle)}
    return {
        name: PeopleStyle(name=name, **{k: v for k, v in entry.items() if k in given})
        for name, entry in table.items()
    }


PEOPLE = _styles(_DATA["training"])
"""The styles of pretraining."""
SUBJECTS = _styles(_DATA["subjects"])
"""The styles that mini never sees in pretraining: whom the course fine-tunes on."""


@cache
def _style(name: str):  # type: ignore[no-untyped-def]
    from dicebear import Style

    style = json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text("utf-8"))
    entry = _DATA["training"].get(name) or _DATA["subjects"][name]
    for change in entry.get("repaint", ()):
        for name in change["variants"].split():
            _repaint(style["components"][change["component"]]["variants"][name], name, change)
    return Style(style)


def _repaint(variant: dict[str, Any], name: str, change: Mapping[str, Any]) -> None:
    """Give what is painted so another colour, or a copy of it that shows above a height only."""
    if "above" in change:
        copies = [deepcopy(e) for e in variant["elements"] if _has_fill(e, change["old"])]
        area = _element("path", {"d": f"M-999-999h2999V{change['above']}H-999Z"}, [])
        variant["elements"].append(_element("clipPath", {"id": f"above-{name}"}, [area]))
        variant["elements"].append(_element("g", {"clip-path": f"url(#above-{name})"}, copies))
        variant = variant["elements"][-1]
    for child in (*variant.get("elements", ()), *variant.get("children", ())):
        if _has_fill(child, change["old"]):
            child["attributes"]["fill"] = {"type": "color", "name": change["new"]}
        _repaint(child, name, {key: value for key, value in change.items() if key != "above"})


def _element(name: str, attributes: dict[str, str], children: list[Any]) -> dict[str, Any]:
    return {"type": "element", "name": name, "attributes": attributes, "children": children}


def _has_fill(element: Mapping[str, Any], fill: str) -> bool:
    return element.get("attributes", {}).get("fill") in (fill, {"type": "color", "name": fill})


def svg(style: str, options: Mapping[str, object]) -> str:
    """The avatar as an SVG document on a transparent ground, the same in every process."""
    from dicebear import Avatar

    still = {"animationVariant": ["none"]} if "animation" in _style(style).components() else {}
    fixed = {"idRandomization": False, "backgroundColor": []}
    return Avatar(_style(style), fixed | still | dict(options)).to_string()


def phrase(attribute: str, value: str, language: str, color: str = "") -> str:
    """How a caption says a value, with its colour where one goes with it: "an orange cap"."""
    position = ("en", "ja").index(language)
    words = WORDS[COLOR_OF[attribute]][color][position] if color else ""
    said = WORDS[attribute][value][position].format(
        f"{words} " if words and not position else words
    )
    return re.sub(r"\ba (?=[aeiou])", "an ", said)
