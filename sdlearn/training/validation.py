"""The loss on a fixed grid of (picture, timestep, noise), so that two runs can be compared.

A step's own loss hardly shows progress: it depends on the timesteps that happen to be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from sdlearn.data.cache import MomentCache, latents_from_moments
from sdlearn.data.encoded import descriptions
from sdlearn.diffusion import NoiseSchedule
from sdlearn.training.batches import sample_generator
from sdlearn.training.config import FitConfig
from sdlearn.training.method import losses_at, training_size

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.training.method import Method

NUM_TIMESTEPS = 8  # of the grid, at equal distances
ROW = 2  # of random numbers; 0 and 1 are those of training


def validation_loss(
    method: Method, pictures: Sequence[Picture], config: FitConfig | None = None
) -> float:
    """Measure how well the model of a method, as it is now, denoises pictures: unweighted loss.

    It is the same for the same weights, pictures and captions, whatever the method, the seed and
    the number of steps, and takes no random number from anywhere. Of `config` the resolution and
    the batch size count. Captions are those the method trains with. Raises ValueError for a picture
    without one.
    """
    return ValidationGrid(method, pictures, config or FitConfig()).loss()


def validation_captions(method: Method, pictures: Sequence[Picture]) -> list[str]:
    """Return what each picture's loss is measured under; ValueError where that lacks words.

    It is the method's `caption` of the picture, of a method without one the picture's own.
    """
    caption = getattr(method, "caption", None)
    if caption is not None:
        return [caption(picture) for picture in descriptions(pictures)]
    for picture in descriptions(pictures):
        if not picture.text:
            raise ValueError(
                f"{picture.path or 'a picture'} has no caption to measure its loss under: write "
                "one into metadata.jsonl"
            )
    return [picture.text for picture in descriptions(pictures)]


class ValidationGrid:
    """Pictures encoded once, to measure the loss on them again and again."""

    def __init__(self, method: Method, pictures: Sequence[Picture], config: FitConfig) -> None:
        self.method, self.config = method, config
        if not pictures:
            return
        self.captions = validation_captions(method, pictures)
        moments = MomentCache(method.sd, pictures, training_size(method.sd, config))
        mean_and_logvar = moments.moments[:, 0]  # (N, 2C, h, w)
        none = torch.zeros_like(mean_and_logvar.chunk(2, dim=1)[0])
        self.latents = latents_from_moments(mean_and_logvar, none, moments.scaling_factor)
        self.time_ids = moments.time_ids
        self.schedule = NoiseSchedule.from_scheduler(method.sd.noise_scheduler).to(none.device)

    @torch.no_grad()
    def loss(self) -> float:
        """Return the mean over the grid, in float32 where nothing says otherwise."""
        size = self.config.train_batch_size
        starts = range(0, len(self.captions), size)
        losses = [
            self._losses(list(range(start, min(start + size, len(self.captions)))), place)
            for start in starts
            for place in range(NUM_TIMESTEPS)
        ]
        return float(torch.cat(losses).mean())

    def _losses(self, indices: list[int], place: int) -> torch.Tensor:
        """The losses of some pictures at one of the timesteps, each with its own noise."""
        latents, sd = self.latents[indices], self.method.sd
        samples = [index * NUM_TIMESTEPS + place for index in indices]
        generators = [sample_generator(0, ROW, sample) for sample in samples]
        noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators])
        timestep = int((place + 0.5) * self.schedule.num_train_timesteps / NUM_TIMESTEPS)
        timesteps = torch.full((len(indices),), timestep, device=latents.device)
        conditioning = sd.condition([self.captions[i] for i in indices])
        conditioning = conditioning.with_sizes(self.time_ids[indices])
        noise = noise.to(latents.device)
        return losses_at(sd.unet, latents, conditioning, noise, timesteps, schedule=self.schedule)
