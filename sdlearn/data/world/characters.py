"""A subject of one's own: a person, a creature, an animal or a thing, drawn several times.

It stays itself; where it stands, how large, and what it looks like doing so changes.
"""

import random
from collections.abc import Iterator, Mapping

from sdlearn.data.folder import Picture
from sdlearn.data.licenses import license_of
from sdlearn.data.world.attributes import TIMES, Attributes
from sdlearn.data.world.captions import caption
from sdlearn.data.world.drawings import SETS, SUBJECT_SETS, colors, nouns
from sdlearn.data.world.people import PEOPLE, SUBJECTS
from sdlearn.data.world.render import draw
from sdlearn.data.world.words import GROUND_COLORS, PATTERNS, PLACES, SCENES, SIZES

STYLES = (*SETS, *SUBJECT_SETS, *PEOPLE, *SUBJECTS)
SITUATION = {  # what differs between the pictures of one subject
    "size": tuple(SIZES),
    "place": tuple(PLACES),
    "scene": tuple(SCENES),
    "time": TIMES,
    "pattern": tuple(PATTERNS),
    "background": tuple(GROUND_COLORS),
}
_SCENE_OF_TWO = 2  # every second picture is in a place, the others on a ground of one colour


def draw_character(
    style: str,
    seed: int,
    number: int = 5,
    size: int = 256,
    *,
    subject: str | None = None,
    **attributes: str,
) -> list[Picture]:
    """Draw one subject in different places, sizes and, for people, expressions.

    Args:
        style: who draws it: a set for things and animals, an avatar style for people. `SUBJECTS`
            and `SUBJECT_SETS` hold those that mini has never seen.
        seed: which subject: everything that no argument says follows from it.
        number: pictures.
        size: height and width in pixels.
        subject: which thing or animal of a set, by its noun ("cat").
        attributes: what the subject shall have, for example `color="blue"` or `glasses="round"`.
            A given expression, place or ground stays the same in all pictures.

    Returns:
        Pictures with true captions in both languages, attributes, licence, artist and source.

    Raises:
        ValueError: the style, the subject or the value of an attribute does not exist; says
            which do.
    """
    if style not in STYLES:
        raise ValueError(f"style {style!r} does not exist: choose from {sorted(STYLES)}")
    rng = random.Random(f"sdlearn-character-{style}-{seed}")
    if "scene" in attributes and {"pattern", "background"} & set(attributes):
        raise ValueError("a picture has a scene or a ground of one colour: give one of them")
    itself = _person(style, subject, attributes, rng) or _thing(style, subject, attributes, rng)
    pictures = _situations(itself, attributes, rng)
    who = rng.getrandbits(31)
    return [
        _picture({**itself, **next(pictures)}, seed=who + i, who=who, size=size)
        for i in range(number)
    ]


def subject_choices(style: str, subject: str | None = None) -> dict[str, tuple[str, ...]]:
    """Every attribute that can be set of a subject, and its values.

    Args:
        subject: the thing or animal of a set; None where the style draws people.
    """
    people = PEOPLE.get(style) or SUBJECTS.get(style)
    if people is not None:
        return people.choices() | SITUATION
    own = colors(style, subject) if subject else ()
    return ({"color": own} if own else {}) | SITUATION


def _check(attributes: Mapping[str, str], choices: Mapping[str, tuple[str, ...]], of: str) -> None:
    for name, value in attributes.items():
        if value not in choices.get(name, ()):
            allowed = choices.get(name) or f"only {sorted(choices)} can be set"
            raise ValueError(f"{name} {value!r} cannot be drawn of {of}: {allowed}")


def _thing(
    style: str, subject: str | None, attributes: Mapping[str, str], rng: random.Random
) -> Attributes:
    chosen = rng.choice(nouns(style))
    noun = subject or chosen
    if noun not in nouns(style):
        raise ValueError(f"{style} draws no {noun!r}: choose from {sorted(nouns(style))}")
    _check(attributes, subject_choices(style, noun), f"{noun} in {style} style")
    itself = {"noun": noun, "style": style}
    if "color" in attributes:
        itself["color"] = attributes["color"]
    return itself


def _person(
    style: str, subject: str | None, attributes: Mapping[str, str], rng: random.Random
) -> Attributes | None:
    people = PEOPLE.get(style) or SUBJECTS.get(style)
    if people is None:
        return None
    if subject not in (None, people.kind):
        raise ValueError(f"{style} draws a {people.kind} and no {subject!r}: leave --subject out")
    _check(attributes, subject_choices(style), f"{style} style")
    own = {k: v for k, v in attributes.items() if k in people.choices()}
    for name, value in people.sample(rng).items():
        if name not in own and name != "expression" and value in people.allowed(name, own):
            own[name] = value
    return {"noun": people.kind, "style": style, **own}


def _situations(
    itself: Mapping[str, str], given: Mapping[str, str], rng: random.Random
) -> Iterator[Attributes]:
    """Situation after situation: places and grounds in turn, no two alike before all were there."""
    expressions: tuple[str, ...] = ()
    people = PEOPLE.get(itself["style"]) or SUBJECTS.get(itself["style"])
    if people is not None and "expression" in people.choices():
        own = {k: v for k, v in itself.items() if k in people.choices()}
        expressions = people.allowed("expression", own)
    rows = {**SITUATION, "expression": expressions}
    shuffled = {name: rng.sample(values, len(values)) for name, values in rows.items()}
    in_scene = "scene" in given or not {"pattern", "background"} & set(given)
    on_ground = "scene" not in given
    count = 0
    while True:
        turn = {name: values[count % len(values)] for name, values in shuffled.items() if values}
        turn |= {name: value for name, value in given.items() if name in rows}
        scene = in_scene and (not on_ground or count % _SCENE_OF_TWO == 0)
        ground = ("scene",) if scene else ("pattern", "background")
        if scene and SCENES[turn["scene"]].has_night:
            ground = ("scene", "time")
        kept = ("size", "place", *ground, *(["expression"] if expressions else []))
        yield {name: turn[name] for name in kept}
        count += 1


def _picture(attributes: Attributes, *, seed: int, who: int, size: int) -> Picture:
    rights = license_of(attributes["style"])
    spoken = {k: v for k, v in attributes.items() if k != "time" or v == "night"}
    if spoken.get("pattern") == "plain":
        del spoken["pattern"]
    return Picture(
        image=draw(attributes, size, seed=seed, who=who),
        text=caption(spoken),
        text_ja=caption(spoken, "ja"),
        license=rights["license"],
        author=rights["author"],
        source=rights["source"],
        attributes=attributes,
    )
