"""The loss that the methods share: noise latents, predict, and compare."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.data.cache import MomentCache, latents_from_moments
from sdlearn.data.encoded import descriptions
from sdlearn.diffusion import NoiseSchedule, diffusion_loss
from sdlearn.finetune.provenance import collect_provenance, draw_previews, record
from sdlearn.models.conditioning import Conditioning
from sdlearn.models.samplers import check_steps
from sdlearn.training.batches import sample_generator
from sdlearn.training.config import FitConfig
from sdlearn.training.method import Stage
from sdlearn.training.settings import choose_learning_rate

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion

NUM_TIMESTEPS = 8  # of the validation grid, at equal distances
ROW = 2  # of the validation grid's random numbers; 0 and 1 are those of training


class DenoisingStage(Stage):
    """A stage that trains parts of Stable Diffusion by its denoising loss."""

    sd: StableDiffusion  # what trains is a copy in here; the rest is shared with what was given

    def __init__(self, sd: StableDiffusion, config: Any) -> None:
        self.sd, self.config = sd, config
        self.fit_config = FitConfig()
        self.made: dict[str, Any] = {}

    @property
    def suited_learning_rate(self) -> float:
        """The model's own for this method, else the method's."""
        return self.sd.learning_rates.get(self.name, self.default_learning_rate)

    @property
    def suited_snr_gamma(self) -> float | None:
        """The model's own for this method, if any."""
        return self.sd.snr_gammas.get(self.name)

    def identity(self, pictures: Any) -> dict[str, Any]:
        """The method and its settings, the model's name, and a checksum of the pictures."""
        facts = {"base_model": self.sd.name, "pictures": _fingerprint(pictures)}
        return {**super().identity(pictures), **facts}

    @abstractmethod
    def save(self, path: str | Path) -> Path:
        """Write what was learned, and return where."""

    def caption(self, picture: Picture) -> str:
        """Return what a picture is learnt under: its own caption."""
        return picture.text

    def captions(self, pictures: Sequence[Picture]) -> list[str]:
        """Return what each picture is learnt under; ValueError where that lacks words."""
        found = []
        for picture in descriptions(pictures):
            found.append(self.caption(picture))
            if not found[-1]:
                raise ValueError(
                    f"{picture.path or 'a picture'} has no caption to measure its loss under: "
                    "write one into metadata.jsonl"
                )
        return found

    def check(self, pictures: Any, config: FitConfig) -> None:
        """Raise ValueError for no pictures, a size that is wrong, and too many sampler steps."""
        if not pictures:
            raise ValueError("there are no pictures to train on: give at least one")
        training_size(self.sd, config)
        if config.preview_prompts:
            check_steps(config.preview_inference_steps, self.sd.noise_scheduler)

    def to(self, device: torch.device) -> None:
        """Move the model to a device."""
        self.sd.to(device)

    def recomputable(self) -> list[torch.nn.Module]:
        """Return the U-Net, through which gradients flow even where it is frozen."""
        return [self.sd.unet]

    def begin(self, pictures: Any, config: FitConfig, device: torch.device) -> None:
        """Note pictures, settings, hardware and date, for the card of what is saved."""
        self.fit_config = config
        self.made = collect_provenance(self, pictures, str(device))

    def prepare(self, pictures: Any, config: FitConfig) -> None:
        """Take the settings, and the model's noise schedule."""
        self.fit_config = config
        self.schedule = NoiseSchedule.from_scheduler(self.sd.noise_scheduler).to(self.sd.device)

    def encode(self, pictures: Any, config: FitConfig) -> None:
        """Encode the pictures once for all, as `moments`; the VAE is let go of."""
        size = training_size(self.sd, config)
        with self.sd.whole("vae"):
            self.moments = MomentCache(self.sd, pictures, size, config.random_flip)
        self.sd.let_go("vae")

    def denoise(
        self,
        unet: torch.nn.Module,
        indices: Sequence[int],
        generators: Sequence[torch.Generator],
        conditioning: Conditioning,
        latents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the losses (B,) of encoded pictures under a conditioning of B rows.

        `latents` are drawn before, where the generators draw something else in between.
        """
        own = list(indices)
        return denoising_losses(
            unet,
            self.moments.latents(own, generators) if latents is None else latents,
            conditioning.with_sizes(self.moments.time_ids[own]),
            generators,
            schedule=self.schedule,
            snr_gamma=self.fit_config.snr_gamma,
        )

    def record(self) -> dict[str, Any]:
        """Return what a saved artefact says of itself; the learning rate is that which was used."""
        rate = choose_learning_rate(self, self.fit_config)
        return record(self, replace(self.fit_config, learning_rate=rate))

    def validation(self, pictures: Sequence[Picture], config: FitConfig) -> Callable[[], float]:
        """Encode pictures once, and return what measures the loss on them again and again."""
        return ValidationGrid(self, pictures, config).loss

    def draw_previews(self, config: FitConfig, step: int) -> None:
        """Draw each of `preview_prompts`."""
        draw_previews(self.sd, config, step)


def denoising_losses(
    unet: torch.nn.Module,
    latents: torch.Tensor,
    conditioning: Conditioning | torch.Tensor,
    generators: Sequence[torch.Generator],
    *,
    schedule: NoiseSchedule,
    snr_gamma: float | None,
    noise_offset: float = 0.0,
) -> torch.Tensor:
    """Noise latents (B, C, h, w), predict, and compare: the weighted loss of each sample, (B,).

    Timestep and noise of each sample come from its own generator. `conditioning` has B rows, or is
    the states (B, L, D) alone where the model takes no more. `noise_offset` is the size of a number
    that each channel's noise is shifted by.

    Source: Rombach et al. 2021, arXiv:2112.10752, eq. 3; Guttenberg 2023, "Diffusion with offset
    noise", crosslabs.org, for the offset.
    """
    timesteps = torch.stack(
        [torch.randint(schedule.num_train_timesteps, (), generator=g) for g in generators]
    ).to(latents.device, non_blocking=True)
    noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators])
    if noise_offset:
        shifts = [torch.randn((latents.shape[1], 1, 1), generator=g) for g in generators]
        noise = noise + noise_offset * torch.stack(shifts)  # (B, C, h, w)
    noise = noise.to(latents.device, non_blocking=True)
    weights = schedule.loss_weights(timesteps, snr_gamma)
    return losses_at(
        unet, latents, conditioning, noise, timesteps, schedule=schedule, weights=weights
    )


def losses_at(
    unet: torch.nn.Module,
    latents: torch.Tensor,
    conditioning: Conditioning | torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    *,
    schedule: NoiseSchedule,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return each sample's loss, (B,), at given noise (B, C, h, w) and timesteps (B,)."""
    noisy_latents = schedule.add_noise(latents, noise, timesteps)
    dtype = next(unet.parameters()).dtype
    if isinstance(conditioning, torch.Tensor):
        conditioning = Conditioning(conditioning)
    inputs = conditioning.to(dtype=dtype).unet_inputs()
    model_pred = unet(noisy_latents.to(dtype), timesteps, **inputs, return_dict=False)[0]
    return diffusion_loss(model_pred, schedule.target(latents, noise, timesteps), weights)


def training_size(sd: StableDiffusion, config: FitConfig) -> int:
    """Height and width in pixels to train at; raises ValueError where the model cannot."""
    size = config.resolution or sd.image_size
    sd.check_size(size)
    return size


def validation_loss(
    stage: DenoisingStage, pictures: Sequence[Picture], config: FitConfig | None = None
) -> float:
    """Measure how well the model of a method, as it is now, denoises pictures: unweighted loss.

    It is the same for the same weights, pictures and captions, whatever the method, the seed and
    the number of steps, and takes no random number from anywhere. Of `config` the resolution and
    the batch size count. Captions are those the method trains with. Raises ValueError for a picture
    without one.
    """
    return ValidationGrid(stage, pictures, config or FitConfig()).loss()


class ValidationGrid:
    """A fixed grid of (picture, timestep, noise), so that two runs can be compared.

    A step's own loss hardly shows progress: it depends on the timesteps that happen to be drawn.
    """

    def __init__(
        self, stage: DenoisingStage, pictures: Sequence[Picture], config: FitConfig
    ) -> None:
        self.sd, self.config = stage.sd, config
        self.captions = stage.captions(pictures)
        with self.sd.whole("vae"):
            moments = MomentCache(self.sd, pictures, training_size(self.sd, config))
        mean_and_logvar = moments.moments[:, 0]  # (N, 2C, h, w)
        none = torch.zeros_like(mean_and_logvar.chunk(2, dim=1)[0])
        self.latents = latents_from_moments(mean_and_logvar, none, moments.scaling_factor)
        self.time_ids = moments.time_ids
        self.schedule = NoiseSchedule.from_scheduler(stage.sd.noise_scheduler).to(none.device)

    @torch.no_grad()
    def loss(self) -> float:
        """Return the mean over the grid, in float32 where nothing says otherwise."""
        size = self.config.train_batch_size
        starts = range(0, len(self.captions), size)
        with self.sd.whole(*self.sd.text_encoders):
            losses = [
                self._losses(list(range(start, min(start + size, len(self.captions)))), place)
                for start in starts
                for place in range(NUM_TIMESTEPS)
            ]
        return float(torch.cat(losses).mean())

    def _losses(self, indices: list[int], place: int) -> torch.Tensor:
        """The losses of some pictures at one of the timesteps, each with its own noise."""
        latents, sd = self.latents[indices], self.sd
        samples = [index * NUM_TIMESTEPS + place for index in indices]
        generators = [sample_generator(0, ROW, sample) for sample in samples]
        noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators])
        timestep = int((place + 0.5) * self.schedule.num_train_timesteps / NUM_TIMESTEPS)
        timesteps = torch.full((len(indices),), timestep, device=latents.device)
        conditioning = sd.condition([self.captions[i] for i in indices])
        conditioning = conditioning.with_sizes(self.time_ids[indices])
        noise = noise.to(latents.device)
        return losses_at(sd.unet, latents, conditioning, noise, timesteps, schedule=self.schedule)


def _fingerprint(pictures: Any) -> str:
    """What other pictures or captions do not share; streams and lazy folders have their own."""
    if hasattr(pictures, "fingerprint"):
        return pictures.fingerprint
    digest = 0
    for picture in pictures:
        digest = zlib.crc32(picture.image.tobytes() + picture.text.encode(), digest)
    return f"{len(pictures)}, checksum {digest:08x}"
