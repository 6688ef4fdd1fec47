"""fp16 overflow, made on purpose: numbers beyond 65504, which half precision cannot hold.

Mini's own activations are far too small for it, and the unit says by how much. So the stream of
features in its VAE's decoder is made larger, until one activation passes the limit, in a way that
changes no picture in float32: every layer that adds to the stream adds so many times more, and the
normalisation that every layer starts with takes it away again. It is what the corrected VAE of SDXL
does (madebyollin/sdxl-vae-fp16-fix), the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from experiments.sampler_runs import draw_latents

if TYPE_CHECKING:
    from torch import nn

    from experiments.bench import Bench, Unit

LIMIT = torch.finfo(torch.float16).max  # 65504
BEYOND = 4.0  # times the limit that the largest activation is brought to
SAMPLER = "dpm++"


@contextmanager
def largest(model: nn.Module) -> Iterator[list[float]]:
    """The largest number, signs aside, that a layer answers in the block, in a list of one."""
    found = [0.0]

    def look(module: nn.Module, given: Any, answer: Any) -> None:
        if isinstance(answer, torch.Tensor) and answer.is_floating_point():
            found[0] = max(found[0], answer.abs().max().item())

    hooks = [module.register_forward_hook(look) for module in model.modules()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def enlarged(vae: Any, times: float) -> Any:
    """A copy of a VAE whose decoder's features are so many times larger, and its pictures equal."""
    vae = deepcopy(vae)
    decoder = vae.decoder
    _scale(decoder.conv_in, times)
    blocks = [decoder.mid_block, *decoder.up_blocks]
    for block in blocks:
        for resnet in block.resnets:
            _scale(resnet.conv2, times)
            if resnet.conv_shortcut is not None:
                _scale(resnet.conv_shortcut, times, weight=False)  # what comes in is larger already
        for attention in getattr(block, "attentions", None) or []:
            if attention is not None:  # a VAE without attention has an empty place for it
                _scale(attention.to_out[0], times)
        for upsampler in getattr(block, "upsamplers", None) or []:
            _scale(upsampler.conv, times, weight=False)
    return vae


def _scale(layer: Any, times: float, *, weight: bool = True) -> None:
    with torch.no_grad():
        if weight:
            layer.weight.mul_(times)
        if layer.bias is not None:
            layer.bias.mul_(times)


@torch.no_grad()
def measure_overflow(bench: Bench, number: int) -> tuple[Unit, dict[str, torch.Tensor]]:
    """Draw latents, and decode them in float32 and in float16 by a decoder with large features.

    Returns the unit and each decoder's pictures (B, 3, H, W), from -1 to 1. The unit has the
    largest activations, and of each picture 1 where all its pixels are numbers, else 0.
    """
    sd = bench.sd
    with largest(sd.unet) as unet, largest(sd.text_encoder) as text, largest(sd.vae) as vae:
        latents = draw_latents(bench, SAMPLER, bench.size.sampler_steps, number)
        latents = latents / sd.vae.config.scaling_factor
        plain = sd.vae.decode(latents).sample
    times = 2.0
    while vae[0] * times < BEYOND * LIMIT:
        times *= 2  # a power of two rounds nothing
    large = enlarged(sd.vae, times)
    with largest(large) as reached:
        float32 = large.decode(latents).sample
    half = large.half().decode(latents.half()).sample.float()
    pictures = {"float16": half, "float32": float32}
    unit = {
        "largest": {"unet": unet[0], "text_encoder": text[0], "vae": vae[0]},
        "times": times,
        "largest_enlarged": reached[0],
        "changed": (float32 - plain).abs().max().item(),
        "finite": {
            name: found.isfinite().flatten(1).all(1).float().tolist()
            for name, found in pictures.items()
        },
    }
    return unit, {name: found.nan_to_num(nan=-1.0) for name, found in pictures.items()}  # black
