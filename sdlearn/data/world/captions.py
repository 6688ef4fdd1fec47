"""True captions of attributes, English and Japanese, varied in wording and in what they mention."""

import random
from collections.abc import Mapping

from sdlearn.data.world.people import COLOR_OF, PLAIN, WORDS, phrase
from sdlearn.data.world.words import (
    GROUND_COLORS,
    NOUNS,
    PATTERNS,
    PLACES,
    SCENES,
    SIZES,
    SUBJECT_COLORS,
)

LANGUAGES = ("en", "ja")
MENTION = {  # how often a caption mentions an attribute at all; people's own: 0.75
    "noun": 1.0,
    "other_noun": 1.0,
    "style": 0.8,
    "color": 0.9,
    "other_color": 0.9,
    "size": 0.35,
    "place": 0.3,
    "scene": 0.9,
    "time": 0.9,
    "pattern": 0.85,
    "background": 0.9,
}
_SHORT_SHARE = 0.12  # of captions that name the subject alone, and as many with its ground
_KINDS = {
    "person": ("person", "人"),
    "creature": ("creature", "生き物"),
    "robot": ("robot", "ロボット"),
}
_PREFIXES = ("", "", "", "", "a picture of ", "an illustration of ", "a drawing of ", "a photo of ")
_SUFFIXES_JA = ("", "", "", "", "のイラスト", "の絵", "の写真")
_FEATURES = {  # what a subject has or wears, and how Japanese says that it does
    "top": "のある",
    "eyes": "の",
    "beard": "のある",
    "glasses": "をかけた",
    "hat": "をかぶった",
    "accessory": "をつけた",
}
_GROUND = ("scene", "time", "pattern", "background")


def mentioned(attributes: Mapping[str, str], rng: random.Random) -> dict[str, str]:
    """The attributes that one caption speaks of; what is absent ("no hat") is hardly ever said."""
    short = rng.random()
    if short < 2 * _SHORT_SHARE and "other_noun" not in attributes:
        spoken = ("noun", *_GROUND) if short < _SHORT_SHARE else ("noun",)
        kept = {k: v for k, v in attributes.items() if k in spoken}
    else:
        kept = {k: v for k, v in attributes.items() if rng.random() < MENTION.get(k, 0.75)}
        kept = {k: v for k, v in kept.items() if v not in PLAIN or rng.random() < 0.15}
    if kept.get("pattern") == "plain" and rng.random() < 0.85:
        del kept["pattern"]
    if "other_noun" in attributes:  # which is left and which is right is what they are named for
        kept["place"] = attributes["place"]
    return kept


