"""Every number of the recipe that makes mini, its unit, and why. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Stage = Literal["vae", "decoder", "clip", "judges", "unet"]
STAGES: tuple[Stage, ...] = ("vae", "decoder", "clip", "judges", "unet")
DETAILS = ("hair", "top", "expression", "glasses")  # attributes that show in some places only


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """How `sdlearn pretrain` makes mini. A stage ends at its steps if given, else its minutes."""

    output: Path = Path("mini")  # the finished model folder
    work: Path = Path("pretrain-work")  # pictures, checkpoints, sample sheets, losses: resumable
    start: Path | None = None  # a model folder to train further from: only stage unet runs
    stages: tuple[Stage, ...] = STAGES  # which stages to run, in this order
    pictures: int = 24_000  # training pictures rendered once
    image_size: int = 64  # pixels; the VAE reduces it to latents of 16 x 16
    seed: int = 0
    notes: str = ""  # for the model card: what of this run its settings do not say

    vae_minutes: float = 45.0
    decoder_minutes: float = 45.0  # the VAE's decoder alone, at fixed latents
    clip_minutes: float = 30.0
    judges_minutes: float = 30.0  # for all three judges together
    unet_minutes: float = 180.0
    vae_steps: int | None = None  # optimizer steps, instead of minutes: repeatable to the bit
    decoder_steps: int | None = None
    clip_steps: int | None = None
    judges_steps: int | None = None
    unet_steps: int | None = None

    vae_batch: int = 8  # pictures an optimizer step
    clip_batch: int = 128
    judges_batch: int = 64
    unet_batch: int = 16
    vae_learning_rate: float = 1.5e-3
    clip_learning_rate: float = 7e-4
    judges_learning_rate: float = 1e-3
    unet_learning_rate: float = 5e-4
    text_learning_rate: float = 2e-4  # of the text encoder while it trains with the U-Net

    vae_channels: tuple[int, ...] = (32, 48, 96)
    unet_channels: tuple[int, ...] = (64, 128, 192)
    text_width: int = 192  # of the text encoder's hidden states, which the U-Net attends to
    text_layers: int = 4
    merges: int = 600  # at most, of the tokenizer, for each language

    train_text_encoder: bool = True  # with the U-Net; False: frozen after CLIP, as in SD
    caption_dropout: float = 0.1  # share of empty captions, as SD was trained
    japanese: float = 0.45  # share of Japanese captions
    snr_gamma: float = 5.0  # min-SNR weighting, arXiv:2303.09556
    snr_floor: float = 0.05  # signal-to-noise ratio below which timesteps weigh as much as at it
    detail: tuple[str, ...] = ("expression", "hair", "top")  # attributes whose places weigh more
    detail_weight: float = 1.0  # what each of them weighs, beside 1 for the whole picture
    ema_decay: float = 0.998  # a step, of U-Net and text encoder

    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1", "mps"
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on CUDA, fp32 elsewhere,
    # though processors that multiply in bf16 (AVX512_BF16) train 1.5 times faster with it
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
        """Raises `ValueError` before anything is rendered or trained."""
        factor = 2 ** (len(self.vae_channels) - 1)
        if self.image_size % (4 * factor):
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of {4 * factor}: the VAE reduces "
                f"{factor} times, and the U-Net 4 times more"
            )
        if self.pictures < 16:
            raise ValueError(f"pictures {self.pictures} are too few: 16 at least")
        if self.start is not None and not (self.start / "model_index.json").is_file():
            raise ValueError(f"start {self.start} has no model_index.json: name a model folder")
        if not self.detail_weight >= 0:
            raise ValueError(f"detail_weight is {self.detail_weight}: give 0 or more")
        strangers = set(self.detail) - set(DETAILS)
        if strangers:
            raise ValueError(f"detail {sorted(strangers)} cannot be: choose from {DETAILS}")
        unknown = set(self.stages) - set(STAGES)
        if unknown:
            raise ValueError(f"stages {sorted(unknown)} do not exist: choose from {STAGES}")
        if self.output.exists() and not self.output.is_dir():
            raise ValueError(f"output {self.output} is a file: name a folder")
