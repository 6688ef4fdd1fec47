"""The tokenizer of Stable Diffusion 1 and SDXL, which single-file checkpoints do not carry."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = Path(__file__).parent / "clip_vocabulary" / "merges.txt.gz"


def clip_tokenizer(pad_token: str = END) -> CLIPTokenizer:
    """Make CLIP's own tokenizer of 49 408 tokens; SDXL's second text encoder is padded with "!".

    Source: Radford et al. 2021, arXiv:2103.00020, section 2.4.
    """
    vocab, merges = _vocabulary()
    pairs: Any = list(merges)  # as tokenizers take them, for all that the annotation says
    return CLIPTokenizer(vocab=dict(vocab), merges=pairs, pad_token=pad_token, model_max_length=77)


def write_vocabulary(tokenizer: Any, folder: Path) -> None:
    """Write `vocab.json` and `merges.txt`, which transformers before 5 reads in the place of
    `tokenizer.json`; words that were added are in `added_tokens.json` and not in here.
    """
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    lines = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    text = json.dumps(model["vocab"], ensure_ascii=False)
    (folder / "vocab.json").write_text(text, encoding="utf-8")
    merges = "\n".join(["#version: 0.2", *lines, ""])
    (folder / "merges.txt").write_text(merges, encoding="utf-8")


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Every byte, alone and at a word's end, then the merges in order, then the two specials."""
    with gzip.open(MERGES, "rt", encoding="utf-8") as file:
        pairs = [line.split() for line in file]
    merges = [(left, right) for left, right in pairs]
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), START, END]
    return {word: i for i, word in enumerate(words)}, merges
