"""Which caption a picture gets at a step: full fine-tuning's templates, tags and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from sdlearn.data.tags import clean_tags, join_tags, vary_tags
from sdlearn.finetune.templates import fill

if TYPE_CHECKING:
    from sdlearn.data.encoded import EncodedPicture
    from sdlearn.data.folder import Picture
    from sdlearn.finetune.config import FullConfig

NO_CAPTION = ""  # what guidance compares a prompt with


class Captions:
    """The captions of pictures, as a `FullConfig` asks for them."""

    def __init__(self, config: FullConfig) -> None:
        self.config = config
        self.are_tags = config.caption_style == "tags"
        self.vary = self.are_tags and (config.shuffle_tags or config.tag_dropout > 0)

    def of(self, picture: Picture | EncodedPicture) -> list[str]:
        """Return every template's caption; ValueError, naming the picture, for what it lacks."""
        filled = [fill(template, picture) for template in self.config.captions]
        return [join_tags(clean_tags(caption)) for caption in filled] if self.are_tags else filled

    def draw(self, captions: Sequence[str], generator: torch.Generator) -> str:
        """Draw one of a picture's captions, or none: the empty one, at the rate of the dropout.

        Source: Ho and Salimans 2022, arXiv:2207.12598, algorithm 1, for the dropout.
        """
        config = self.config
        if float(torch.rand((), generator=generator)) < config.caption_dropout:
            return NO_CAPTION
        caption = captions[int(torch.randint(len(captions), (), generator=generator))]
        if not self.vary:
            return caption
        tags = vary_tags(
            clean_tags(caption),
            generator,
            keep_tags=config.keep_tags,
            shuffle=config.shuffle_tags,
            dropout=config.tag_dropout,
        )
        return join_tags(tags)
