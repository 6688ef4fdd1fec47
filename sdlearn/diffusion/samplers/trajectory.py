"""From noise to picture: the loop around a model and a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch


def trajectory(
    model: Callable[..., Any],
    scheduler: Any,
    sample: torch.Tensor,
    num_inference_steps: int,
    **step_arguments: Any,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield each timestep with the noisy sample (B, ...) there, and last -1 with the picture.

    `model` answers (sample, timestep) as diffusers' U-Nets do, with `.sample`; `scheduler` is any
    of diffusers' or ours, `sample` noise with its `init_noise_sigma`. `step_arguments` go to every
    step: `generator`, or DDIM's `eta`.
    """
    scheduler.set_timesteps(num_inference_steps, device=sample.device)
    for timestep in scheduler.timesteps:
        yield int(timestep), sample
        model_output = model(scheduler.scale_model_input(sample, timestep), timestep).sample
        sample = scheduler.step(model_output, timestep, sample, **step_arguments).prev_sample
    yield -1, sample
