"""The six base styles: which attribute values each can draw, and with which of its artist's parts.

Drawings are DiceBear avatar styles; their artists and licences are in `data/licenses.json`.
Only parts that a caption can name, or that change little, are used: a small world is learnt well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sdlearn.data.vocabulary import BODY_COLORS, CLOTHES_COLORS, EXPRESSIONS, HAIR_COLORS

Options = Mapping[str, object]
"""Options as `dicebear.Avatar` takes them, for example `{"mouthVariant": ["smile"]}`."""


def parts(**variants: str) -> dict[str, object]:
    """`hair="full"` becomes the options that draw exactly that part."""
    options: dict[str, object] = {}
    for component, variant in variants.items():
        options |= {f"{component}Variant": [variant], f"{component}Probability": 100}
    return options


def without(*components: str) -> dict[str, object]:
    """The options that leave these components out."""
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
        "short": parts(hair="fonze"),
        "long": parts(hair="full"),
        "bob": parts(hair="pixie"),
        "mohawk": parts(hair="mrT"),
    },
    expression={
        "smiling": parts(mouth="smile", eyes="eyes"),
        "laughing": parts(mouth="laughing", eyes="smiling"),
        "sad": parts(mouth="frown", eyes="eyes", eyebrows="down"),
        "surprised": parts(mouth="surprised", eyes="round"),
    },
    glasses={
        "none": without("glasses"),
        "round": parts(glasses="round"),
        "square": parts(glasses="square"),
    },
    hair_color=("hair", "eyebrows"),
    clothes_color=("shirt",),
    skin="base",
    fixed={
        **parts(nose="curve", ears="attached", clothes="crew", eyebrows="up"),
        **without("earrings", "facialHair"),
        "glassesColor": ["#1b1b1f"],
        "eyesColor": ["#000000"],
        "mouthColor": ["#000000"],
    },
)

OPEN_PEEPS = BaseStyle(
    name="open-peeps",
    hair={
        "short": parts(head="grayShort"),
        "bob": parts(head="bangs"),
        "bun": parts(head="grayBun"),
        "curly": parts(head="mediumBangs2"),
        "mohawk": parts(head="mohawk"),
    },
    expression={
        "smiling": parts(expression="smile"),
        "laughing": parts(expression="smileBig"),
        "sad": parts(expression="solemn"),
        "surprised": parts(expression="awe"),
    },
    glasses={
        "none": without("accessories"),
        "round": parts(accessories="glasses2"),
        "sunglasses": parts(accessories="sunglasses2"),
    },
    hair_color=("headContrast",),
    clothes_color=("clothing",),
    skin="skin",
    fixed=without("facialHair", "mask"),
)

TOON_HEAD = BaseStyle(
    name="toon-head",
    hair={
        "short": {**parts(hair="sideComed"), **without("rearHair")},
        "long": parts(hair="sideComed", rearHair="longStraight"),
        "bob": parts(hair="sideComed", rearHair="neckHigh"),
        "bun": {**parts(hair="bun"), **without("rearHair")},
        "spiky": {**parts(hair="spiky"), **without("rearHair")},
    },
    expression={
        "smiling": parts(mouth="smile", eyes="wide", eyebrows="neutral"),
        "laughing": parts(mouth="laugh", eyes="bow", eyebrows="happy"),
        "sad": parts(mouth="sad", eyes="humble", eyebrows="sad"),
        "surprised": parts(mouth="agape", eyes="wide", eyebrows="raised"),
    },
    hair_color=("hair",),
    clothes_color=("clothes",),
    skin="skin",
    fixed={**parts(clothes="turtleNeck"), **without("beard")},
)

PERSONAS = BaseStyle(
    name="personas",
    hair={
        "short": parts(hair="shortCombover"),
        "long": parts(hair="extraLong"),
        "bob": parts(hair="bobCut"),
        "bun": parts(hair="straightBun"),
        "curly": parts(hair="curly"),
        "pigtails": parts(hair="pigtails"),
    },
    expression={
        "smiling": parts(mouth="smile", eyes="open"),
        "laughing": parts(mouth="bigSmile", eyes="happy"),
        "sad": parts(mouth="frown", eyes="sleep"),
        "surprised": parts(mouth="surprise", eyes="open"),
    },
    glasses={
        "none": {},
        "square": parts(eyes="glasses"),
        "sunglasses": parts(eyes="sunglasses"),
    },
    hair_color=("hair",),
    clothes_color=("clothing",),
    skin="skin",
    fixed={**parts(nose="mediumRound", clothes="rounded"), **without("facialHair")},
)

VOXEL_ART = BaseStyle(
    name="voxel-art",
    hair={
        "short": parts(top="short"),
        "long": parts(top="longStraight"),
        "bob": parts(top="bob"),
        "spiky": parts(top="spiky"),
        "curly": parts(top="afro"),
        "mohawk": parts(top="mohawk"),
    },
    expression={
        "smiling": parts(mouth="wideSmile", eyes="open"),
        "laughing": parts(mouth="laugh", eyes="happy"),
        "sad": parts(mouth="frown", eyes="sleepy"),
        "surprised": parts(mouth="ooh", eyes="wide"),
    },
    glasses={
        "none": without("glasses"),
        "square": parts(glasses="square"),
        "sunglasses": parts(glasses="shades"),
    },
    hair_color=("hair",),
    clothes_color=("shirt",),
    skin="skin",
    fixed={
        **parts(outfit="plain", nose="small", eyebrows="soft", animation="none"),
        **without("beard", "cheeks"),
        "pantsColor": ["#3b5b8c"],
        "shoesColor": ["#343a40"],
    },
)

CRITTERS = BaseStyle(
    name="critters",
    kind="creature",
    top={
        "horns": parts(top="horns"),
        "antennae": parts(top="antennae"),
        "ears": parts(top="earsRound"),
        "spikes": parts(top="spikes"),
    },
    expression={
        "smiling": parts(mouth="smile", eyes="round"),
        "laughing": parts(mouth="grin", eyes="happy"),
        "sad": parts(mouth="frown", eyes="sleepy"),
        "surprised": parts(mouth="open", eyes="wide"),
    },
    body_color=("body", "accent"),
    fixed={**parts(animation="none", body="dome"), **without("pattern", "cheeks")},
)

BASE_STYLES = {
    style.name: style for style in (MICAH, OPEN_PEEPS, TOON_HEAD, PERSONAS, VOXEL_ART, CRITTERS)
}
