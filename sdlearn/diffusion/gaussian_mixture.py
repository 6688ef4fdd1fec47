"""Data for which everything is known: a mixture of Gaussians, and its exact denoiser.

Noise turns a mixture into a mixture, so at every noise level the density, its score and hence the
best possible prediction of a network have a formula. With them a sampler is tested alone: what is
wrong with its samples is the sampler's doing and no network's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from diffusers.models.unets.unet_2d import UNet2DOutput

from sdlearn.diffusion.schedule import NoiseSchedule

NO_CLASS = -1  # the class label of a sample whose class is not said


@dataclass(frozen=True, kw_only=True)
class GaussianMixture:
    """K Gaussians in D dimensions, each with a weight; each is also a class, 0 to K - 1.

    Samples are (B, ...) with D values each, of any shape. All is computed in float64. Raises
    ValueError where the parts do not fit together or a covariance is not one.
    """

    means: torch.Tensor  # (K, D)
    covariances: torch.Tensor  # (K, D, D), or (K,) variances of round Gaussians; 0 is a point
    weights: torch.Tensor | None = None  # (K,), positive with sum 1; None for equal ones

    def __post_init__(self) -> None:
        if self.means.dim() != 2:
            raise ValueError(f"means are {tuple(self.means.shape)}: give (components, dimensions)")
        count, width = self.means.shape
        if tuple(self.covariances.shape) not in {(count,), (count, width, width)}:
            raise ValueError(
                f"covariances are {tuple(self.covariances.shape)} for means of {(count, width)}: "
                f"give {(count,)} variances or {(count, width, width)}"
            )
        if self.covariances.dim() == 3 and not torch.allclose(
            self.covariances, self.covariances.mT
        ):
            raise ValueError(
                "a covariance is not symmetric: give matrices equal to their transpose"
            )
        if self._spread[0].min() < -1e-9:
            raise ValueError("a covariance has a negative variance: give none below 0")
        if self.weights is not None and not (
            self.weights.shape == (count,)
            and self.weights.min() > 0
            and abs(float(self.weights.sum()) - 1) < 1e-6
        ):
            raise ValueError(f"weights are {self.weights.tolist()}: give {count} above 0, sum 1")

    def sample(self, number: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw (`number`, D) samples, float64, and the class of each, (`number`,) int64."""
        classes = torch.multinomial(
            self._log_weights.exp(), number, replacement=True, generator=generator
        )
        noise = torch.randn(number, self.means.shape[1], generator=generator, dtype=torch.float64)
        variances, axes = self._spread
        offsets = variances[classes].clamp(min=0).sqrt() * noise
        if axes is not None:
            offsets = torch.einsum("bij,bj->bi", axes[classes], offsets)
        return self.means.double()[classes] + offsets, classes

    def log_prob(
        self,
        sample: torch.Tensor,
        alpha_bar: torch.Tensor | float = 1.0,
        class_labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Log density after noise has left the share `alpha_bar` of the variance: (B, ...) -> (B,).

        `alpha_bar` is a number or (B,). `class_labels` (B,) asks for the density of that class
        alone; NO_CLASS, or None for all, for the whole mixture's.
        """
        return self._terms(sample, alpha_bar, class_labels)[0].logsumexp(dim=1)

    def epsilon(
        self,
        sample: torch.Tensor,
        alpha_bar: torch.Tensor | float,
        class_labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the mean of the noise in a noisy sample, -sqrt(1 - alpha_bar) times the score.

        It is what a network that predicts noise would answer at best. Arguments as in `log_prob`;
        the answer has the sample's shape and dtype.

        Source: Song et al. 2021, arXiv:2011.13456, section 2.1 (score and denoising).
        """
        log_shares, pulls = self._terms(sample, alpha_bar, class_labels)
        share = log_shares.softmax(dim=1)  # (B, K), of the components at this place
        score = torch.einsum("bk,bkd->bd", share, pulls)
        spread = (1 - _column(alpha_bar, sample)).sqrt()  # (B or 1, 1)
        return (-spread * score).reshape(sample.shape).to(sample.dtype)

    def _terms(
        self,
        sample: torch.Tensor,
        alpha_bar: torch.Tensor | float,
        class_labels: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each component's log weight times density, (B, K), and its own score, (B, K, D)."""
        width = self.means.shape[1]
        if sample.dim() < 2 or sample[0].numel() != width:
            raise ValueError(f"samples are {tuple(sample.shape)}: give (B, {width})")
        signal = _column(alpha_bar, sample)[:, :, None]  # (B or 1, 1, 1)
        variances, axes = self._spread
        means = self.means.to(sample.device, torch.float64)
        offsets = sample.double().flatten(1)[:, None] - signal.sqrt() * means  # (B, K, D)
        if axes is not None:
            axes = axes.to(sample.device)
            offsets = torch.einsum("kij,bki->bkj", axes, offsets)  # along the axes of each
        noisy = signal * variances.to(sample.device) + 1 - signal  # (B or 1, K, D)
        density = -0.5 * (offsets.square() / noisy + (2 * math.pi * noisy).log()).sum(dim=2)
        pulls = -offsets / noisy
        if axes is not None:
            pulls = torch.einsum("kij,bkj->bki", axes, pulls)
        return density + self._class_log_weights(class_labels, sample), pulls

    def _class_log_weights(
        self, class_labels: torch.Tensor | None, sample: torch.Tensor
    ) -> torch.Tensor:
        """Log weights of the components, (B or 1, K); 0 and -inf where a class is said."""
        log_weights = self._log_weights.to(sample.device)[None]
        if class_labels is None:
            return log_weights
        count = log_weights.shape[1]
        if class_labels.shape != sample.shape[:1] or not (
            class_labels.min() >= NO_CLASS and class_labels.max() < count
        ):
            raise ValueError(
                f"class_labels are {class_labels.tolist()} for {len(sample)} samples: give each "
                f"one from 0 to {count - 1}, or {NO_CLASS} for no class"
            )
        labels = class_labels.to(sample.device)[:, None]  # (B, 1)
        of_class = torch.arange(count, device=sample.device) == labels
        alone = torch.zeros_like(log_weights).masked_fill(~of_class, -math.inf)
        return torch.where(labels == NO_CLASS, log_weights, alone)

    @cached_property
    def _log_weights(self) -> torch.Tensor:
        count = len(self.means)
        equal = torch.full((count,), 1 / count, dtype=torch.float64)
        return (equal if self.weights is None else self.weights.double()).log()

    @cached_property
    def _spread(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Variances (K, D) along the axes (K, D, D, in columns) of each; axes None: any."""
        if self.covariances.dim() == 1:
            return self.covariances.double()[:, None].expand(self.means.shape), None
        return tuple(torch.linalg.eigh(self.covariances.double()))


@dataclass(frozen=True, kw_only=True)
class ExactDenoiser:
    """What a perfectly trained U-Net would answer; it is called as diffusers' `UNet2DModel` is."""

    mixture: GaussianMixture
    schedule: NoiseSchedule  # the noise levels of the timesteps, and what to predict

    def __call__(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | int,
        class_labels: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> UNet2DOutput | tuple[torch.Tensor]:
        """Predict noise, velocity or sample: (B, ...) -> `.sample` of the same shape and dtype.

        `timestep` is a whole number, or (B,) of them; `class_labels` as in `GaussianMixture`.
        """
        timesteps = torch.as_tensor(timestep, device=sample.device).long().expand(len(sample))
        schedule = self.schedule.to(sample.device)
        alpha_bar = schedule.alphas_cumprod[timesteps].double()  # (B,)
        noisy = sample.double()
        noise = self.mixture.epsilon(noisy, alpha_bar, class_labels)
        share = alpha_bar.view(-1, *[1] * (sample.dim() - 1))
        latents = (noisy - (1 - share).sqrt() * noise) / share.sqrt()
        prediction = schedule.target(latents, noise, timesteps).to(sample.dtype)
        return UNet2DOutput(sample=prediction) if return_dict else (prediction,)


def _column(alpha_bar: torch.Tensor | float, sample: torch.Tensor) -> torch.Tensor:
    """`alpha_bar` as float64 (B, 1), or (1, 1) where it is one number for all."""
    return torch.as_tensor(alpha_bar, dtype=torch.float64, device=sample.device).reshape(-1, 1)
