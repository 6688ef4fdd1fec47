"""Data whose exact answers are known, and runs of samplers on it."""

import math
from itertools import pairwise

import torch

from sdlearn.diffusion import NoiseSchedule
from sdlearn.diffusion.gaussian_mixture import ExactDenoiser, GaussianMixture
from sdlearn.diffusion.samplers import PlainDDIMScheduler, trajectory

SETTINGS = {  # Stable Diffusion's noise; "trailing" so that every run starts at timestep 999
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "steps_offset": 1,  # pipelines of Stable Diffusion insist on it, for "leading"
}
FIRST, STOP = 999, 199  # timesteps that runs of 25, 50, 100 and 200 steps have in common
SCHEDULE = NoiseSchedule(alphas_cumprod=PlainDDIMScheduler(**SETTINGS).alphas_cumprod)
ALPHA_BAR = SCHEDULE.alphas_cumprod.double()

POINT = GaussianMixture(means=torch.tensor([[1.3]]), covariances=torch.zeros(1))
TWO_MODES = GaussianMixture(
    means=torch.tensor([[-1.0], [1.0]]), covariances=torch.tensor([0.04, 0.04])
)
LEFT = torch.tensor([[0.2, 0.1], [0.1, 0.3]])  # covariances, one of them no round Gaussian
RIGHT = torch.tensor([[0.1, 0.0], [0.0, 0.4]])
CLASSES = GaussianMixture(
    means=torch.tensor([[-2.0, 1.0], [2.0, -1.0]]),
    covariances=torch.stack([LEFT, RIGHT]),
    weights=torch.tensor([0.3, 0.7]),
)


def noisy_samples(mixture, number, generator, timestep=FIRST):
    """Samples of the mixture with exactly the noise of a timestep: no sampler is to blame yet."""
    samples, _ = mixture.sample(number, generator)
    noise = torch.randn(samples.shape, generator=generator, dtype=torch.float64)
    return SCHEDULE.add_noise(samples, noise, torch.full((number,), timestep))


def run(mixture, scheduler, sample, steps, stop=-1, **step_arguments):
    """The sample when the run has come to the timestep `stop`; -1 is its end."""
    model = ExactDenoiser(mixture=mixture, schedule=SCHEDULE)
    path = trajectory(model, scheduler, sample, steps, **step_arguments)
    return next(there for timestep, there in path if timestep == stop)


def exact_flow(mixture, sample, timestep, to_timestep):
    """Where the ordinary equation takes 1-D samples (B, 1): quantiles stay the same quantiles.

    The timestep -1 is the picture, without noise.
    """

    def share_below(place, at):
        signal = torch.ones(()) if at < 0 else ALPHA_BAR[at]
        spread = (signal * mixture.covariances.double() + 1 - signal).sqrt()  # (K,)
        means = signal.sqrt() * mixture.means[:, 0].double()
        return torch.special.ndtr((place - means) / spread).mean(dim=1, keepdim=True)

    wanted = share_below(sample, timestep)
    low, high = torch.full_like(sample, -20), torch.full_like(sample, 20)
    for _ in range(60):  # bisection
        middle = (low + high) / 2
        below = share_below(middle, to_timestep) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def orders(errors):
    """The order of convergence that each halving of the step shows: 2 where errors fall 4-fold."""
    return [math.log2(before / after) for before, after in pairwise(errors)]
