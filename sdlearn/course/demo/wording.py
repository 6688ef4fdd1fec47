"""What is said to the model: the picture world's own captions, about the subject."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sdlearn.data.folder import Picture
from sdlearn.data.vocabulary import BACKGROUNDS, EXPRESSIONS
from sdlearn.evaluate.situations import Situation, named, prompt

SAID: Mapping[str, Collection[str]] = {  # of a training picture
    "expression": EXPRESSIONS,
    "background": BACKGROUNDS,
}


def worded(
    pictures: Sequence[Picture], class_word: str, subject: str, captions: bool = True
) -> list[Picture]:
    """The training pictures with texts that name the subject, for the prompt "{text}".

    With `captions` the text says what else is in the picture, so that the subject alone is left
    for the new word: from its attributes, or else the picture's own text where that names the
    class. The style is never said, as it belongs to the subject.
    """
    return [replace(p, text=_text(p, class_word, subject, captions=captions)) for p in pictures]


def short_label(asked: Situation) -> str:
    """A situation in a few words for a column of the sheet: "sunglasses, on green"."""
    names = {"glasses": {"round": "round glasses"}, "top": {"ears": "round ears"}}
    words = [names.get(k, {}).get(v, v) for k, v in asked.items() if k != "background"]
    return ", ".join([*words, f"on {asked['background']}"])


def _text(picture: Picture, class_word: str, subject: str, *, captions: bool) -> str:
    said = {k: v for k, v in picture.attributes.items() if v in SAID.get(k, ())}
    if captions and not said and re.search(rf"\b{re.escape(class_word)}\b", picture.text):
        return named(picture.text, class_word, class_word, subject)
    return prompt(said if captions else {}, class_word, subject)
