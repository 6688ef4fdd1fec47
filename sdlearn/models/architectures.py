"""The shapes of the Stable Diffusions that are not shipped: what their configuration files say.

With these facts a model can be built without its weights: for a plan of what training it takes, or
with random weights for tests. This file imports no torch. Each value is the one of the model's own
`config.json` files; what is left out is diffusers' or transformers' default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Configurations of a model's parts, as their classes take them."""

    unet: Mapping[str, Any]  # of UNet2DConditionModel
    vae: Mapping[str, Any]  # of AutoencoderKL
    text_encoder: Mapping[str, Any]  # of CLIPTextModel
    text_encoder_2: Mapping[str, Any] | None = None  # of CLIPTextModelWithProjection; SDXL's second
    scheduler: Mapping[str, Any]  # of DDIMScheduler


SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "layers_per_block": 2,
    "sample_size": 512,  # pixels
    "scaling_factor": 0.18215,
}  # 83.7 M parameters
CLIP_L = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
    "bos_token_id": 0,
    "eos_token_id": 2,  # as shipped; the tokenizer's is 49407
    "pad_token_id": 1,
}  # 123.1 M parameters
OPEN_CLIP_BIG_G = {
    **CLIP_L,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}  # 694.7 M parameters

SD15 = Architecture(
    unet={
        "sample_size": 64,  # latents
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        "layers_per_block": 2,
        "attention_head_dim": 8,  # the number of heads, for all its name
        "cross_attention_dim": 768,
    },  # 859.5 M parameters
    vae=VAE,
    text_encoder=CLIP_L,
    scheduler=SCHEDULER,
)
SDXL = Architecture(
    unet={
        "sample_size": 128,  # latents
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
        "up_block_types": (*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
        "layers_per_block": 2,
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),  # numbers of heads
        "cross_attention_dim": 2048,  # 768 + 1280
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,  # 1280 + 6 * 256
    },  # 2567 M parameters
    vae={**VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
    text_encoder=CLIP_L,
    text_encoder_2=OPEN_CLIP_BIG_G,
    scheduler=SCHEDULER,
)
ARCHITECTURES = {"sd15": SD15, "sdxl": SDXL}  # by the registry's names
