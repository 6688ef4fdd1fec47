"""DDIM: the same model, sampled with as much or as little fresh noise as one likes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config

from sdlearn.diffusion.samplers.scheduler import SchedulerBase


def ddim_sigma(alpha_bar: float, alpha_bar_prev: float, eta: float) -> float:
    """Standard deviation of a step's fresh noise: 0 for `eta` 0, DDPM's (small) for `eta` 1.

    `alpha_bar` is the noise level left behind, `alpha_bar_prev` the one to go to. Raises ValueError
    for another `eta`, for which there may be less noise than is to be put in.

    Source: Song et al. 2020, arXiv:2010.02502, eq. 16.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}: give 0 (no fresh noise) to 1 (as much as DDPM)")
    kept = (1 - alpha_bar_prev) / (1 - alpha_bar)
    return eta * math.sqrt(kept * (1 - alpha_bar / alpha_bar_prev))


def ddim_step(
    pred_original_sample: torch.Tensor,
    pred_epsilon: torch.Tensor,
    *,
    alpha_bar_prev: float,
    sigma: float = 0.0,
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """Go to the noise level `alpha_bar_prev`; all tensors (B, ...).

    Put the predicted picture there, the predicted noise back in, and for a `sigma` above 0 swap a
    part of that noise for fresh `noise`.

    Source: Song et al. 2020, arXiv:2010.02502, eq. 12.
    """
    kept_noise = math.sqrt(max(1 - alpha_bar_prev - sigma**2, 0.0))
    prev_sample = math.sqrt(alpha_bar_prev) * pred_original_sample + kept_noise * pred_epsilon
    return prev_sample if noise is None else prev_sample + sigma * noise


class PlainDDIMScheduler(SchedulerBase, SchedulerMixin, ConfigMixin):
    """DDIM by hand, equal to diffusers' `DDIMScheduler` step by step.

    Except where that one goes astray: with "linspace", and with "trailing" where T is no multiple
    of the steps, it steps to other timesteps than it then asks the model about (diffusers' issues
    9261 and 12633). This one goes to the timestep that comes next.

    Source: Song et al. 2020, arXiv:2010.02502.
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
        set_alpha_to_one: bool = True,  # whether the last step ends without any noise
    ) -> None:
        self._set_up()

    def step(
        self,
        model_output: torch.Tensor,
        timestep: torch.Tensor | int,
        sample: torch.Tensor,
        *,
        eta: float = 0.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Take one step, all tensors (B, ...) -> `prev_sample` in the sample's dtype.

        `eta` from 0 (no fresh noise) to 1 (DDPM). Raises ValueError for a timestep that is not the
        run's, or an output that does not fit the sample.
        """
        following = self._next_timestep(timestep)
        end = 1.0 if self.config.set_alpha_to_one else self._alpha_bar(0)
        alpha_bar_prev = end if following is None else self._alpha_bar(following)
        noisy, picture, pred_epsilon = self._predict(model_output, timestep, sample)
        noise = self._fresh_noise(model_output, noisy.dtype, generator) if eta > 0 else None
        prev_sample = ddim_step(
            picture,
            pred_epsilon,
            alpha_bar_prev=alpha_bar_prev,
            sigma=ddim_sigma(self._alpha_bar(timestep), alpha_bar_prev, eta),
            noise=noise,
        )
        return self._output(prev_sample, picture, sample.dtype, return_dict)
