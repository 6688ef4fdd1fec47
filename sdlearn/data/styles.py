"""The six base styles: which attribute values each can draw, and with which of its artist's parts.

Drawings are DiceBear avatar styles; their artists and licences are in `data/licenses.json`.
Only parts that a caption can name, or that change little, are used: a small world is learnt well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sdlearn.data.vocabulary import BODY_COLORS, CLOTHES_COLORS, EXPRESSIONS, HAIR_COLORS

Options = Mapping[str, object]
"""Options as `dicebear.Avatar` takes them, for example `{"mouthVariant": ["smile"]}`."""


def _parts(**variants: str) -> dict[str, object]:
    """`hair="full"` becomes the options that draw exactly that part."""
    options: dict[str, object] = {}
    for component, variant in variants.items():
        options |= {f"{component}Variant": [variant], f"{component}Probability": 100}
    return options


def _without(*components: str) -> dict[str, object]:
    return {f"{component}Probability": 0 for component in components}


@dataclass(frozen=True, kw_only=True)
class BaseStyle:
    """One artist's drawing style: attribute value -> DiceBear options."""

    name: str
    kind: str = "person"
    hair: Mapping[str, Options] = field(default_factory=dict)
    top: Mapping[str, Options] = field(default_factory=dict)
    expression: Mapping[str, Options] = field(default_factory=dict)
    glasses: Mapping[str, Options] = field(default_factory=dict)
    hair_color: tuple[str, ...] = ()  # names of the style's own colours that the attribute sets
    clothes_color: tuple[str, ...] = ()
    body_color: tuple[str, ...] = ()
    skin: str = ""
    fixed: Options = field(default_factory=dict)  # what every picture of the style shares

    def choices(self) -> dict[str, tuple[str, ...]]:
        """Every attribute this style can vary, but for the background, and its values."""
        found = {
            "hair": tuple(self.hair),
            "hair_color": tuple(HAIR_COLORS) if self.hair_color else (),
            "top": tuple(self.top),
            "body_color": tuple(BODY_COLORS) if self.body_color else (),
            "expression": tuple(EXPRESSIONS),
            "glasses": tuple(self.glasses),
            "clothes_color": tuple(CLOTHES_COLORS) if self.clothes_color else (),
        }
        return {name: values for name, values in found.items() if values}


MICAH = BaseStyle(
    name="micah",
    hair={
        "short": _parts(hair="fonze"),
        "long": _parts(hair="full"),
        "bob": _parts(hair="pixie"),
        "mohawk": _parts(hair="mrT"),
    },
    expression={
        "smiling": _parts(mouth="smile", eyes="eyes"),
        "laughing": _parts(mouth="laughing", eyes="smiling"),
        "sad": _parts(mouth="frown", eyes="eyes", eyebrows="down"),
        "surprised": _parts(mouth="surprised", eyes="round"),
    },
    glasses={
        "none": _without("glasses"),
        "round": _parts(glasses="round"),
        "square": _parts(glasses="square"),
    },
    hair_color=("hair", "eyebrows"),
    clothes_color=("shirt",),
    skin="base",
    fixed={
        **_parts(nose="curve", ears="attached", clothes="crew", eyebrows="up"),
        **_without("earrings", "facialHair"),
        "glassesColor": ["#1b1b1f"],
        "eyesColor": ["#000000"],
        "mouthColor": ["#000000"],
    },
)

OPEN_PEEPS = BaseStyle(
    name="open-peeps",
    hair={
        "short": _parts(head="grayShort"),
        "bob": _parts(head="bangs"),
        "bun": _parts(head="grayBun"),
        "curly": _parts(head="mediumBangs2"),
        "mohawk": _parts(head="mohawk"),
    },
    expression={
        "smiling": _parts(expression="smile"),
        "laughing": _parts(expression="smileBig"),
        "sad": _parts(expression="solemn"),
        "surprised": _parts(expression="awe"),
    },
    glasses={
        "none": _without("accessories"),
        "round": _parts(accessories="glasses2"),
        "sunglasses": _parts(accessories="sunglasses2"),
    },
    hair_color=("headContrast",),
    clothes_color=("clothing",),
    skin="skin",
    fixed=_without("facialHair", "mask"),
)

