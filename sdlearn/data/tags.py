"""Tag captions, as picture boards have them: "1girl, long_hair, smile, hat_(clothing)"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch

# Faces drawn with characters, in which an underscore is a mouth.
FACES = {"0_0", "(o)_(o)", "+_+", "+_-", "._.", "<o>_<o>", "<|>_<|>", "=_=", ">_<", "3_3"}
FACES |= {"6_9", ">_o", "@_@", "^_^", "o_o", "u_u", "x_x", "|_|", "||_||"}


def clean_tags(caption: str) -> list[str]:
    """Take a tag caption apart: "long_hair, hat_\\(a\\)" -> ["long hair", "hat (a)"].

    Tags are parted by commas (also Japanese ones), or by spaces where there is no comma but an
    underscore. Underscores become spaces but in faces such as ^_^, escaped brackets plain ones, and
    of tags that differ in upper and lower case only the first is kept.
    """
    parts = re.split(r"[,、，]", caption)
    if len(parts) == 1 and "_" in caption:
        parts = caption.split()
    tags: dict[str, str] = {}
    for tag in filter(None, map(_clean, parts)):
        tags.setdefault(tag.casefold(), tag)
    return list(tags.values())


def vary_tags(
    tags: Sequence[str],
    generator: torch.Generator,
    *,
    keep_tags: int = 0,
    shuffle: bool = True,
    dropout: float = 0.0,
) -> list[str]:
    """Shuffle tags and drop some, all but the first `keep_tags`; one is always left.

    `dropout` is the probability of each tag to go. Tags of a picture have no order, and shuffled
    ones teach that; dropped ones teach prompts that do not name everything.
    """
    first, rest = list(tags[:keep_tags]), list(tags[keep_tags:])
    if shuffle:
        rest = [rest[i] for i in torch.randperm(len(rest), generator=generator).tolist()]
    if dropout:
        stays = torch.rand(len(rest), generator=generator) >= dropout
        rest = [tag for tag, kept in zip(rest, stays.tolist(), strict=True) if kept]
    return first + rest or list(tags[:1])


def join_tags(tags: Iterable[str]) -> str:
    """Write tags as one caption."""
    return ", ".join(tags)


def _clean(tag: str) -> str:
    tag = re.sub(r"\\([()\[\]{}])", r"\1", tag.strip())
    return tag if tag in FACES else " ".join(tag.replace("_", " ").split())
