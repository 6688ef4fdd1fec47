"""Where in a picture an attribute shows, so that small ones weigh as much as large ones.

A mouth is ten latents of 256. With every latent weighing the same, a model is nearly as good when
it draws any mouth as when it draws the one that was asked for, and learns hair and background long
before. The maps here say, for each style, where a picture changes with an attribute. They depend on
the style alone and not on the picture, so that given its caption's style the best prediction stays
the same, and only the order in which things are learnt changes.
"""

import random

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from sdlearn.data.faces import Attributes
from sdlearn.data.render import draw
from sdlearn.data.styles import BASE_STYLES
from sdlearn.pretrain.config import PretrainConfig
from sdlearn.pretrain.dataset import WorldDataset

PAIRS = 24  # pictures that differ in one attribute alone, for each map


def detail_weights(
    vae: AutoencoderKL, data: WorldDataset, config: PretrainConfig
) -> dict[str, Tensor]:
    """Weights of the latents for each style, `(h, w)` with a mean of 1.

    Every latent has its equal share, and each attribute of `config.detail` another share of
    `config.detail_weight`, laid where the attribute shows.
    """
    side = data.pixels.shape[1] // 2 ** (len(vae.config.block_out_channels) - 1)
    weights = {}
    for style in sorted({attributes["style"] for attributes in data.attributes}):
        shown = [name for name in config.detail if name in BASE_STYLES[style].choices()]
        weight = torch.ones(side, side)
        for name in shown:
            weight += config.detail_weight * attribute_map(vae, data, style, name)
        weights[style] = weight / weight.mean()
    return weights


def attribute_map(vae: AutoencoderKL, data: WorldDataset, style: str, name: str) -> Tensor:
    """How much each latent of a style's pictures changes with one attribute, `(h, w)`, mean 1."""
    values = BASE_STYLES[style].choices()[name]
    rng = random.Random(f"sdlearn-detail-{style}-{name}")
    originals = [a for a in data.attributes if a["style"] == style][:PAIRS]
    changed = []
    for attributes in originals:
        others = [value for value in values if value != attributes[name]]
        changed.append(attributes | {name: rng.choice(others)})
    difference = _means(vae, originals, data) - _means(vae, changed, data)  # (N, 4, h, w)
    squares = difference.square().sum(1).mean(0)  # (h, w)
    return squares / squares.mean()


@torch.no_grad()
def _means(vae: AutoencoderKL, characters: list[Attributes], data: WorldDataset) -> Tensor:
    """The mean latents of characters, drawn with one look each, `(N, 4, h, w)` on the CPU."""
    size = data.pixels.shape[1]
    pictures = np.stack([np.asarray(draw(a, size, seed=i)) for i, a in enumerate(characters)])
    pixel_values = WorldDataset(pictures, characters).pixel_values(slice(None))
    return vae.encode(pixel_values.to(vae.device)).latent_dist.mean.cpu()
