"""The noise schedule: how much of a picture is left at each timestep, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from sdlearn.diffusion.loss import check_prediction_type, min_snr_weights


@dataclass(frozen=True, kw_only=True)
class NoiseSchedule:
    """The facts of a diffusers scheduler that training needs.

    `latents` and `noise` are (B, C, h, w), `timesteps` (B,) int64 in [0, T). The tensors of a
    schedule live on one device; `to` makes a schedule for another.

    Source: Ho et al. 2020, arXiv:2006.11239, eq. 4; Salimans and Ho 2022, arXiv:2202.00512 (v).
    """

    alphas_cumprod: torch.Tensor  # (T,) float32, alpha_bar: the share of the picture's variance
    prediction_type: str = "epsilon"  # what the model predicts: epsilon, v_prediction or sample

    @classmethod
    def from_scheduler(cls, noise_scheduler: Any) -> NoiseSchedule:
        """Read the schedule off any diffusers scheduler that adds noise by `alphas_cumprod`.

        Raises ValueError for a prediction type that is not known.
        """
        prediction_type = noise_scheduler.config.get("prediction_type", "epsilon")
        check_prediction_type(prediction_type)
        alphas_cumprod = noise_scheduler.alphas_cumprod.detach().float().clone()
        return cls(alphas_cumprod=alphas_cumprod, prediction_type=prediction_type)

    @property
    def num_train_timesteps(self) -> int:
        """T, the number of timesteps."""
        return len(self.alphas_cumprod)

    def to(self, device: torch.device | str) -> NoiseSchedule:
        """Return the same schedule on a device."""
        return replace(self, alphas_cumprod=self.alphas_cumprod.to(device))

    def snr(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Return the signal-to-noise ratio alpha_bar / (1 - alpha_bar): (B,) -> (B,)."""
        alpha_bar = self.alphas_cumprod[timesteps]
        return alpha_bar / (1 - alpha_bar)

    def add_noise(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """Return `noisy_latents`, sqrt(alpha_bar) latents + sqrt(1 - alpha_bar) noise.

        Source: Ho et al. 2020, arXiv:2006.11239, eq. 4.
        """
        signal, spread = self._coefficients(latents, timesteps)
        return signal * latents + spread * noise

    def target(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """Return what the model should predict: the noise, the velocity v or the latents.

        Source: Salimans and Ho 2022, arXiv:2202.00512, appendix D, for v.
        """
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return latents
        signal, spread = self._coefficients(latents, timesteps)
        return signal * noise - spread * latents

    def loss_weights(self, timesteps: torch.Tensor, snr_gamma: float | None) -> torch.Tensor | None:
        """Return the min-SNR weight of each sample, (B,), or None where `snr_gamma` is None."""
        if snr_gamma is None:
            return None
        return min_snr_weights(self.snr(timesteps), snr_gamma, self.prediction_type)

    def _coefficients(
        self, latents: torch.Tensor, timesteps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        alpha_bar = self.alphas_cumprod[timesteps].view(-1, *[1] * (latents.dim() - 1))
        return alpha_bar.sqrt().to(latents.dtype), (1 - alpha_bar).sqrt().to(latents.dtype)
