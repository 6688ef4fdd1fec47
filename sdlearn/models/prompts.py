"""Prompts that hold a learned token of several vectors."""

import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from sdlearn.models.writing import check_utf8

WARNED: set[str] = set()  # prompts that were longer than a text encoder reads
MOST_WARNED = 3


def expand_prompt(prompt: str, tokenizer: Any) -> str:
    """Write a learned token of n vectors out as its n tokens: "<cat>" -> "<cat> <cat>_1 ...".

    The rows of a token "<cat>" are called "<cat>", "<cat>_1", "<cat>_2" and so on, as in
    diffusers. A prompt without such a token, or with all of its rows written out, is unchanged.
    """
    added = tokenizer.get_added_vocab()
    for token in (token for token in added if f"{token}_1" in added):
        rows = [token]
        while f"{token}_{len(rows)}" in added:
            rows.append(f"{token}_{len(rows)}")
        written_once = re.escape(token) + rf"(?!_\d|\s+{re.escape(token)}_1)"
        prompt = re.sub(written_once, " ".join(rows).replace("\\", r"\\"), prompt)
    return prompt


def warn_of_cut(texts: Sequence[str], tokenizer: Any, length: int) -> None:
    """Warn of the words of prompts that are beyond `length` tokens, which no model reads.

    Of the first three such prompts, as a training run may have thousands.
    """
    for text in texts:
        if len(WARNED) == MOST_WARNED or text in WARNED:
            continue
        every = tokenizer(
            text, truncation=True, max_length=sys.maxsize, return_offsets_mapping=True
        ).offset_mapping
        if len(every) > length:
            WARNED.add(text)
            rest = shortened(text[every[length - 1][0] :].strip())
            last = "; others are cut without a word" if len(WARNED) == MOST_WARNED else ""
            warnings.warn(
                f'"{rest}" is not read: a prompt has {length} tokens at most and this one has '
                f"{len(every)}{last}",
                stacklevel=3,
            )


def shortened(text: str, most: int = 200) -> str:
    """A text that is shown: of a long one the beginning."""
    return text if len(text) <= most else f"{text[:most]}..."


def check_new_token(token: str, tokenizer: Any) -> None:
    """Raise ValueError unless a token is free to be taught: not empty, one word, not known yet."""
    check_utf8(token, "the placeholder_token")
    if not token or token != token.strip() or re.search(r"\s", token):
        raise ValueError(
            f'the placeholder_token "{token}" must be one word without spaces, such as <my-cat>'
        )
    known = tokenizer.get_vocab()
    pieces = tokenizer.tokenize(token)
    if token in known or f"{token}_1" in known or (len(pieces) == 1 and pieces[0] in known):
        raise ValueError(
            f'the placeholder_token "{token}" is in the vocabulary already and has a meaning: '
            "choose another, such as <my-cat>"
        )
