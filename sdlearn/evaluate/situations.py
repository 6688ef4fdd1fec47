"""What situations are asked of a subject, worded as the picture world's own captions are."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sdlearn.data.captions import caption
from sdlearn.data.folder import Picture
from sdlearn.data.styles import BASE_STYLES
from sdlearn.data.subjects import SUBJECT_STYLES
from sdlearn.data.vocabulary import BACKGROUNDS, EXPRESSIONS

Situation = Mapping[str, str]  # the attributes that a prompt asks for

VARYING: Mapping[str, Collection[str]] = {  # what differs between training pictures
    "expression": EXPRESSIONS,
    "background": BACKGROUNDS,
}
CAPTION_WORD = "person"  # of a caption that knows no style
FOR_PEOPLE: tuple[Situation, ...] = (
    {"expression": "smiling"},
    {"expression": "sad"},
    {"glasses": "sunglasses"},
    {"expression": "surprised"},
    {"expression": "laughing", "glasses": "round"},
    {"expression": "laughing"},
    {"glasses": "round"},
    {"expression": "sad", "glasses": "sunglasses"},
    {"expression": "smiling", "glasses": "square"},
    {"expression": "surprised", "glasses": "round"},
)
FOR_CREATURES: tuple[Situation, ...] = (
    {"expression": "smiling"},
    {"expression": "sad"},
    {"top": "horns"},
    {"expression": "surprised"},
    {"expression": "laughing", "top": "ears"},
    {"expression": "laughing"},
    {"top": "antennae"},
    {"expression": "sad", "top": "ears"},
    {"expression": "smiling", "top": "horns"},
    {"expression": "surprised", "top": "spikes"},
)
FIRST_CHOICE = ("green", "yellow", "blue", "red", "purple", "pink", "turquoise", "orange")


def situations(pictures: Sequence[Picture], class_word: str, number: int = 5) -> list[Situation]:
    """New situations, each on another background: those no training picture has come first.

    Raises ValueError for more than there are, ten.
    """
    asked = FOR_CREATURES if class_word == "creature" else FOR_PEOPLE
    if not 1 <= number <= len(asked):
        raise ValueError(f"{number} situations are asked for: give 1 to {len(asked)}")
    known = {picture.attributes.get("background") for picture in pictures}
    colors = [color for color in (*FIRST_CHOICE, *BACKGROUNDS) if color not in known]
    colors = list(dict.fromkeys([*colors, *FIRST_CHOICE, *BACKGROUNDS]))
    return [{**a, "background": color} for a, color in zip(asked[:number], colors, strict=False)]


def class_word_of(style: str) -> str:
    """`person` or `creature`: what the captions call the characters of a style."""
    table = BASE_STYLES.get(style) or SUBJECT_STYLES.get(style)
    return table.kind if table else CAPTION_WORD


def class_prompt(class_word: str) -> str:
    """The bare class, "a picture of a person"."""
    return f"a picture of {with_article(class_word)}"


def prompt(asked: Situation, class_word: str, subject: str | None = None) -> str:
    """A prompt for a situation, worded exactly as the picture world's captions are.

    `subject` stands for the class: "sks person", "<my-character>"; without it the class itself is
    asked for, which is also what the judges are told.
    """
    return "a picture of " + with_subject(caption(asked), CAPTION_WORD, class_word, subject)


def caption_subject(
    pictures: Sequence[Picture], class_word: str, subject: str | None, captions: bool = True
) -> list[Picture]:
    """The training pictures with texts that name the subject, for the prompt "{text}".

    With `captions` the text says what else is in the picture, so that the subject alone is left
    for the new word: from its attributes, or else the picture's own text where that names the
    class. The style is never said, as it belongs to the subject.
    """
    return [replace(p, text=_text(p, class_word, subject, captions=captions)) for p in pictures]


def _text(picture: Picture, class_word: str, subject: str | None, *, captions: bool) -> str:
    said = {k: v for k, v in picture.attributes.items() if v in VARYING.get(k, ())}
    if captions and not said and re.search(rf"\b{re.escape(class_word)}\b", picture.text):
        return with_subject(picture.text, class_word, class_word, subject)
    return prompt(said if captions else {}, class_word, subject)


def with_subject(sentence: str, word: str, class_word: str, subject: str | None) -> str:
    """Put the subject in the place of `word`; a subject bare of adjectives takes no article."""
    bare, described = subject or with_article(class_word), subject or class_word
    pattern = rf"\b(an? )?{re.escape(word)}\b"
    return re.sub(pattern, lambda m: bare if m[1] else described, sentence, count=1)


def with_article(word: str) -> str:
    """ "a person", "an animal"."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
