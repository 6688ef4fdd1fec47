"""Quasi-Taylor sampling: Taylor's series of the path from noise to picture, cut off.

With beta the rate of noise at time t, nu = 1 - alpha_bar and u = epsilon / sqrt(nu), pictures come
out of noise along an ordinary differential equation, dx/dt = beta (u - x) / 2, or a stochastic one
with the same distribution at every t, dx = beta (u - x / 2) dt + sqrt(beta) dB. A Taylor step needs
derivatives of the network, which are dear. The idea is to take those that it would have if the data
were one single point: du/dx = 1 / nu and du/dt = beta (x - (2 - nu) u) / (2 nu). So every order
costs one call of the network.

What follows: on one point of data, order n has error h^n. On any other data the derivatives are not
the true ones, and every order is a first-order method; as n grows, the step becomes DDIM's.

Source: Tachibana et al. 2021, arXiv:2112.13339; formulas derived again from the two equations above
(tests/diffusion/test_samplers_quasi_taylor.py does it in symbols).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config

from sdlearn.diffusion.samplers.scheduler import SchedulerBase


@dataclass(frozen=True, kw_only=True)
class NoiseRate:
    """How fast noise comes in at one time; the unit of time is the caller's."""

    beta: float  # -d/dt log alpha_bar
    beta_dot: float  # its first derivative by time
    beta_ddot: float  # its second
    nu: float  # 1 - alpha_bar, the variance of the noise so far


def taylor_coefficients(rate: NoiseRate, h: float, order: int) -> tuple[float, float]:
    """Return rho and mu of the step x(t - h) = rho x + mu u along the ordinary equation.

    `order` is 1 (Euler's method) to 3; the limit of all orders is DDIM.
    """
    b, d, dd, nu = rate.beta, rate.beta_dot, rate.beta_ddot, rate.nu
    rho = [b * h / 2, h**2 / 4 * (b**2 / 2 - d), h**3 / 4 * (b**3 / 12 - b * d / 2 + dd / 3)]
    mu = [
        -b * h / 2,
        h**2 / 4 * (d - b**2 / (2 * nu)),
        h**3 / 4 * (b**3 * (3 * nu - nu**2 - 3) / (12 * nu**2) + b * d / (2 * nu) - dd / 3),
    ]
    return 1 + sum(rho[:order]), sum(mu[:order])


def ito_taylor_coefficients(rate: NoiseRate, h: float, order: int) -> tuple[float, float]:
    """Return rho and mu of the stochastic step, x(t - h) = rho x + mu u + noise.

    `order` 1 is Euler and Maruyama's method, 2 the quasi-Ito-Taylor one.
    """
    b, d = rate.beta, rate.beta_dot
    rho = [b * h / 2, h**2 / 4 * (b**2 / 2 - d)]
    mu = [-b * h, h**2 / 2 * d]
    return 1 + sum(rho[:order]), sum(mu[:order])


def ito_taylor_noise(
    rate: NoiseRate, h: float, order: int, w: torch.Tensor, z: torch.Tensor
) -> torch.Tensor:
    """Return the stochastic step's noise from two independent standard normal tensors (B, ...).

    Order 2 knows that noise which came in early was carried along for the rest of the step: the
    noise's own integral over the step is h^(3/2) (w / 2 + z / (2 sqrt 3)).
    """
    noise = math.sqrt(rate.beta * h) * w
    if order == 1:
        return noise
    integral = w / 2 + z / (2 * math.sqrt(3))
    carried = rate.beta**1.5 * (rate.nu - 2) / (2 * rate.nu)
    changed = rate.beta_dot / (2 * math.sqrt(rate.beta))
    return noise + h**1.5 * (carried * integral - changed * (w - integral))


def noise_rates(betas: torch.Tensor) -> torch.Tensor:
    """Read beta and its two derivatives off a table of noise steps: (T,) -> (T, 3), float64.

    Time is counted in training timesteps. After timestep t, log alpha_bar is the sum of
    log(1 - betas) up to t; it is 0 before the first. Derivatives are central differences.
    """
    log_signal = torch.log1p(-betas.double()).cumsum(0)
    rate = -torch.cat([torch.zeros(1, dtype=torch.float64), log_signal])  # (T + 1,)
    rates = []
    for _ in range(3):
        (rate,) = torch.gradient(rate, edge_order=2)
        rates.append(rate[1:])
    return torch.stack(rates, dim=1)


class QuasiTaylorScheduler(SchedulerBase, SchedulerMixin, ConfigMixin):
    """Quasi-Taylor sampling for any pipeline of diffusers.

    `taylor_order` is 1 to 3, or 1 to 2 where `stochastic`. The last step goes to the predicted
    picture at once: sqrt(nu) has no Taylor series around 0, so that noise would remain. For the
    same reason "trailing" suits few steps: with "leading" the step before it almost reaches 0.
    Raises ValueError for other orders, and for noise that ends with no signal at all (its rate
    there is infinite).

    Source: Tachibana et al. 2021, arXiv:2112.13339.
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
        taylor_order: int = 2,
        stochastic: bool = False,
    ) -> None:
        orders = (1, 2) if stochastic else (1, 2, 3)
        if taylor_order not in orders:
            kind = "stochastic" if stochastic else "deterministic"
            raise ValueError(
                f"taylor_order is {taylor_order}: {kind} quasi-Taylor sampling has "
                f"{', '.join(map(str, orders))}"
            )
        self._set_up()
        if self.betas.max() >= 1:
            raise ValueError(
                "the noise ends with no signal at all, where a Taylor series has no first term: "
                "set rescale_betas_zero_snr to False, or take DDIM"
            )
        self._rates = noise_rates(self.betas)

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

        Only the stochastic sampler draws from `generator`. Raises ValueError for a timestep that is
        not the run's, or an output that does not fit the sample.
        """
        following = self._next_timestep(timestep)
        noisy, picture, pred_epsilon = self._predict(model_output, timestep, sample)
        if following is None:
            return self._output(picture, picture, sample.dtype, return_dict)
        h, rate, order = int(timestep) - following, self._rate(timestep), self.config.taylor_order
        u = pred_epsilon / math.sqrt(rate.nu)
        if self.config.clip_sample:  # the noise that belongs to the clipped picture
            u = (noisy - math.sqrt(1 - rate.nu) * picture) / rate.nu
        coefficients = ito_taylor_coefficients if self.config.stochastic else taylor_coefficients
        rho, mu = coefficients(rate, h, order)
        prev_sample = rho * noisy + mu * u
        if self.config.stochastic:
            w, z = (self._fresh_noise(model_output, noisy.dtype, generator) for _ in range(2))
            prev_sample = prev_sample + ito_taylor_noise(rate, h, order, w, z)
        return self._output(prev_sample, picture, sample.dtype, return_dict)

    def _rate(self, timestep: torch.Tensor | int) -> NoiseRate:
        beta, beta_dot, beta_ddot = self._rates[int(timestep)].tolist()
        return NoiseRate(
            beta=beta, beta_dot=beta_dot, beta_ddot=beta_ddot, nu=1 - self._alpha_bar(timestep)
        )
