"""Every number of the recipe that makes mini, its unit, and why. Imports nothing heavy."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Stage = Literal["vae", "decoder", "clip", "judges", "unet"]
STAGES: tuple[Stage, ...] = ("vae", "decoder", "clip", "judges", "unet")
AT_LEAST_ONE = (  # where they are given
    *(f"{stage}_steps" for stage in STAGES),
    *("vae_batch", "vae_crop", "clip_batch", "judges_batch", "unet_batch", "image_size"),
    *("vae_channels", "unet_channels", "text_width", "text_layers", "workers"),
)
ABOVE_ZERO = (
    *(f"{stage}_minutes" for stage in STAGES),
    *("vae_learning_rate", "clip_learning_rate", "judges_learning_rate", "unet_learning_rate"),
    *("text_learning_rate", "muon_factor", "snr_gamma"),
)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """How `sdlearn pretrain` makes mini. A stage ends at its steps if given, else its minutes."""

    output: Path = Path("mini")  # the finished model folder
    work: Path = Path("pretrain-work")  # pictures, checkpoints, sample sheets, losses: resumable
    start: Path | None = None  # a model folder to train further from: only stage unet runs
    stages: tuple[Stage, ...] = STAGES  # which stages to run, in this order
    pictures: int = 40_000  # training pictures rendered once
    image_size: int = 128  # pixels; the VAE reduces it to latents of 16 x 16
    seed: int = 0  # of every random number of the recipe
    notes: str = ""  # for the model card: what of this run its settings do not say

    vae_minutes: float = 45.0  # of training, on the machine that is used
    decoder_minutes: float = 45.0  # the VAE's decoder alone, at fixed latents
    clip_minutes: float = 30.0  # of training CLIP, whose text half mini draws by
    judges_minutes: float = 30.0  # for all three judges together
    unet_minutes: float = 180.0  # of training the U-Net
    vae_steps: int | None = None  # optimizer steps, instead of minutes: repeatable to the bit
    decoder_steps: int | None = None  # optimizer steps, instead of minutes
    clip_steps: int | None = None  # optimizer steps, instead of minutes
    judges_steps: int | None = None  # optimizer steps of each judge, instead of minutes
    unet_steps: int | None = None  # optimizer steps, instead of minutes

    vae_batch: int = 12  # crops of pictures an optimizer step
    vae_crop: int = 64  # pixels; a part of each picture, at a grid of 4: a quarter of the cost
    clip_batch: int = 128  # pictures with captions an optimizer step
    judges_batch: int = 64  # pictures an optimizer step
    unet_batch: int = 32  # pictures an optimizer step
    vae_learning_rate: float = 1.5e-3  # AdamW's highest; all rates warm up, then fall as a cosine
    clip_learning_rate: float = 7e-4  # AdamW's highest
    judges_learning_rate: float = 1e-3  # AdamW's highest
    unet_learning_rate: float = 1e-3  # AdamW's highest
    text_learning_rate: float = 2e-4  # of the text encoder while it trains with the U-Net
    muon_factor: float = 2.0  # on the rates, of hidden layers' matrices, which Muon trains

    vae_channels: tuple[int, ...] = (24, 48, 96, 128)  # of each level, from the pixels inwards
    unet_channels: tuple[int, ...] = (64, 128, 256)  # of each level, from the latents inwards
    text_width: int = 192  # of the text encoder's hidden states, which the U-Net attends to
    text_layers: int = 4  # transformer layers of the text encoder
    merges: int = 600  # at most, of the tokenizer, for each language

    train_text_encoder: bool = True  # with the U-Net; False: frozen after CLIP, as in SD
    caption_dropout: float = 0.1  # share of empty captions, as SD was trained
    japanese: float = 0.45  # share of Japanese captions
    snr_gamma: float = 5.0  # min-SNR weighting, arXiv:2303.09556
    snr_floor: float = 0.05  # signal-to-noise ratio below which timesteps weigh as much as at it
    detail_weight: float = 1.0  # what subjects weigh, beside 1 for the whole picture
    ema_decay: float = 0.998  # a step, of U-Net and text encoder

    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1", "mps"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 on CUDA, fp32 elsewhere, though processors that multiply in bf16 (AVX512_BF16)
    train 1.5 times faster with it"""
    checkpoint_seconds: float = 180.0  # between checkpoints of a stage
    sheet_seconds: float = 600.0  # between sample sheets
    workers: int | None = None  # processes that render; None: one a core

    def minutes(self, stage: str) -> float:
        """Time budget of a stage."""
        return getattr(self, f"{stage}_minutes")

    def steps(self, stage: str) -> int | None:
        """Fixed number of optimizer steps of a stage, or None."""
        return getattr(self, f"{stage}_steps")

    def check(self) -> None:
        """Raise `ValueError` before anything is rendered or trained."""
        factor = 2 ** (len(self.vae_channels) - 1)
        if self.image_size % (4 * factor):
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of {4 * factor}: the VAE reduces "
                f"{factor} times, and the U-Net 4 times more"
            )
        self._check_numbers()
        if self.vae_crop % factor or self.vae_crop > self.image_size:
            raise ValueError(
                f"vae_crop {self.vae_crop} must be a multiple of {factor}, and no larger than "
                f"the pictures' {self.image_size} pixels"
            )
        if self.pictures < 16:
            raise ValueError(f"pictures {self.pictures} are too few: 16 at least")
        if self.start is not None and not (self.start / "model_index.json").is_file():
            raise ValueError(f"start {self.start} has no model_index.json: name a model folder")
        unknown = set(self.stages) - set(STAGES)
        if unknown:
            raise ValueError(f"stages {sorted(unknown)} do not exist: choose from {STAGES}")
        if self.output.exists() and not self.output.is_dir():
            raise ValueError(f"output {self.output} is a file: name a folder")
        check_device(self.device)

    def _check_numbers(self) -> None:
        for name in AT_LEAST_ONE:
            values = getattr(self, name)
            for value in values if isinstance(values, tuple) else (values,):
                if value is not None and value < 1:
                    raise ValueError(f"{name} is {value}: give at least 1")
        for name in ABOVE_ZERO:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}: give a number above 0")
        for name in ("detail_weight", "snr_floor", "checkpoint_seconds", "sheet_seconds", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give 0 or more")
        for name in ("caption_dropout", "japanese"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give a share from 0 to 1")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}: give a number from 0 to below 1")


def check_device(name: str) -> None:
    """Raise ValueError for a device that is not here, or is none. Imports torch."""
    if name in ("auto", "cpu"):
        return
    import torch

    here = ["cpu"]
    if torch.cuda.is_available():
        here += ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        here.append("mps")
    if name not in here:
        raise ValueError(f"device {name} is not here: choose from auto, {', '.join(here)}")
