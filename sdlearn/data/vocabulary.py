"""The words of the picture world: every value an attribute can take, its colour and its names.

Attributes are plain `dict[str, str]`. People have `style, hair, hair_color, expression, glasses,
clothes_color, background`; creatures have `style, body_color, top, expression, background`.
"""

from typing import NamedTuple


class Color(NamedTuple):
    """A named colour: its pixels, and how a Japanese caption says it before a noun."""

    hex: str
    ja: str


BACKGROUNDS = {
    "red": Color("#e5484d", "赤い"),
    "orange": Color("#f59a3c", "オレンジの"),
    "yellow": Color("#ffdb57", "黄色い"),
    "green": Color("#6cc070", "緑の"),
    "turquoise": Color("#4cc9c0", "水色の"),
    "blue": Color("#4f83e8", "青い"),
    "purple": Color("#9464d4", "紫の"),
    "pink": Color("#f8a9c9", "ピンクの"),
    "white": Color("#f8f8f6", "白い"),
    "gray": Color("#9da3a9", "灰色の"),
}

HAIR_COLORS = {
    "black": Color("#231f26", "黒い"),
    "brown": Color("#75482a", "茶色の"),
    "blond": Color("#ecca62", "金色の"),
    "red": Color("#c93a2c", "赤い"),
    "green": Color("#35a155", "緑の"),
    "blue": Color("#3a6fd6", "青い"),
    "purple": Color("#8558cf", "紫の"),
    "pink": Color("#f277ae", "ピンクの"),
}

CLOTHES_COLORS = {
    "red": Color("#d93a3f", "赤い"),
    "orange": Color("#f28a2e", "オレンジの"),
    "yellow": Color("#f7cf46", "黄色い"),
    "green": Color("#43a85a", "緑の"),
    "blue": Color("#3e70d9", "青い"),
    "purple": Color("#8250c8", "紫の"),
    "white": Color("#f4f4f2", "白い"),
    "black": Color("#2b2a30", "黒い"),
}

BODY_COLORS = {
    "red": Color("#ea6a6a", "赤い"),
    "orange": Color("#f8ae62", "オレンジの"),
    "yellow": Color("#f9da6a", "黄色い"),
    "green": Color("#7fcf85", "緑の"),
    "blue": Color("#74a4f2", "青い"),
    "purple": Color("#b28ae6", "紫の"),
    "pink": Color("#f7aed0", "ピンクの"),
    "white": Color("#eceff2", "白い"),
}

SKIN_TONES = ("#f7d7bd", "#eab98f", "#cf9364", "#a86d45")  # varied, never named in a caption

# How a caption says each value: English, then Japanese. `{}` takes the colour, or nothing.
HAIR = {
    "short": ("short {}hair", "{}ショートヘア"),
    "long": ("long {}hair", "{}ロングヘア"),
    "bob": ("a {}bob", "{}ボブヘア"),
    "bun": ("a {}bun", "{}お団子ヘア"),
    "curly": ("curly {}hair", "{}カーリーヘア"),
    "spiky": ("spiky {}hair", "{}ツンツンヘア"),
    "mohawk": ("a {}mohawk", "{}モヒカン"),
    "pigtails": ("{}pigtails", "{}ツインテール"),
}

EXPRESSIONS = {
    "smiling": ("smiling", "笑顔の"),
    "laughing": ("laughing", "大笑いしている"),
    "sad": ("sad", "悲しそうな"),
    "surprised": ("surprised", "驚いた"),
}

GLASSES = {
    "none": ("no glasses", "眼鏡なし"),
    "round": ("round glasses", "丸眼鏡"),
    "square": ("square glasses", "四角い眼鏡"),
    "sunglasses": ("sunglasses", "サングラス"),
}

TOPS = {
    "horns": ("horns", "角"),
    "antennae": ("antennae", "触角"),
    "ears": ("round ears", "丸い耳"),
    "spikes": ("spikes", "とげ"),
}

KINDS = {"person": ("person", "人"), "creature": ("creature", "生き物")}
