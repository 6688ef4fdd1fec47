"""Stage 0: the tokenizer. Byte-level BPE in `CLIPTokenizer`'s own files, English and Japanese."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 77  # tokens, as in Stable Diffusion


def train_tokenizer(
    english: Iterable[str], japanese: Iterable[str], room: int, folder: Path
) -> CLIPTokenizer:
    """Learn merges and write `vocab.json`, `merges.txt` and `tokenizer.json`.

    Every byte is a token, alone and at a word's end, so no text is ever unknown.

    Args:
        english: captions, as they are.
        japanese: single words. Captions would teach merges across words (a colour glued to what
            it colours), as Japanese has no spaces; then new combinations would be new tokens.
        room: the largest number of merges of each language.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    japanese = list(japanese)
    merges = _learn_merges(english, room, "</w>")
    merges += _learn_merges(japanese, room, "</w>")  # before a comma or at the end,
    merges += _learn_merges(japanese, room, "")  # and inside a sentence
    merges = list(dict.fromkeys(merges))
    lines = [f"{left} {right}" for left, right in merges]
    words = alphabet + [letter + "</w>" for letter in alphabet]
    words += [left + right for left, right in merges]
    vocab = {word: i for i, word in enumerate(dict.fromkeys([*words, START, END]))}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_LENGTH)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)


def _learn_merges(texts: Iterable[str], room: int, suffix: str) -> list[tuple[str, str]]:
    clip = CLIPTokenizer().backend_tokenizer  # for CLIP's own normalizer and word splitting
    learner = Tokenizer(models.BPE(end_of_word_suffix=suffix))
    learner.normalizer, learner.pre_tokenizer = clip.normalizer, clip.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=512 + room, end_of_word_suffix=suffix, show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
    return [(left, right) for left, right in pairs]
