"""Classifier-free guidance."""

import torch


def classifier_free_guidance(
    noise_pred_uncond: torch.Tensor, noise_pred_text: torch.Tensor, guidance_scale: float
) -> torch.Tensor:
    """Push a prediction away from the one without a prompt; all tensors (B, C, h, w).

    `guidance_scale` 0 ignores the prompt, 1 is the plain conditional prediction, and more follows
    the prompt harder. The paper's weight w is `guidance_scale` - 1.

    Source: Ho and Salimans 2022, arXiv:2207.12598, eq. 6.
    """
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)
