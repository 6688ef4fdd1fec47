"""What a picture of the world shows, as a flat dictionary of words, and what is never shown.

Everything is a function of `(seed, index)`: the same in every process and on every machine.

    noun, style            a subject and who drew it: a set for things and animals ("noto"), an
                           avatar style for people and creatures ("micah")
    color                  what a thing's main colour was turned to; absent: as its artist drew it
    hair, glasses, ...     of people and creatures: what their style can vary
    size, place            "small", "medium", "large"; "left", "middle", "right"
    scene, time            a place; "day" or "night" where those look different
    pattern, background    or a ground of one colour
    other_noun, other_color    a second subject of the same set, on the other side
"""

import random
from collections.abc import Mapping
from typing import NamedTuple

from sdlearn.data.world.drawings import SETS, colors, nouns
from sdlearn.data.world.people import PEOPLE
from sdlearn.data.world.words import (
    GROUND_COLORS,
    NOUNS,
    PATTERNS,
    PLACES,
    SCENES,
    SIZES,
    SUBJECT_COLORS,
)

Attributes = dict[str, str]
HELD_OUT_ONE_IN = 8
TIMES = ("day", "night")
_GROUND = ("scene", "time", "pattern", "background")
_OTHER_VIEW = 500_000_000  # added to a picture's seed for its second view
PEOPLE_SHARE, TWO_SHARE, SCENE_SHARE = 0.4, 0.1, 0.6  # of all pictures
_PLAIN_SHARE, _COLOR_SHARE, _NIGHT_SHARE = 0.5, 0.45, 0.3  # of those where it can be


class Shot(NamedTuple):
    """One picture: what `render.picture_svg` needs to draw it, and always the same."""

    seed: int
    attributes: Attributes
    who: int  # the subject's own seed, equal in two pictures of one subject


def sample_attributes(seed: int, index: int, *, held_out: bool = False) -> Attributes:
    """Attributes of picture `index`.

    Args:
        held_out: draw from the combinations that training never sees, instead of the others.
    """
    rng = random.Random(f"sdlearn-world-{seed}-{index}")
    while True:
        attributes = _draw(rng)
        if is_held_out(attributes) == held_out:
            return attributes


def _draw(rng: random.Random) -> Attributes:
    kind = rng.random()
    if kind < PEOPLE_SHARE:
        style = PEOPLE[rng.choice(sorted(PEOPLE))]
        subject = {"noun": style.kind, "style": style.name, **style.sample(rng)}
    else:
        name = rng.choice(SETS)
        subject = {"style": name, **_thing(name, rng)}
        if kind > 1 - TWO_SHARE:
            other = {f"other_{k}": v for k, v in _thing(name, rng).items()}
            place = {"place": rng.choice(("left", "right"))}
            return {**subject, **other, **place, **_ground({**subject, **other}, rng)}
    return {**subject, **_position(rng), **_ground(subject, rng)}


def _thing(name: str, rng: random.Random) -> Attributes:
    thing = {"noun": rng.choice(nouns(name))}
    if colors(name, thing["noun"]) and rng.random() < _COLOR_SHARE:
        thing["color"] = rng.choice(colors(name, thing["noun"]))
    return thing


def _position(rng: random.Random) -> Attributes:
    return {"size": rng.choice(sorted(SIZES)), "place": rng.choice(sorted(PLACES))}


def _ground(subject: Mapping[str, str], rng: random.Random) -> Attributes:
    """A place, or a ground that is not of the subject's own colour: one would not see it there."""
    if rng.random() < SCENE_SHARE:
        scene = {"scene": rng.choice(list(SCENES))}
        if SCENES[scene["scene"]].has_night:
            scene["time"] = "night" if rng.random() < _NIGHT_SHARE else "day"
        return scene
    figures = [name for name in PATTERNS if name != "plain"]
    name = "plain" if rng.random() < _PLAIN_SHARE else rng.choice(figures)
    own = {subject.get(name) for name in ("color", "other_color", "body_color")}
    return {
        "pattern": name,
        "background": rng.choice([color for color in GROUND_COLORS if color not in own]),
    }


