"""Samplers: how a model that can only say "this is the noise" draws a picture.

Every sampler starts from noise, asks the model once a step what the noise is, and takes some of it
out. They differ in what they take for granted between two questions:

| file              | sampler          | in a step                                         | noise |
| ----------------- | ---------------- | ------------------------------------------------- | ----- |
| `ddpm.py`         | DDPM             | undoes the noise as it was added, bit by bit      | fresh |
| `ddim.py`         | DDIM             | holds the predicted picture still                 | `eta` |
| `quasi_taylor.py` | quasi-Taylor 1-3 | DDIM as a Taylor series in its length, cut off    | none  |
| `quasi_taylor.py` | stochastic 1-2   | the same for the stochastic equation              | fresh |

diffusers has DPM-Solver++ and UniPC, which also remember the answers of earlier steps. They are of
second order or better on any data, the ones here of first: for few steps take those, to understand
take these. `sdlearn.models.samplers` has a name for each, which `sdlearn generate --sampler` takes.

`scheduler.py` is what all schedulers here share, `trajectory.py` the loop. In each file the
mathematics come first, as pure functions; below them a scheduler for diffusers' pipelines calls
them.
"""

from sdlearn.diffusion.samplers.ddim import PlainDDIMScheduler, ddim_sigma, ddim_step
from sdlearn.diffusion.samplers.ddpm import PlainDDPMScheduler, ddpm_mean, ddpm_variance
from sdlearn.diffusion.samplers.quasi_taylor import (
    NoiseRate,
    QuasiTaylorScheduler,
    ito_taylor_coefficients,
    ito_taylor_noise,
    noise_rates,
    taylor_coefficients,
)
from sdlearn.diffusion.samplers.scheduler import inference_timesteps, picture_and_noise
from sdlearn.diffusion.samplers.trajectory import trajectory
