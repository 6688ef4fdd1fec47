"""Models of the real shapes at a small size, with random weights, as diffusers folders."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from sdlearn.models import StableDiffusion, StableDiffusionXL, save_text_encoder
from sdlearn.models.architectures import ARCHITECTURES, Architecture
from sdlearn.models.clip_tokenizer import clip_tokenizer

CLIP_L, CLIP_G = 16, 24  # widths of SDXL's text encoders; 768 and 1280 in the real one


def small_text_config(tokenizer: CLIPTokenizer, width: int, **changes: Any) -> CLIPTextConfig:
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "max_position_embeddings": 24,
        "bos_token_id": 0,  # the published configurations name tokens that are not there
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
    return CLIPTextConfig(**(settings | changes))


def small_sdxl_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(1, 2),
        use_linear_projection=True,
        cross_attention_dim=CLIP_L + CLIP_G,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=CLIP_G + 6 * 8,
    )


def write_small_sdxl(folder: Path, tokenizer_folder: Path, vae: AutoencoderKL) -> Path:
    """SDXL with 32-pixel pictures and 8 x 8 latents, and the configurations' wrong end token."""
    torch.manual_seed(1)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    tokenizer_2 = CLIPTokenizer.from_pretrained(tokenizer_folder, pad_token="!")
    first = CLIPTextModel(small_text_config(tokenizer, CLIP_L))
    second = CLIPTextModelWithProjection(
        small_text_config(tokenizer, CLIP_G, hidden_act="gelu", projection_dim=CLIP_G)
    )
    pipeline = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=small_sdxl_unet(),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
    )
    pipeline.save_pretrained(folder)
    save_text_encoder(first, folder / "text_encoder")
    save_text_encoder(second, folder / "text_encoder_2")
    assert json.loads((folder / "text_encoder_2" / "config.json").read_text())["eos_token_id"] == 2
    return folder


def reduced(kind: str) -> Architecture:
    """Stable Diffusion 1.5 or SDXL with all of their blocks, at a fraction of width and depth."""
    real = ARCHITECTURES[kind]
    clip = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    clip |= {"num_hidden_layers": 2, "projection_dim": 16}
    vae = {**real.vae, "block_out_channels": (32, 32, 32, 64)}
    unet = {"block_out_channels": (32, 64, 64, 64), "cross_attention_dim": 16, "sample_size": 8}
    if real.text_encoder_2 is None:
        return replace(
            real,
            unet={**real.unet, **unet},
            vae=vae,
            text_encoder={**real.text_encoder, **clip},
        )
    unet |= {"block_out_channels": (32, 64, 64), "cross_attention_dim": 40}
    unet |= {"attention_head_dim": (2, 4, 4), "transformer_layers_per_block": (1, 1, 2)}
    unet |= {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 24 + 6 * 8}
    big = {**clip, "hidden_size": 24, "projection_dim": 24}
    return replace(
        real,
        unet={**real.unet, **unet},
        vae=vae,
        text_encoder={**real.text_encoder, **clip},
        text_encoder_2={**real.text_encoder_2, **big},
    )


def stand_in(kind: str) -> StableDiffusion:
    """Stable Diffusion 1.5 ("sd15") or SDXL ("sdxl") as `reduced`, with random weights."""
    torch.manual_seed(2)
    shape = reduced(kind)
    parts: dict[str, Any] = {
        "tokenizer": clip_tokenizer(),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**shape.text_encoder)),
        "vae": AutoencoderKL(**shape.vae),
        "unet": UNet2DConditionModel(**shape.unet),
        "noise_scheduler": DDIMScheduler(**shape.scheduler),
        "name": kind,
    }
    if shape.text_encoder_2 is None:
        return StableDiffusion(**parts).freeze()
    config = CLIPTextConfig(**{**shape.text_encoder_2, "eos_token_id": 49407})
    return StableDiffusionXL(
        **parts,
        tokenizer_2=clip_tokenizer("!"),
        text_encoder_2=CLIPTextModelWithProjection(config),
    ).freeze()
