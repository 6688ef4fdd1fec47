"""What each method learns and how, with units and where the defaults come from.

This file imports no torch: the command line builds its `--help` from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Literal

from sdlearn.finetune.templates import OBJECT_TEMPLATES
from sdlearn.training.config import (
    MOST_PICTURES,
    FitConfig,
    above_zero,
    at_least,
    at_most,
    expand_path,
)

MOST_CLASS_IMAGES = 100_000  # a hundred times the paper's
LoRAInit = Literal["gaussian", "kaiming"]
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


@dataclass(frozen=True, kw_only=True)
class TextualInversionConfig:
    """What Textual Inversion (Gal et al. 2022, arXiv:2208.01618) should learn."""

    placeholder_token: str = "<my-character>"  # the new word; must not be in the vocabulary
    initializer_token: str | None = "person"  # known words to start at; None: the mean of all
    num_vectors: int = 1  # rows of the new word; the paper finds 1 the most editable
    embedding_reg_weight: float = 0.0  # of each row's squared distance from its start; 0: free
    templates: tuple[str, ...] = OBJECT_TEMPLATES  # for captions; {} is the new word

    def __post_init__(self) -> None:
        at_least(self, 1, "num_vectors")
        at_least(self, 0, "embedding_reg_weight")
        if not self.templates:
            raise ValueError("templates is empty: give at least one, such as 'a photo of a {}'")


@dataclass(frozen=True, kw_only=True)
class DreamBoothConfig:
    """What DreamBooth (Ruiz et al. 2022, arXiv:2208.12242) should learn.

    Prompts may hold {text} or the name of an attribute, such as {background}: each picture puts
    its own caption or attribute there.
    """

    instance_prompt: str = "a picture of sks person"  # identifier and class of the subject
    class_prompt: str = "a picture of a person"  # the class, without the identifier
    with_prior_preservation: bool = True  # keep the class as the model knew it
    prior_loss_weight: float = 1.0  # lambda in the paper; 0: no class pictures at all
    num_class_images: int = 100  # pictures of the class (diffusers); the paper has about 1000
    class_data_dir: Path | None = None  # where they are kept; None: in output_dir, else in memory
    class_batch_size: int | None = None  # pictures a forward pass; None: as many as instances
    sample_batch_size: int = 4  # class pictures drawn at once
    class_guidance_scale: float = 5.0  # of the class pictures; lower is more varied
    class_inference_steps: int = 20  # of the class pictures
    train_text_encoder: bool = False  # helps faces most, needs more memory
    text_encoder_learning_rate: float | None = None  # None: a fifth of the U-Net's
    text_encoder_steps: int | None = None  # it trains in the first so many; None: in all
    lora_rank: int | None = None  # train LoRAs of this rank, for 16 GB GPUs; None: all weights
    lora_alpha: float | None = None  # an update counts alpha / rank; None: rank, so 1
    lora_target_modules: tuple[str, ...] | None = None  # ends of layers' names; None: as of lora

    def __post_init__(self) -> None:
        expand_path(self, "class_data_dir")
        at_least(self, 1, "num_class_images", "class_batch_size", "sample_batch_size")
        at_least(self, 1, "class_inference_steps")
        at_most(self, MOST_CLASS_IMAGES, "num_class_images")
        at_most(self, MOST_PICTURES, "class_batch_size", "sample_batch_size")
        at_least(self, 0, "prior_loss_weight", "class_guidance_scale")
        for name in ("instance_prompt", "class_prompt"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} is empty: give a prompt, such as 'a photo of a person'")
        check_text_encoder_rate(self.text_encoder_learning_rate, self.train_text_encoder)
        at_least(self, 1, "lora_rank", "text_encoder_steps")
        if self.text_encoder_steps is not None and not self.train_text_encoder:
            raise ValueError(
                f"text_encoder_steps is {self.text_encoder_steps}, but the text encoder does not "
                "train: set train_text_encoder with it"
            )
        if self.lora_alpha is not None and not (self.lora_rank and 0 < self.lora_alpha < inf):
            raise ValueError(
                f"lora_alpha is {self.lora_alpha}: give a number above 0, and a lora_rank with it"
            )
        if self.lora_target_modules is not None and self.lora_rank is None:
            raise ValueError("lora_target_modules are of a LoRA: give a lora_rank with them")

    @property
    def lora(self) -> LoRAConfig | None:
        """How its LoRAs are; None where all weights train."""
        if self.lora_rank is None:
            return None
        targets = self.lora_target_modules or LoRAConfig.target_modules
        return LoRAConfig(rank=self.lora_rank, alpha=self.lora_alpha, target_modules=targets)


@dataclass(frozen=True, kw_only=True)
class ImagicConfig:
    """How Imagic (Kawar et al. 2022, arXiv:2210.09276) should edit one picture.

    Steps and learning rates of its two stages are here; the general ones are not used.
    """

    target_prompt: str  # what the edited picture should show, in words
    embedding_steps: int | None = None  # stage A; None: the model's, 1000 (paper); 0: leave it out
    embedding_learning_rate: float | None = None  # None: the model's, 2e-3 (paper, for SD)
    unet_steps: int | None = None  # stage B; None: the model's, 1500 (paper); 0: leave it out
    unet_learning_rate: float | None = None  # None: the model's, 5e-7 (paper, for SD), LoRA 1e-4
    lora_rank: int | None = None  # stage B as LoRA of this rank; None: all weights (paper)
    etas: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # to draw
    keep: float = 0.7  # share of the picture that a chosen eta keeps
    noise_seed: int = 0  # of the one noise that every eta is drawn from
    num_inference_steps: int = 20  # of the sampler, a picture
    guidance_scale: float = 5.0  # how strongly the embedding pulls; 1 is no guidance

    def __post_init__(self) -> None:
        if not self.target_prompt.strip():
            raise ValueError("target_prompt is empty: say what the edited picture should show")
        at_least(self, 0, "embedding_steps", "unet_steps", "guidance_scale", "noise_seed")
        at_least(self, 1, "num_inference_steps", "lora_rank")
        if self.embedding_steps == 0 and self.unet_steps == 0:
            raise ValueError("embedding_steps and unet_steps are both 0: nothing would be learnt")
        above_zero(self, "embedding_learning_rate", "unet_learning_rate")
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep is {self.keep}: give a share above 0, up to 1")
        check_etas(self.etas)


@dataclass(frozen=True, kw_only=True)
class LoRAConfig:
    """What LoRA (Hu et al. 2021, arXiv:2106.09685) should learn, and how large its updates are.

    The prompt may hold {text} or the name of an attribute, such as {background}: each picture puts
    its own caption or attribute there.
    """

    prompt: str = "{text}"  # of each picture; its caption
    caption_dropout: float = 0.0  # share of samples trained without a prompt; 0.1 is usual
    rank: int = 16  # rows of an update (OneTrainer; diffusers has 4, which learns less on mini)
    alpha: float | None = None  # an update counts alpha / rank; None: rank, so 1 (diffusers)
    dropout: float = 0.0  # share of an update's inputs left out, while it trains
    init: LoRAInit = "gaussian"  # of the lower matrix; diffusers', or the paper's own kaiming
    target_modules: tuple[str, ...] = (  # ends of layers' names; kohya's, diffusers leaves out ff
        *("to_q", "to_k", "to_v", "to_out.0"),
        *("ff.net.0.proj", "ff.net.2"),  # without these a new drawing style stays out of reach
    )
    train_text_encoder: bool = False  # update it as well
    text_encoder_target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj")
    """ends of names of the text encoder's layers, where it trains"""
    text_encoder_learning_rate: float | None = None  # None: a fifth of the U-Net's

    def __post_init__(self) -> None:
        at_least(self, 1, "rank")
        if not self.prompt.strip():
            raise ValueError("prompt is empty: give {text} for captions, or a prompt for all")
        above_zero(self, "alpha")
        check_text_encoder_rate(self.text_encoder_learning_rate, self.train_text_encoder)
        for name in ("caption_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give a share from 0 to below 1")
        for name in ("target_modules", "text_encoder_target_modules"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: name layers, such as to_q or q_proj")


def check_etas(etas: Sequence[float]) -> None:
    """Raise ValueError for etas that do not rise from 0 to finite numbers."""
    rises = all(low < high < inf for low, high in pairwise(etas))  # NaN does not
    if not etas or etas[0] != 0 or not rises:
        raise ValueError(f"the etas {list(etas)} do not rise from 0: give such as 0 0.5 1")


def check_text_encoder_rate(rate: float | None, train_text_encoder: bool) -> None:
    """Raise ValueError for a text encoder's learning rate that is wrong, or of no effect."""
    if rate is None:
        return
    if not 0 < rate < inf:
        raise ValueError(f"text_encoder_learning_rate is {rate}: give a number above 0")
    if not train_text_encoder:
        raise ValueError(
            f"text_encoder_learning_rate is {rate}, but the text encoder does not train: set "
            "train_text_encoder with it"
        )
