"""Models of the real shapes at a small size, with random weights, as diffusers folders."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
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

from sdlearn.models import save_text_encoder

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
