"""The training loss of a diffusion model and the weights of its timesteps."""

import math

import torch

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


def diffusion_loss(
    model_pred: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean squared error of each sample times its weight: (B, C, h, w) twice -> (B,), float32.

    `weights` is (B,) or None for 1. The caller takes the mean, over the batch or over the parts of
    it that it wants apart (DreamBooth's instance and class halves). Raises ValueError where the
    shapes differ, which broadcasting would otherwise hide.

    Source: Ho et al. 2020, arXiv:2006.11239, eq. 14.
    """
    if model_pred.shape != target.shape:
        raise ValueError(
            f"the prediction is {tuple(model_pred.shape)} and its target {tuple(target.shape)}: "
            "give both the same shape"
        )
    losses = (model_pred.float() - target.float()).square().flatten(1).mean(dim=1)  # (B,)
    if weights is None:
        return losses
    if weights.shape != losses.shape:
        raise ValueError(
            f"{tuple(weights.shape)} weights were given for {len(losses)} samples: give one each"
        )
    return losses * weights


def min_snr_weights(snr: torch.Tensor, snr_gamma: float, prediction_type: str) -> torch.Tensor:
    """Weigh timesteps so that those with little noise do not dominate: (B,) -> (B,).

    With `snr` the signal-to-noise ratio and `snr_gamma` its cap (5 in the paper), the weights are
    min(snr, gamma) / snr for "epsilon", min(snr, gamma) / (snr + 1) for "v_prediction" and
    min(snr, gamma) for "sample". At snr = 0 (zero terminal SNR) "epsilon" takes its limit, 1. An
    infinite gamma weighs all by 1, as without weights. Raises ValueError for another prediction
    type or a gamma that is not positive.

    Source: Hang et al. 2023, arXiv:2303.09556, eq. 8 and section 3.4.
    """
    check_prediction_type(prediction_type)
    if not snr_gamma > 0:
        raise ValueError(f"snr_gamma is {snr_gamma}: give a number above 0, such as 5")
    if math.isinf(snr_gamma):
        return torch.ones_like(snr)
    if prediction_type == "epsilon":
        return (snr_gamma / snr).clamp(max=1.0)
    if prediction_type == "v_prediction":
        return snr.clamp(max=snr_gamma) / (snr + 1)
    return snr.clamp(max=snr_gamma)


def check_prediction_type(prediction_type: str) -> None:
    """Raise ValueError unless diffusers and this package both know the prediction type."""
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(
            f'prediction_type is "{prediction_type}": it must be one of '
            f"{', '.join(PREDICTION_TYPES)}"
        )
