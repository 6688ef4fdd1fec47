"""Where a picture's subject stands, so that it weighs as much as the ground around it.

With every latent weighing the same, a model is nearly as good when it draws any cat as when it
draws the one that was asked for, and learns grounds long before: a mouth is two latents of 256. A
subject's place is no secret once the noise lets one see it, and only there do the weights differ:
so the best prediction stays the same, and only the order in which things are learnt changes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sdlearn.data.world.attributes import Shot
from sdlearn.data.world.grounds import SIZE
from sdlearn.data.world.render import spots

MIDDLE = 0.8  # of a subject's square; its corners are mostly ground
SEEN_SNR = 0.5  # signal-to-noise ratio at which half of the difference is made


def subject_weights(shots: Sequence[Shot], side: int, detail_weight: float) -> Tensor:
    """Weights of the latents of each picture, `(N, side, side)`, with a mean of 1.

    Args:
        side: latents along an edge.
        detail_weight: what all subjects of a picture weigh together, beside 1 for all of it.
    """
    middles = (torch.arange(side) + 0.5) * SIZE / side
    masks = torch.zeros(len(shots), side, side)
    for mask, shot in zip(masks, shots, strict=True):
        for spot in spots(shot.attributes, shot.seed):
            half = MIDDLE * spot.side / 2
            across = ((middles - spot.x).abs() < half).float()
            down = ((middles - spot.y).abs() < half).float()
            mask.copy_(torch.maximum(mask, down[:, None] * across))
    masks /= masks.mean(dim=(1, 2), keepdim=True)
    return (1 + detail_weight * masks) / (1 + detail_weight)


def seen_weights(weights: Tensor, snr: Tensor) -> Tensor:
    """Weights `(B, h, w)` at a signal-to-noise ratio `(B,)`: even where all is noise."""
    seen = (snr / (snr + SEEN_SNR)).view(-1, 1, 1)
    return torch.lerp(torch.ones_like(weights), weights, seen)