TOON_HEAD = BaseStyle(
    name="toon-head",
    hair={
        "short": {**_parts(hair="sideComed"), **_without("rearHair")},
        "long": _parts(hair="sideComed", rearHair="longStraight"),
        "bob": _parts(hair="sideComed", rearHair="neckHigh"),
        "bun": {**_parts(hair="bun"), **_without("rearHair")},
        "spiky": {**_parts(hair="spiky"), **_without("rearHair")},
    },
    expression={
        "smiling": _parts(mouth="smile", eyes="wide", eyebrows="neutral"),
        "laughing": _parts(mouth="laugh", eyes="bow", eyebrows="happy"),
        "sad": _parts(mouth="sad", eyes="humble", eyebrows="sad"),
        "surprised": _parts(mouth="agape", eyes="wide", eyebrows="raised"),
    },
    hair_color=("hair",),
    clothes_color=("clothes",),
    skin="skin",
    fixed={**_parts(clothes="turtleNeck"), **_without("beard")},
)

PERSONAS = BaseStyle(
    name="personas",
    hair={
        "short": _parts(hair="shortCombover"),
        "long": _parts(hair="extraLong"),
        "bob": _parts(hair="bobCut"),
        "bun": _parts(hair="straightBun"),
        "curly": _parts(hair="curly"),
        "pigtails": _parts(hair="pigtails"),
    },
    expression={
        "smiling": _parts(mouth="smile", eyes="open"),
        "laughing": _parts(mouth="bigSmile", eyes="happy"),
        "sad": _parts(mouth="frown", eyes="sleep"),
        "surprised": _parts(mouth="surprise", eyes="open"),
    },
    glasses={
        "none": {},
        "square": _parts(eyes="glasses"),
        "sunglasses": _parts(eyes="sunglasses"),
    },
    hair_color=("hair",),
    clothes_color=("clothing",),
    skin="skin",
    fixed={**_parts(nose="mediumRound", clothes="rounded"), **_without("facialHair")},
)

VOXEL_ART = BaseStyle(
    name="voxel-art",
    hair={
        "short": _parts(top="short"),
        "long": _parts(top="longStraight"),
        "bob": _parts(top="bob"),
        "spiky": _parts(top="spiky"),
        "curly": _parts(top="afro"),
        "mohawk": _parts(top="mohawk"),
    },
    expression={
        "smiling": _parts(mouth="wideSmile", eyes="open"),
        "laughing": _parts(mouth="laugh", eyes="happy"),
        "sad": _parts(mouth="frown", eyes="sleepy"),
        "surprised": _parts(mouth="ooh", eyes="wide"),
    },
    glasses={
        "none": _without("glasses"),
        "square": _parts(glasses="square"),
        "sunglasses": _parts(glasses="shades"),
    },
    hair_color=("hair",),
    clothes_color=("shirt",),
    skin="skin",
    fixed={
        **_parts(outfit="plain", nose="small", eyebrows="soft", animation="none"),
        **_without("beard", "cheeks"),
        "pantsColor": ["#3b5b8c"],
        "shoesColor": ["#343a40"],
    },
)

CRITTERS = BaseStyle(
    name="critters",
    kind="creature",
    top={
        "horns": _parts(top="horns"),
        "antennae": _parts(top="antennae"),
        "ears": _parts(top="earsRound"),
        "spikes": _parts(top="spikes"),
    },
    expression={
        "smiling": _parts(mouth="smile", eyes="round"),
        "laughing": _parts(mouth="grin", eyes="happy"),
        "sad": _parts(mouth="frown", eyes="sleepy"),
        "surprised": _parts(mouth="open", eyes="wide"),
    },
    body_color=("body", "accent"),
    fixed={**_parts(animation="none", body="dome"), **_without("pattern", "cheeks")},
)

BASE_STYLES = {
    style.name: style for style in (MICAH, OPEN_PEEPS, TOON_HEAD, PERSONAS, VOXEL_ART, CRITTERS)
}
