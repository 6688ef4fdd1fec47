"""What a model's output says about the picture and the noise in a noisy sample."""

from __future__ import annotations

import math

import torch

from sdlearn.diffusion.loss import check_prediction_type


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
