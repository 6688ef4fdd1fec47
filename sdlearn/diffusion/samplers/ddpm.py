"""DDPM: undo the noise as it was added, a little at a time, with fresh noise at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config

from sdlearn.diffusion.samplers.scheduler import SchedulerBase

VARIANCE_TYPES = ("fixed_small", "fixed_large")


def ddpm_mean(
    sample: torch.Tensor,
    pred_original_sample: torch.Tensor,
    *,
    alpha_bar: float,
    alpha_bar_prev: float,
) -> torch.Tensor:
    """Mean of the previous sample given this one and the picture, all (B, ...).

    `alpha_bar` is the noise level left behind, `alpha_bar_prev` the one to go to; they may be many
    training timesteps apart.

    Source: Ho et al. 2020, arXiv:2006.11239, eq. 7.
    """
    alpha = alpha_bar / alpha_bar_prev
    of_picture = math.sqrt(alpha_bar_prev) * (1 - alpha) / (1 - alpha_bar)
    of_sample = math.sqrt(alpha) * (1 - alpha_bar_prev) / (1 - alpha_bar)
    return of_picture * pred_original_sample + of_sample * sample


def ddpm_variance(alpha_bar: float, alpha_bar_prev: float, variance_type: str) -> float:
    """Variance of the fresh noise.

    "fixed_large" is right for data that is standard normal, "fixed_small" for data that is one
    point; all other data lies between. Raises ValueError for another type.

    Source: Ho et al. 2020, arXiv:2006.11239, eq. 7 and section 3.2.
    """
    if variance_type not in VARIANCE_TYPES:
        raise ValueError(
            f'variance_type is "{variance_type}": give one of {", ".join(VARIANCE_TYPES)}'
        )
    large = 1 - alpha_bar / alpha_bar_prev
    return (
        large if variance_type == "fixed_large" else large * (1 - alpha_bar_prev) / (1 - alpha_bar)
    )


class PlainDDPMScheduler(SchedulerBase, SchedulerMixin, ConfigMixin):
    """DDPM by hand, equal to diffusers' `DDPMScheduler` step by step.

    Its last step adds no noise whatever the variance, as in the paper's algorithm 2; diffusers'
    adds some with "fixed_large" where the last timestep is not 0.

    Source: Ho et al. 2020, arXiv:2006.11239, algorithm 2.
    """

    @register_to_config
    def __init__(
        self,
        *,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | None = None,
        rescale_betas_zero_snr: bool = False,
        prediction_type: str = "epsilon",
        timestep_spacing: str = "leading",
        steps_offset: int = 0,
        clip_sample: bool = True,
        clip_sample_range: float = 1.0,
        thresholding: bool = False,
        variance_type: str = "fixed_small",
    ) -> None:
        self._set_up()
        ddpm_variance(0.5, 0.6, variance_type)  # refuses an unknown type now, not at the first step

    def step(
        self,
        model_output: torch.Tensor,
        timestep: torch.Tensor | int,
        sample: torch.Tensor,
        *,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Take one step, all tensors (B, ...) -> `prev_sample` in the sample's dtype.

        Raises ValueError for a timestep that is not the run's, or an output that does not fit.
        """
        following = self._next_timestep(timestep)
        noisy, picture, _ = self._predict(model_output, timestep, sample)
        if following is None:
            return self._output(picture, picture, sample.dtype, return_dict)
        alpha_bar, alpha_bar_prev = self._alpha_bar(timestep), self._alpha_bar(following)
        mean = ddpm_mean(noisy, picture, alpha_bar=alpha_bar, alpha_bar_prev=alpha_bar_prev)
        variance = ddpm_variance(alpha_bar, alpha_bar_prev, self.config.variance_type)
        noise = self._fresh_noise(model_output, noisy.dtype, generator)
        prev_sample = mean + math.sqrt(variance) * noise
        return self._output(prev_sample, picture, sample.dtype, return_dict)
