"""Which of the training timesteps a sampler visits."""

from __future__ import annotations

import numpy as np

SPACINGS = ("leading", "trailing", "linspace")


def inference_timesteps(
    num_train_timesteps: int, num_inference_steps: int, spacing: str, steps_offset: int = 0
) -> list[int]:
    """Spread `num_inference_steps` over the training timesteps, noisiest first.

    "leading" counts up from `steps_offset` and ends short of the noisiest timestep (Stable
    Diffusion's own), "trailing" counts down from the noisiest, "linspace" has both ends. Raises
    ValueError for what does not fit.

    Source: Lin et al. 2023, arXiv:2305.08891, table 2.
    """
    total, number = num_train_timesteps, num_inference_steps
    if not 1 <= number <= total:
        raise ValueError(
            f"num_inference_steps is {number}: give 1 to {total}, the number of training timesteps"
        )
    if spacing == "leading":
        timesteps = np.arange(number, dtype=float)[::-1] * (total // number) + steps_offset
    elif spacing == "trailing":
        timesteps = np.round(total - np.arange(number) * (total / number)) - 1
    elif spacing == "linspace":
        timesteps = np.linspace(0, total - 1, number).round()[::-1]
    else:
        raise ValueError(f'timestep_spacing is "{spacing}": give one of {", ".join(SPACINGS)}')
    if timesteps[0] >= total:
        raise ValueError(
            f'timestep_spacing "leading" with steps_offset {steps_offset} takes {number} steps to '
            f'timestep {timesteps[0]:.0f}, which is not trained: take fewer steps, or "trailing"'
        )
    return [int(timestep) for timestep in timesteps]
