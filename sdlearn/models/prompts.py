"""Prompts that hold a learned token of several vectors."""

import re
from typing import Any


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


def check_new_token(token: str, tokenizer: Any) -> None:
    """Raise ValueError unless a token is free to be taught: not empty, one word, not known yet."""
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
