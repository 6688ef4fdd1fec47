"""Drawing styles that mini never sees in pretraining: whom the course fine-tunes on.

`lorelei` and `adventurer` are also "your own drawing style" for full fine-tuning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sdlearn.data.styles import Options, parts, without
from sdlearn.data.vocabulary import BODY_COLORS, CLOTHES_COLORS, HAIR_COLORS, Color


@dataclass(frozen=True, kw_only=True)
class SubjectStyle:
    """One artist's style outside the base styles, and the attributes it can show truly."""

    name: str
    kind: str = "person"
    expression: Mapping[str, Options]
    glasses: Mapping[str, Options] = field(default_factory=dict)
    colors: Mapping[str, tuple[str, Mapping[str, Color]]] = field(default_factory=dict)
    fixed: Options = field(default_factory=dict)  # what every character of the style shares

    def choices(self) -> dict[str, tuple[str, ...]]:
        """Attributes one may set, but for the background, and their values."""
        found = {"expression": tuple(self.expression), "glasses": tuple(self.glasses)}
        found |= {name: tuple(table) for name, (_, table) in self.colors.items()}
        return {name: values for name, values in found.items() if values}


def _mouths(**variants: str) -> dict[str, Options]:
    return {expression: parts(mouth=variant) for expression, variant in variants.items()}


def _creature(name: str, body: str, fixed: Options, **mouths: str) -> SubjectStyle:
    return SubjectStyle(
        name=name,
        kind="creature",
        expression=_mouths(**mouths),
        colors={"body_color": (body, BODY_COLORS)},
        fixed={**parts(animation="none"), **fixed},
    )


ADVENTURER = SubjectStyle(
    name="adventurer",
    expression=_mouths(
        smiling="variant01", laughing="variant26", sad="variant14", surprised="variant03"
    ),
    glasses={
        "none": without("glasses"),
        "round": parts(glasses="variant04"),
        "square": parts(glasses="variant02"),
        "sunglasses": parts(glasses="variant01"),
    },
    colors={"hair_color": ("hair", HAIR_COLORS)},
    fixed=without("details", "earrings"),
)

LORELEI = SubjectStyle(
    name="lorelei",
    expression=_mouths(smiling="happy01", laughing="happy05", sad="sad04", surprised="sad01"),
    glasses={
        "none": without("glasses"),
        "round": parts(glasses="variant01"),
        "square": parts(glasses="variant05"),
        "sunglasses": parts(glasses="variant02"),
    },
    colors={"hair_color": ("hair", HAIR_COLORS)},
    fixed=without("beard", "earrings", "freckles", "hairAccessories"),
)

BIG_SMILE = SubjectStyle(
    name="big-smile",
    expression={
        "smiling": parts(mouth="teethSmile", eyes="cheery"),
        "laughing": parts(mouth="openedSmile", eyes="cheery"),
        "sad": parts(mouth="openSad", eyes="sad"),
    },
    glasses={
        "none": without("accessories"),
        "round": parts(accessories="glasses"),
        "sunglasses": parts(accessories="sunglasses"),
    },
    colors={"hair_color": ("hair", HAIR_COLORS)},
)

DYLAN = SubjectStyle(
    name="dylan",
    expression={
        "smiling": parts(mood="happy"),
        "laughing": parts(mood="superHappy"),
        "sad": parts(mood="sad"),
    },
    colors={"hair_color": ("hair", HAIR_COLORS)},
)

NOTIONISTS = SubjectStyle(
    name="notionists",
    expression=_mouths(smiling="variant05", surprised="variant15"),
    glasses={
        "none": without("glasses"),
        "round": parts(glasses="variant11"),
        "sunglasses": parts(glasses="variant01"),
    },
    fixed=without("gesture", "clothesGraphic"),
)

PIXEL_ART = SubjectStyle(
    name="pixel-art",
    expression=_mouths(smiling="happy01", laughing="happy12", sad="sad01"),
    colors={"hair_color": ("hair", HAIR_COLORS), "clothes_color": ("clothing", CLOTHES_COLORS)},
    fixed=without("glasses", "hat", "accessories", "beard"),
)

SUBJECT_STYLES = {
    style.name: style
    for style in (
        ADVENTURER,
        LORELEI,
        BIG_SMILE,
        DYLAN,
        NOTIONISTS,
        PIXEL_ART,
        _creature("moods", "face", {}, smiling="smile", laughing="laugh", sad="frown"),
        _creature("clay", "body", {}, smiling="smile", sad="frown", surprised="o"),
    )
}