def caption(
    attributes: Mapping[str, str], language: str = "en", rng: random.Random | None = None
) -> str:
    """One caption of exactly these attributes.

    Args:
        attributes: any part of a picture's attributes; what is missing is not mentioned.
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

    def random(self) -> float:
        return 0.0


def _other(attributes: Mapping[str, str]) -> dict[str, str]:
    return {k.removeprefix("other_"): v for k, v in attributes.items() if k.startswith("other_")}


# English


def _english(a: Mapping[str, str], rng: random.Random) -> str:
    subject = _pair(a, rng) if "other_noun" in a else _a(_subject(a, rng))
    details = [_clothes(a, rng), *_absent(a, "en")]
    ground = _ground(a, rng)
    if rng.random() < 0.5:
        subject = f"{subject} {ground}".rstrip()
    else:
        details.append(ground)
    if "place" in a and "other_noun" not in a:
        details.append(PLACES[a["place"]][0])
    if "style" in a:
        details.append(rng.choice(("{} style", "in {} style")).format(a["style"]))
    details = [detail for detail in details if detail]
    rng.shuffle(details)
    return rng.choice(_PREFIXES) + ", ".join([subject, *details])


def _subject(a: Mapping[str, str], rng: random.Random) -> str:
    """The noun with what stands before it and its features behind it, without an article."""
    words = [SIZES[a["size"]][0]] if "size" in a else []
    words += [phrase(name, a[name], "en") for name in ("expression", "shape") if name in a]
    words += [a[name] for name in ("color", "body_color") if name in a]
    noun = a.get("noun", "person")
    words.append(NOUNS[noun].en if noun in NOUNS else _KINDS[noun][0])
    features = [_hair(a, "en")]
    features += [_feature(name, a, "en") for name in _FEATURES]
    features = [feature for feature in features if feature]
    rng.shuffle(features)
    return " ".join(filter(None, words)) + (f" with {' and '.join(features)}" if features else "")


def _feature(name: str, a: Mapping[str, str], language: str) -> str:
    """How a feature is said with its colour; nothing where it is not there or not spoken of."""
    if a.get(name, "none") == "none":
        return ""
    return phrase(name, a[name], language, a.get(COLOR_OF.get(name, ""), ""))


def _hair(a: Mapping[str, str], language: str) -> str:
    if "hair" in a or "hair_color" not in a:
        return _feature("hair", a, language)
    english, japanese = WORDS["hair_color"][a["hair_color"]]
    return f"{english} hair" if language == "en" else f"{japanese}髪"


def _pair(a: Mapping[str, str], rng: random.Random) -> str:
    first, second = _a(_subject(a, rng)), _a(_subject(_other(a), rng))
    side, back = (a["place"], "right" if a["place"] == "left" else "left")
    return rng.choice(
        (
            f"{first} {side} of {second}",
            f"{first} to the {side} of {second}",
            f"{second} {back} of {first}",
            f"{first} on the {side} and {second} on the {back}",
            f"{first} and {second}",
            f"{second} and {first}",
        )
    )


def _clothes(a: Mapping[str, str], rng: random.Random) -> str:
    if "clothes" in a:
        return f"{rng.choice(('wearing', 'in'))} {_feature('clothes', a, 'en')}"
    if "clothes_color" in a:
        return f"{rng.choice(('wearing', 'in'))} {a['clothes_color']} clothes"
    return ""


def _absent(a: Mapping[str, str], language: str) -> list[str]:
    return [phrase(name, "none", language) for name in _FEATURES if a.get(name) == "none"]


def _ground(a: Mapping[str, str], rng: random.Random) -> str:
    night = " at night" if a.get("time") == "night" else ""
    if "scene" in a:
        return SCENES[a["scene"]].en + night
    words = [a[name] for name in ("pattern", "background") if name in a]
    if not words:
        return night.strip()
    return f"on {_a(' '.join(words))} {rng.choice(('background', 'ground', 'background'))}"


def _a(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" and not words.startswith("unic") else f"a {words}"


# Japanese: what describes a noun stands before it


def _japanese(a: Mapping[str, str], rng: random.Random) -> str:
    details = []
    subject = _pair_ja(a, rng) if "other_noun" in a else _subject_ja(a, rng)
    ground = _ground_ja(a)
    if ground and ("scene" in a or "background" not in a or rng.random() < 0.3):
        subject = f"{ground}の{subject}"
    elif ground:
        details.append(ground)
    if "clothes" in a:
        details.append(_feature("clothes", a, "ja"))
    elif "clothes_color" in a:
        details.append(f"{WORDS['clothes_color'][a['clothes_color']][1]}服")
    details += _absent(a, "ja")
    if "place" in a and "other_noun" not in a:
        details.append(PLACES[a["place"]][1])
    rng.shuffle(details)
    style = f"{a['style']}風の、" if "style" in a else ""
    return "、".join([style + subject + rng.choice(_SUFFIXES_JA), *details])


def _subject_ja(a: Mapping[str, str], rng: random.Random) -> str:
    features = [f"{hair}の" if (hair := _hair(a, "ja")) else ""]
    for name, verb in _FEATURES.items():
        features.append(feature + verb if (feature := _feature(name, a, "ja")) else "")
    rng.shuffle(features)
    words = [phrase("expression", a["expression"], "ja") if "expression" in a else ""]
    words.append(SIZES[a["size"]][1] if "size" in a else "")
    words.append(SUBJECT_COLORS[a["color"]].ja if "color" in a else "")
    words += [phrase(name, a[name], "ja") for name in ("body_color", "shape") if name in a]
    noun = a.get("noun", "person")
    words.append(NOUNS[noun].ja if noun in NOUNS else _KINDS[noun][1])
    return "".join([*features, *words])


def _pair_ja(a: Mapping[str, str], rng: random.Random) -> str:
    first, second = _subject_ja(a, rng), _subject_ja(_other(a), rng)
    side, back = ("左", "右") if a["place"] == "left" else ("右", "左")
    stands = "いる" if NOUNS[a["noun"]].lives else "ある"
    return rng.choice(
        (
            f"{second}の{side}に{stands}{first}",
            f"{second}の{side}の{first}",
            f"{side}に{first}、{back}に{second}",
            f"{first}と{second}",
            f"{second}と{first}",
        )
    )


def _ground_ja(a: Mapping[str, str]) -> str:
    night = "夜の" if a.get("time") == "night" else ""
    if "scene" in a:
        return night + SCENES[a["scene"]].ja
    words = [GROUND_COLORS[a["background"]].ja] if "background" in a else []
    words += [PATTERNS[a["pattern"]][1]] if "pattern" in a else []
    return "".join(words) + "背景" if words else night.removesuffix("の")


def japanese_words() -> list[str]:
    """Every word of the Japanese captions, for a tokenizer: Japanese writes none of the gaps."""
    words = {noun.ja for noun in NOUNS.values()} | {ja for _, ja in _KINDS.values()}
    words |= {color.ja for table in (GROUND_COLORS, SUBJECT_COLORS) for color in table.values()}
    words |= {scene.ja for scene in SCENES.values()}
    words |= {ja for table in (PATTERNS, SIZES, PLACES) for _, ja in table.values() if ja}
    words |= {ja.replace("{}", "") for table in WORDS.values() for _, ja in table.values()}
    rest = "髪 のある をかけた をかぶった をつけた にいる にある 左 右 夜の 服 背景 風の"
    return sorted(words | set(rest.split()) | {suffix for suffix in _SUFFIXES_JA if suffix})
