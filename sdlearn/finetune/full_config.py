"""The settings of full fine-tuning; imports no torch, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdlearn.finetune.config import FitConfig
from sdlearn.finetune.config_checks import at_least, check_text_encoder_rate, expand_path

# how `sdlearn train full` trains unless told otherwise; warm-up and cosine as Waifu Diffusion
FULL_FIT = FitConfig(lr_scheduler="cosine", lr_warmup_steps=20, snr_gamma=5.0, use_ema=True)


@dataclass(frozen=True, kw_only=True)
class FullConfig:
    """How to fine-tune in general: the whole U-Net on many captioned pictures, as Waifu Diffusion.

    Captions may hold {text} (English), {text_ja} (Japanese) or the name of an attribute.
    """

    captions: tuple[str, ...] = ("{text}",)  # one of them at random each time
    caption_style: Literal["sentences", "tags"] = "sentences"  # tags: parted by commas
    keep_tags: int = 1  # first tags that always stay in front; what a picture is comes first
    shuffle_tags: bool = True  # the others come in another order each time
    tag_dropout: float = 0.0  # share of the other tags left out each time
    caption_dropout: float = 0.1  # share of pictures without a caption, as SD 1 was trained
    aspect_ratio_buckets: bool = True  # keep the pictures' shapes; off: cut them to squares
    noise_offset: float = 0.0  # 0.05 to 0.1 for darker and brighter pictures; 0: none
    train_text_encoder: bool = False  # learns new words better, forgets old ones sooner
    text_encoder_learning_rate: float | None = None  # None: a fifth of the U-Net's
    cache_latents: bool = True  # all in memory; off: made anew each time. Streams never are
    cache_dir: Path | None = None  # keeps latents' moments on disk, for streams and later runs too
    save_whole_model: bool = False  # save all parts as a model folder, not only what was trained

    def __post_init__(self) -> None:
        expand_path(self, "cache_dir")
        at_least(self, 0, "keep_tags", "noise_offset")
        for name in ("tag_dropout", "caption_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give a share from 0 to 1")
        if not self.captions or not all(caption.strip() for caption in self.captions):
            raise ValueError("captions has an empty one: give such as {text} or 'a photo'")
        check_text_encoder_rate(self.text_encoder_learning_rate, self.train_text_encoder)
