"""True captions of attributes, English and Japanese, varied in wording and in what they mention."""

import random
from collections.abc import Mapping

from sdlearn.data.styles import BASE_STYLES
from sdlearn.data.subjects import SUBJECT_STYLES
from sdlearn.data.vocabulary import (
    BACKGROUNDS,
    BODY_COLORS,
    CLOTHES_COLORS,
    EXPRESSIONS,
    GLASSES,
    HAIR,
    HAIR_COLORS,
    KINDS,
    TOPS,
)

LANGUAGES = ("en", "ja")
MENTION = {  # how often a caption mentions an attribute at all
    "style": 0.85,
    "hair": 0.7,
    "hair_color": 0.85,
    "body_color": 0.85,
    "top": 0.7,
    "expression": 0.8,
    "glasses": 0.8,
    "clothes_color": 0.8,
    "background": 0.85,
}
_PREFIXES = ("", "", "", "a picture of ", "a portrait of ", "an illustration of ", "a photo of ")
_PREFIXES_JA = ("", "", "", "", "イラスト、", "肖像画、", "写真、")


def mentioned(attributes: Mapping[str, str], rng: random.Random) -> dict[str, str]:
    """The attributes one caption speaks of. "No glasses" is said only one time in four."""
    kept = {k: v for k, v in attributes.items() if rng.random() < MENTION[k]}
    if kept.get("glasses") == "none" and rng.random() < 0.75:
        del kept["glasses"]
    return kept


def caption(
    attributes: Mapping[str, str], language: str = "en", rng: random.Random | None = None
) -> str:
    """One caption of exactly these attributes.

    Args:
        attributes: any part of a character's attributes; what is missing is not mentioned.
        language: "en" or "ja".
        rng: varies wording and order; without it the plainest wording is used.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r} is not one of {LANGUAGES}")
    rng = rng or _Plain()
    return _english(attributes, rng) if language == "en" else _japanese(attributes, rng)


class _Plain(random.Random):
    """Always the first wording, in the order written: for prompts that people read."""

    def choice(self, seq):  # type: ignore[no-untyped-def]
        return seq[0]

    def shuffle(self, x):  # type: ignore[no-untyped-def]
        return None


def _kind(attributes: Mapping[str, str], language: int) -> str:
    name = attributes.get("style", "")
    style = BASE_STYLES.get(name) or SUBJECT_STYLES.get(name)
    creature = style.kind == "creature" if style else "body_color" in attributes
    return KINDS["creature" if creature else "person"][language]


def _hair(attributes: Mapping[str, str], language: int) -> str:
    color = attributes.get("hair_color")
    if "hair" not in attributes and not color:
        return ""
    pattern = (
        HAIR[attributes["hair"]][language] if "hair" in attributes else ("{}hair", "{}髪")[language]
    )
    if not color:
        return pattern.format("")
    return pattern.format((f"{color} ", HAIR_COLORS[color].ja)[language])


def _english(attributes: Mapping[str, str], rng: random.Random) -> str:
    a = attributes
    words = [EXPRESSIONS[a["expression"]][0]] if "expression" in a else []
    words += [a["body_color"]] if "body_color" in a else []
    words.append(_kind(a, 0))
    features = [_hair(a, 0), TOPS[a["top"]][0] if "top" in a else ""]
    if "glasses" in a and a["glasses"] != "none":
        features.append(GLASSES[a["glasses"]][0])
    features = [feature for feature in features if feature]
    rng.shuffle(features)
    subject = " ".join(words) + (" with " + " and ".join(features) if features else "")
    details = []
    if "clothes_color" in a:
        color = a["clothes_color"]
        patterns = (f"wearing {color} clothes", f"in {color} clothes", f"in {_a(color)} shirt")
        details.append(rng.choice(patterns))
    if a.get("glasses") == "none":
        details.append("no glasses")
    if "background" in a:
        color = a["background"]
        patterns = (
            f"on {_a(color)} background",
            f"{color} background",
            f"against {_a(color)} background",
        )
        details.append(rng.choice(patterns))
    if "style" in a:
        details.append(rng.choice(("{} style", "in {} style")).format(a["style"]))
    rng.shuffle(details)
    return rng.choice(_PREFIXES) + ", ".join([_a(subject), *details])


def japanese_words() -> list[str]:
    """Every word of the Japanese captions, for a tokenizer: Japanese writes none of the gaps."""
    colors = (HAIR_COLORS, CLOTHES_COLORS, BODY_COLORS, BACKGROUNDS)
    words = {color.ja for table in colors for color in table.values()}
    for table in (HAIR, TOPS, GLASSES, EXPRESSIONS, KINDS):
        words |= {names[1].replace("{}", "") for names in table.values()}
    particles = (
        "髪",
        "で",
        "のある",
        "をかけた",
        "服",
        "背景",
        "風の",
        "イラスト",
        "肖像画",
        "写真",
    )
    words |= {part for style in BASE_STYLES for part in style.split("-")}
    return sorted(words | set(particles))


def _a(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _japanese(attributes: Mapping[str, str], rng: random.Random) -> str:
    a = attributes
    features = [f"{hair}で" if (hair := _hair(a, 1)) else ""]
    features.append(f"{TOPS[a['top']][1]}のある" if "top" in a else "")
    if a.get("glasses", "none") != "none":
        features.append(f"{GLASSES[a['glasses']][1]}をかけた")
    features.append(EXPRESSIONS[a["expression"]][1] if "expression" in a else "")
    features.append(BODY_COLORS[a["body_color"]].ja if "body_color" in a else "")
    subject = "".join(features) + _kind(a, 1)
    details = [f"{CLOTHES_COLORS[a['clothes_color']].ja}服"] if "clothes_color" in a else []
    details += ["眼鏡なし"] if a.get("glasses") == "none" else []
    details += [f"{BACKGROUNDS[a['background']].ja}背景"] if "background" in a else []
    rng.shuffle(details)
    prefix = rng.choice(_PREFIXES_JA)
    if "style" in a:
        prefix += f"{a['style']}風の、"
    return prefix + "、".join([subject, *details])
