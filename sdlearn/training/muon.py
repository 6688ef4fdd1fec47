"""Muon, an optimizer of matrices beside AdamW: mini's autoencoder took a third of the steps by it.

torch's own takes linear layers alone, and multiplies in bfloat16, which many processors emulate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that drives singular values towards 1


def orthogonalized(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The nearest matrix with all singular values near 1, `(m, n)`, by Newton-Schulz iterations.

    All iterations are polynomials of one product, so they run on that, `(m, m)`, and the matrix
    itself is multiplied only twice: for convolutions, which are wide, less than half the work.

    Source: Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks.
    """
    a, b, c = _COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x

    def factor_of(gram: Tensor) -> Tensor:
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        return factor

    gram = x @ x.T  # (m, m)
    polynomial = factor = factor_of(gram)
    for _ in range(iterations - 1):
        gram = factor @ gram @ factor
        factor = factor_of(gram)
        polynomial = factor @ polynomial
    x = polynomial @ x
    return x.T if is_tall else x


def suits_muon(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a hidden layer's matrix: no table of words, no way in or out."""
    ends = ("embedding", "conv_in", "conv_out", "quant_conv")
    is_matrix = parameter.ndim > 1 and min(parameter.flatten(1).shape) > 8
    return is_matrix and not any(end in name for end in ends)


class MuonAdamW(torch.optim.AdamW):
    """AdamW, and Muon for those groups that say `muon=True`.

    A convolution's weight `(out, in, h, w)` counts as the matrix `(out, in * h * w)`. The update is
    as large as AdamW's usually is, so that both go by one learning rate.

    Source: Liu et al. 2025, Muon is scalable for LLM training, arXiv:2502.16982, eq. 4.
    """

    def __init__(self, groups: list[dict[str, Any]], **settings: Any) -> None:
        super().__init__([{"muon": False, **group} for group in groups], **settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with every group."""
        groups = self.param_groups
        for group in groups:
            if group["muon"]:
                for parameter in group["params"]:
                    self._step_matrix(parameter, group["lr"], group["weight_decay"])
        self.param_groups = [group for group in groups if not group["muon"]]
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups

    def _step_matrix(self, parameter: Tensor, lr: float, weight_decay: float) -> None:
        gradient = parameter.grad
        if gradient is None:
            return
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)  # AdamW looks for it where a state is read again
            state["exp_avg"] = torch.zeros_like(parameter)
        state["step"] += 1
        momentum = state["exp_avg"].lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov's
        update = orthogonalized(ahead) * 0.2 * math.sqrt(max(ahead.shape))
        parameter.mul_(1 - lr * weight_decay)
        parameter.add_(update.view_as(parameter), alpha=-lr)
