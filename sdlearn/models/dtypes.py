"""Parts of different precision in one pipeline."""

from __future__ import annotations

from typing import Any

import torch


def take_any_dtype(unet: Any, vae: Any) -> None:
    """Let a U-Net and a VAE take latents, pictures and states of any dtype, in place.

    diffusers' pipelines hand latents on in the dtype that they have, and fail where a float32 part
    follows a bfloat16 one: a U-Net that trains beside frozen parts, or SDXL's VAE.
    """
    for module in (unet, vae.encoder, vae.decoder, vae.quant_conv, vae.post_quant_conv):
        if module is not None and not getattr(module, "takes_any_dtype", False):
            module.register_forward_pre_hook(_cast_inputs, with_kwargs=True)
            module.takes_any_dtype = True


def _cast_inputs(module: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    dtype = next(module.parameters()).dtype

    def cast(value: Any) -> Any:
        # timesteps and sizes have fewer axes, and a half-precision float would round them
        is_large = isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 2
        return value.to(dtype) if is_large else value

    return tuple(map(cast, args)), {name: cast(value) for name, value in kwargs.items()}
