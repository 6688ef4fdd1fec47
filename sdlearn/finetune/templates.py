"""The sentences around a learned word, and how a picture's own words get into them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sdlearn.models.prompts import shortened

if TYPE_CHECKING:
    from sdlearn.data.encoded import EncodedPicture
    from sdlearn.data.folder import Picture
    from sdlearn.finetune.config import TextualInversionConfig

# Neutral sentences, so that the word learns the subject and not its surroundings; 27 as in the
# paper. Source: the idea is Gal et al. 2022, arXiv:2208.01618, appendix D; the wording is ours.
OBJECT_TEMPLATES = (
    "a picture of {}",
    "a picture of a {}",
    "a picture of the {}",
    "a picture of my {}",
    "a picture of one {}",
    "a photo of {}",
    "a photo of a {}",
    "a photo of the {}",
    "a photo of my {}",
    "a photo of one {}",
    "a drawing of {}",
    "a drawing of a {}",
    "a drawing of the {}",
    "a drawing of my {}",
    "an image of {}",
    "an image of a {}",
    "an image of the {}",
    "a portrait of {}",
    "a portrait of a {}",
    "a portrait of the {}",
    "a close picture of a {}",
    "a clear picture of the {}",
    "a good picture of a {}",
    "a small picture of the {}",
    "here is {}",
    "this is a {}",
    "{}",
)
STYLE_TEMPLATES = (
    "a picture in the style of {}",
    "a drawing in the style of {}",
    "a painting in the style of {}",
    "an image in the style of {}",
    "a portrait in the style of {}",
    "a person, {} style",
    "a picture in {} style",
    "a drawing, {} style",
    "{} style",
)


def fill(template: str, picture: Picture | EncodedPicture, placeholder: str = "") -> str:
    """Put the placeholder at {}, and a picture's own words at {text}, {text_ja} or {an attribute}.

    Raises ValueError, naming the picture, for words that it lacks or has left empty.
    """
    captions = {"text": picture.text, "text_ja": picture.text_ja}
    words = {**captions, **picture.attributes, "": placeholder}

    def word(braces: re.Match[str]) -> str:
        name = braces[1]
        if not words.get(name):
            known = ", ".join(sorted(key for key, value in words.items() if key and value))
            raise ValueError(
                f'{picture.path or "a picture"} has no "{name}", which "{template}" asks for: '
                f"it has {known or 'no words at all'}"
            )
        return words[name]

    return re.sub(r"\{(\w*)\}", word, template)


def fill_word(config: TextualInversionConfig, picture: Picture | EncodedPicture) -> list[str]:
    """Fill every template of Textual Inversion, with the new word in each sentence.

    Where a sentence does not hold it, it takes the place of the word that it began at. Raises
    ValueError, naming the picture, for a sentence without a place for it, and as `fill`.
    """
    token, known_word = config.placeholder_token, config.initializer_token
    captions = [fill(template, picture, token) for template in config.templates]
    if known_word is not None:
        known = word_pattern(known_word)
        captions = [c if token in c else known.sub(lambda _: token, c, 1) for c in captions]
    for caption in captions:
        if token not in caption:
            raise ValueError(
                f'the caption "{shortened(caption)}" of {picture.path or "a picture"} has no '
                f"place for {token}: write {token} into it"
            )
    return captions


def word_pattern(word: str) -> re.Pattern[str]:
    """Return what finds a word in a caption, in small letters or capitals.

    Where its letters have no capitals, as in Japanese, it may stand within others: such scripts
    write no spaces between words.
    """
    first, last = (
        r"\b" if letter.lower() != letter.upper() or letter.isdecimal() else ""
        for letter in (word[:1], word[-1:])
    )
    return re.compile(f"{first}{re.escape(word)}{last}", re.IGNORECASE)
