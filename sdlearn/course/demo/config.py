"""Every number of the demo, with its unit. This file imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

AT_LEAST_ONE = (
    "number",
    "textual_inversion_steps",
    "textual_inversion_batch_size",
    "num_vectors",
    "dreambooth_steps",
    "dreambooth_prior_steps",
    "dreambooth_batch_size",
    "num_class_images",
    "class_batch_size",
    "class_seeds",
    "num_inference_steps",
    "draw_batch_size",
    "checkpointing_steps",
)


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Whom to learn, how long, and where to.

    The steps are chosen for mini, so that all of it takes some minutes on two processor cores.
    """

    style: str = "lorelei"  # the character's drawing style; mini has seen only its base styles
    seed: int = 0  # which character of the style
    attributes: Annotated[Mapping[str, str], tyro.conf.Fixed, tyro.conf.Suppress] = field(
        default_factory=dict  # of the character, such as {"glasses": "round"}
    )
    number: int = 5  # pictures of the character to learn from
    pictures: Path | None = None  # a folder with pictures of your own, instead of style and seed
    class_word: str = ""  # what the subject is; '': creature for styles of creatures, else person
    output: Path = Path("outputs/demo")  # folder for the sheet, the page and all the rest
    fresh: bool = False  # start over; otherwise an earlier demo there goes on where it was
    model: str = "mini"  # to start from: name (see `sdlearn info`), folder or hub id

    identifier: str = "sks"  # DreamBooth's rare word in front of the class word
    placeholder_token: str = "<my-character>"  # Textual Inversion's new word
    captions: bool = True  # say what each training picture shows, instead of the subject alone

    textual_inversion_steps: int = 300  # optimizer steps
    textual_inversion_batch_size: int = 4  # pictures a step
    textual_inversion_learning_rate: float | None = None  # None: what suits the model; mini 2e-3
    num_vectors: int = 4  # rows of the new word

    dreambooth_steps: int = 220  # optimizer steps without prior preservation
    dreambooth_prior_steps: int = 300  # with it: the class takes part of every step
    dreambooth_batch_size: int = 4  # pictures of the subject a step
    dreambooth_learning_rate: float | None = None  # None: what suits the model; mini 3e-4
    num_class_images: int = 48  # pictures of the class, drawn by the model before training
    class_batch_size: int = 4  # of them a step
    prior_loss_weight: float = 1.0  # lambda of the DreamBooth paper
    train_text_encoder: bool = True  # in DreamBooth; binds the subject to its word more firmly
    snr_gamma: float | None = None  # min-SNR weights, for every method; None: what suits each

    class_seeds: int = 8  # pictures of the bare class prompt, before and after, that show drift
    draw_seed: int = 1000  # of the first picture drawn; the next take the numbers that follow
    num_inference_steps: int = 20  # sampler steps a picture
    guidance_scale: float = 5.0  # how strongly the prompt pulls; 1 is no guidance
    draw_batch_size: int = 4  # pictures drawn at once; more needs more memory
    checkpointing_steps: int = 50  # optimizer steps between what a killed demo goes on from

    def __post_init__(self) -> None:
        """Raise ValueError, naming the field, for a value that cannot be."""
        for name in AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least 1")
        for name in ("seed", "draw_seed"):
            if not 0 <= getattr(self, name) < 2**31:
                raise ValueError(f"{name} is {getattr(self, name)}: give 0 to 2147483647")
        for name in (
            "textual_inversion_learning_rate",
            "dreambooth_learning_rate",
            "prior_loss_weight",
            "snr_gamma",
        ):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}: give a number above 0")
        if not (math.isfinite(self.guidance_scale) and self.guidance_scale >= 0):
            raise ValueError(f"guidance_scale is {self.guidance_scale}: give 0 or more")
        for name in ("identifier", "placeholder_token"):
            value = getattr(self, name)
            if not value or value.split() != [value]:
                raise ValueError(f'{name} is "{value}": give one word without spaces')
        for name in ("attributes", "style", "seed") if self.pictures is not None else ():
            if getattr(self, name) != getattr(DemoConfig, name, {}):
                raise ValueError(f"{name} says how to draw a character: leave it out with pictures")
