"""A small U-Net of its own that is told a drawing style and a background, trained from nothing.

It is told one number for both, as the models of Ho and Salimans 2022 (arXiv:2207.12598) are told a
class of ImageNet: that is learnt in minutes, where words take hours. In the place of the empty
prompt stands a number of its own. It works in mini's latents, of pictures half as high and wide as
mini's, for the same reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DModel
from diffusers.image_processor import VaeImageProcessor

from sdlearn.data.cache import MomentCache
from sdlearn.data.styles import BASE_STYLES
from sdlearn.data.vocabulary import BACKGROUNDS
from sdlearn.diffusion import NoiseSchedule, classifier_free_guidance, diffusion_loss
from sdlearn.finetune.denoising import DenoisingStage

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.data.folder import Picture
    from sdlearn.finetune import FitConfig
    from sdlearn.models import StableDiffusion
    from sdlearn.training.batches import Batch

IMAGE_SIZE = 32  # pixels, height and width; the judges still see style and background at that
STYLES, COLOURS = tuple(sorted(BASE_STYLES)), tuple(BACKGROUNDS)
NONE = len(STYLES) * len(COLOURS)  # the label of a picture of which nothing is told
DRAWN_AT_A_TIME = 32


def label_of(attributes: Mapping[str, str]) -> int:
    """The number of a style on a background."""
    style, colour = STYLES.index(attributes["style"]), COLOURS.index(attributes["background"])
    return style * len(COLOURS) + colour


def attributes_of(label: int) -> dict[str, str]:
    """Style and background of a number; raises ValueError for `NONE` and beyond."""
    if not 0 <= label < NONE:
        raise ValueError(f"label {label} says no style: give 0 to {NONE - 1}")
    style, colour = divmod(label, len(COLOURS))
    return {"style": STYLES[style], "background": COLOURS[colour]}


@dataclass(frozen=True, kw_only=True)
class LabelledConfig:
    """How often nothing is told, and how wide the network is."""

    caption_dropout: float = 0.1  # share of pictures of which nothing is told
    channels: tuple[int, int] = (64, 128)  # of the U-Net's two levels


class Labelled(DenoisingStage):
    """The U-Net as a method for the training loop; VAE and noise schedule are the given model's."""

    name = "labelled"
    default_learning_rate = 1e-3  # so small a network bears it, and has little time

    def __init__(self, sd: StableDiffusion, config: LabelledConfig) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # every one starts from the same weights
            unet = UNet2DModel(
                sample_size=IMAGE_SIZE // sd.vae_reduction,
                in_channels=sd.unet.config.in_channels,
                out_channels=sd.unet.config.out_channels,
                block_out_channels=config.channels,
                layers_per_block=1,
                norm_num_groups=16,
                attention_head_dim=32,
                down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                up_block_types=("AttnUpBlock2D", "UpBlock2D"),
                num_class_embeds=NONE + 1,
            )
        parts: dict[str, Any] = {"unet": unet.to(sd.device), "name": self.name}
        super().__init__(replace(sd.freeze(), **parts), config)
        self.schedule = NoiseSchedule.from_scheduler(sd.noise_scheduler).to(sd.device)

    def trained(self) -> dict[str, torch.nn.Module]:
        """The U-Net."""
        return {"unet": self.sd.unet}

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """All of its weights."""
        return [{"params": list(self.sd.unet.parameters()), "lr": learning_rate}]

    def check(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Raise ValueError for a picture of unknown style or background."""
        for picture in pictures:
            label_of(picture.attributes)

    def prepare(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Encode the pictures."""
        self.snr_gamma = config.snr_gamma
        self.moments = MomentCache(self.sd, pictures, IMAGE_SIZE)
        self.labels = [label_of(picture.attributes) for picture in pictures]

    def loss(self, batch: Batch, unet: torch.nn.Module) -> torch.Tensor:
        """Denoise pictures under their labels, or under none at times.

        Source: Ho and Salimans 2022, arXiv:2207.12598, algorithm 1.
        """
        generators = batch.generators
        latents = self.moments.latents(list(batch.indices), generators)
        told = [self._told(i, g) for i, g in zip(batch.indices, generators, strict=True)]
        noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators])
        number = self.schedule.num_train_timesteps
        timesteps = torch.stack([torch.randint(number, (), generator=g) for g in generators])
        noise, timesteps = noise.to(latents.device), timesteps.to(latents.device)
        noisy_latents = self.schedule.add_noise(latents, noise, timesteps)
        labels = torch.tensor(told, device=latents.device)
        model_pred = unet(noisy_latents, timesteps, class_labels=labels).sample
        target = self.schedule.target(latents, noise, timesteps)
        weights = self.schedule.loss_weights(timesteps, self.snr_gamma)
        return diffusion_loss(model_pred, target, weights).mean()

    def save(self, path: str | Path) -> Path:
        """Write the U-Net to a folder."""
        self.sd.unet.save_pretrained(path)
        return Path(path)

    @torch.no_grad()
    def draw(
        self, labels: Sequence[int], *, steps: int, guidance_scale: float
    ) -> list[Image.Image]:
        """One picture a label; picture i has seed i."""
        self.sd.unet.eval()
        images: list[Image.Image] = []
        side = self.sd.unet.config.sample_size
        shape = (self.sd.unet.config.in_channels, side, side)
        for start in range(0, len(labels), DRAWN_AT_A_TIME):
            part = torch.tensor(labels[start : start + DRAWN_AT_A_TIME], device=self.sd.device)
            seeds = range(start, start + len(part))
            noise = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
            latents = torch.stack(noise).to(self.sd.device)  # (B, C, h, w)
            sampler: Any = self.sd.sampler()
            sampler.set_timesteps(steps)
            for timestep in sampler.timesteps:
                model_pred = self._guided(latents, timestep, part, guidance_scale)
                latents = sampler.step(model_pred, timestep, latents).prev_sample
            pixel_values = self.sd.vae.decode(latents / self.sd.vae.config.scaling_factor).sample
            images += VaeImageProcessor().postprocess(pixel_values, output_type="pil")
        return images

    def _guided(
        self, latents: torch.Tensor, timestep: torch.Tensor, labels: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """The prediction under the labels, led away from that under none."""
        told = self.sd.unet(latents, timestep, class_labels=labels).sample
        if scale == 1:
            return told
        nothing = torch.full_like(labels, NONE)
        untold = self.sd.unet(latents, timestep, class_labels=nothing).sample
        return classifier_free_guidance(untold, told, scale)

    def _told(self, index: int, generator: torch.Generator) -> int:
        dropped = float(torch.rand((), generator=generator)) < self.config.caption_dropout
        return NONE if dropped else self.labels[index]
