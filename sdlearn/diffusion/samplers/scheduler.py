"""What the samplers' schedulers share: timesteps, reading a model's output, and refusals."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMSchedulerOutput
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from diffusers.utils.torch_utils import randn_tensor

from sdlearn.diffusion.loss import check_prediction_type
from sdlearn.diffusion.schedule import NoiseSchedule

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


def picture_and_noise(
    sample: torch.Tensor, model_output: torch.Tensor, alpha_bar: float, prediction_type: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split a noisy sample into `pred_original_sample` and `pred_epsilon`, all (B, ...).

    Both answers satisfy sample = sqrt(alpha_bar) picture + sqrt(1 - alpha_bar) noise, whichever of
    "epsilon", "v_prediction" and "sample" the model predicts. Raises ValueError for another one.

    Source: Ho et al. 2020, arXiv:2006.11239, eq. 4; Salimans and Ho 2022, arXiv:2202.00512,
    appendix D, for v.
    """
    check_prediction_type(prediction_type)
    signal, spread = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    if prediction_type == "epsilon":
        return (sample - spread * model_output) / signal, model_output
    if prediction_type == "sample":
        return model_output, (sample - signal * model_output) / spread
    return signal * sample - spread * model_output, signal * model_output + spread * sample


class SchedulerBase:
    """What a scheduler needs beside its formula, if it keeps nothing between steps.

    A class made of this and diffusers' `SchedulerMixin` and `ConfigMixin` takes the settings that
    `_set_up` reads, and its `step` gives the formula, with one model call a step. A step looks up
    its timestep among those of the run, so that a run may begin at any of them, as img2img's does.

    Settings have the defaults of diffusers' DDPM and DDIM, made for pixels: `from_config` leaves
    out what is a default of the scheduler it reads, so that others would change a model's noise.
    """

    config: Any  # from ConfigMixin

    _compatibles: ClassVar[list[str]] = [kind.name for kind in KarrasDiffusionSchedulers]
    order = 1  # model calls a step
    init_noise_sigma = 1.0  # of the noise that a run starts from

    def _set_up(self) -> None:
        """Make the noise levels from the config, and refuse what the samplers cannot do."""
        config = self.config
        check_prediction_type(config.prediction_type)
        if config.rescale_betas_zero_snr and config.prediction_type == "epsilon":
            raise ValueError(
                "rescale_betas_zero_snr leaves only noise at the last timestep, where predicted "
                'noise says nothing about the picture: set prediction_type to "v_prediction"'
            )
        if config.thresholding:
            raise ValueError(
                "thresholding is not done by the samplers of this package: set it to False, or "
                "take diffusers' own"
            )
        inference_timesteps(config.num_train_timesteps, 1, config.timestep_spacing)
        # diffusers' own table, so that noise levels are the same to the last bit
        table = DDPMScheduler(
            num_train_timesteps=config.num_train_timesteps,
            beta_start=config.beta_start,
            beta_end=config.beta_end,
            beta_schedule=config.beta_schedule,
            trained_betas=config.trained_betas,
            rescale_betas_zero_snr=config.rescale_betas_zero_snr,
        )
        self.betas, self.alphas_cumprod = table.betas, table.alphas_cumprod
        if not (self.betas.min() > 0 and self.betas.max() <= 1):
            raise ValueError("the betas leave the range from 0 to 1: a variance must be within it")
        self.num_inference_steps: int | None = None
        self.timesteps = torch.arange(config.num_train_timesteps - 1, -1, -1)

    def __len__(self) -> int:
        """T, the number of training timesteps."""
        return len(self.alphas_cumprod)

    def set_timesteps(
        self, num_inference_steps: int, device: torch.device | str | None = None
    ) -> None:
        """Choose the timesteps of a run; ValueError where there are fewer to choose from."""
        config = self.config
        timesteps = inference_timesteps(
            len(self), num_inference_steps, config.timestep_spacing, config.steps_offset
        )
        self.num_inference_steps = num_inference_steps
        self.timesteps = torch.tensor(timesteps, device=device)

    def scale_model_input(
        self, sample: torch.Tensor, timestep: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Return the sample as it is: variance-preserving models take it unscaled."""
        return sample

    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """Return the noisy samples at `timesteps` (B,), as `NoiseSchedule.add_noise` does."""
        schedule = NoiseSchedule(alphas_cumprod=self.alphas_cumprod).to(original_samples.device)
        return schedule.add_noise(original_samples, noise, timesteps.to(original_samples.device))

    def _next_timestep(self, timestep: torch.Tensor | int) -> int | None:
        """The timestep that this step goes to, or None where it is the run's last."""
        if self.num_inference_steps is None:
            raise ValueError("no timesteps are chosen yet: call set_timesteps first")
        timesteps = self.timesteps.tolist()
        if int(timestep) not in timesteps:
            raise ValueError(
                f"timestep {int(timestep)} is none of this run's {len(timesteps)}: "
                "pass those of scheduler.timesteps"
            )
        following = timesteps[timesteps.index(int(timestep)) + 1 :]
        return following[0] if following else None

    def _alpha_bar(self, timestep: torch.Tensor | int) -> float:
        return float(self.alphas_cumprod[int(timestep)])

    def _predict(
        self, model_output: torch.Tensor, timestep: torch.Tensor | int, sample: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sample, `pred_original_sample` (clipped if so set) and `pred_epsilon`.

        In float32 at least: half precision would round away what a small step changes.
        """
        if model_output.shape != sample.shape:
            raise ValueError(
                f"the model's output is {tuple(model_output.shape)} and the sample "
                f"{tuple(sample.shape)}: only models that predict one value for each are supported"
            )
        dtype = torch.promote_types(sample.dtype, torch.float32)
        sample = sample.to(dtype)
        picture, noise = picture_and_noise(
            sample,
            model_output.to(dtype),
            self._alpha_bar(timestep),
            self.config.prediction_type,
        )
        if self.config.clip_sample:
            picture = picture.clamp(-self.config.clip_sample_range, self.config.clip_sample_range)
        return sample, picture, noise

    @staticmethod
    def _fresh_noise(
        model_output: torch.Tensor,
        dtype: torch.dtype,
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> torch.Tensor:
        """Standard normal noise, drawn in the model's dtype as diffusers draws it."""
        shape, device = model_output.shape, model_output.device
        noise = randn_tensor(shape, generator=generator, device=device, dtype=model_output.dtype)
        return noise.to(dtype)

    @staticmethod
    def _output(
        prev_sample: torch.Tensor,
        pred_original_sample: torch.Tensor,
        dtype: torch.dtype,
        return_dict: bool,
    ) -> Any:
        answer = prev_sample.to(dtype), pred_original_sample.to(dtype)
        if not return_dict:
            return answer
        return DDPMSchedulerOutput(prev_sample=answer[0], pred_original_sample=answer[1])