def is_held_out(attributes: Mapping[str, str]) -> bool:
    """Whether training never sees this combination: fixed by rule.

    One noun in eight of each set is never drawn by that set, and one pair in eight of noun and
    scene, or of person's colour and ground, never meets. Each word alone is common.
    """
    a = attributes
    subjects = [a.get("noun", ""), a.get("other_noun", "")]
    return any(_is_held_out(noun, a) for noun in subjects if noun)


def _is_held_out(noun: str, attributes: Mapping[str, str]) -> bool:
    grounds = [*SCENES, *GROUND_COLORS]
    ground = grounds.index(attributes.get("scene") or attributes["background"])
    if noun in NOUNS:
        index = list(NOUNS).index(noun)
        return is_held_out_drawing(noun, attributes["style"]) or (
            "scene" in attributes and (index + 3 * ground + 5) % HELD_OUT_ONE_IN == 0
        )
    color = attributes.get("hair_color") or attributes.get("body_color") or ""
    style = sorted(PEOPLE).index(attributes["style"])
    return (sum(map(ord, color)) + 3 * style + ground) % HELD_OUT_ONE_IN == 0


def is_held_out_drawing(noun: str, style: str) -> bool:
    """Whether training never sees this set's drawing of the noun."""
    return (list(NOUNS).index(noun) + 3 * SETS.index(style)) % HELD_OUT_ONE_IN == 0


def pictures(number: int, *, seed: int = 0, held_out: bool = False) -> list[Shot]:
    """The first `number` pictures of the world with this seed."""
    first = seed * 1_000_003
    return [
        Shot(first + i, sample_attributes(seed, i, held_out=held_out), first + i)
        for i in range(number)
    ]


def other_view(shot: Shot) -> Shot:
    """The same subjects elsewhere: another ground, size and place, another expression."""
    rng = random.Random(f"sdlearn-view-{shot.seed}")
    elsewhere = {k: v for k, v in shot.attributes.items() if k not in _GROUND}
    elsewhere |= _ground(elsewhere, rng)
    if "size" in elsewhere:
        elsewhere |= _position(rng)
    if "expression" in elsewhere:
        own = {k: v for k, v in elsewhere.items() if k in PEOPLE[elsewhere["style"]].choices()}
        allowed = PEOPLE[elsewhere["style"]].allowed("expression", own)
        elsewhere["expression"] = rng.choice(allowed)
    return Shot(shot.seed + _OTHER_VIEW, elsewhere, shot.who)


def attribute_values() -> dict[str, tuple[str, ...]]:
    """Everything that can be read off a picture, and its values: `readable` attributes."""
    kinds = sorted({style.kind for style in PEOPLE.values()})
    found: dict[str, list[str]] = {
        "noun": [*NOUNS, *kinds],
        "style": [*SETS, *PEOPLE],
        "color": list(SUBJECT_COLORS),
        "size": list(SIZES),
        "place": list(PLACES),
        "scene": list(SCENES),
        "time": list(TIMES),
        "pattern": list(PATTERNS),
        "background": list(GROUND_COLORS),
        "left_noun": list(NOUNS),
        "right_noun": list(NOUNS),
    }
    for style in PEOPLE.values():
        for name, values in style.choices().items():
            known = found.setdefault(name, [])
            known += [value for value in values if value not in known]
    return {name: tuple(values) for name, values in found.items()}


def readable(attributes: Mapping[str, str]) -> Attributes:
    """What one can read off a picture: of two subjects, which noun is left and which is right."""
    if "other_noun" not in attributes:
        return dict(attributes)
    nouns = attributes["noun"], attributes["other_noun"]
    left, right = nouns if attributes["place"] == "left" else reversed(nouns)
    kept = ("style", "scene", "time", "pattern", "background")
    return {k: attributes[k] for k in kept if k in attributes} | {
        "left_noun": left,
        "right_noun": right,
    }
