"""A tiny random Stable Diffusion, as a folder in diffusers' format."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from stand_ins import write_small_sdxl
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sdlearn.data.folder import Picture
from sdlearn.models import StableDiffusion, StableDiffusionXL, load, save_text_encoder
from sdlearn.pretrain.config import PretrainConfig

WORDS = ["a", "photo", "of", "person", "toy", "picture", "red", "blue", "background", "sks"]
START, END = "<|startoftext|>", "<|endoftext|>"
TOY: dict[str, Any] = {  # the recipe in seconds
    "pictures": 16,
    "image_size": 32,
    "vae_steps": 2,
    "decoder_steps": 1,
    "clip_steps": 2,
    "judges_steps": 2,
    "unet_steps": 2,
    "vae_batch": 2,
    "vae_crop": 16,
    "clip_batch": 4,
    "judges_batch": 4,
    "unet_batch": 2,
    "vae_channels": (8, 8, 16),
    "unet_channels": (32, 32, 32),
    "text_width": 32,
    "text_layers": 1,
    "merges": 40,
    "workers": 1,
    "device": "cpu",
}


def write_tokenizer(folder: Path) -> None:
    """Byte-level BPE that knows every byte and makes each of WORDS one token."""
    letters = sorted(ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*letters, *(c + "</w>" for c in letters)])}
    merges = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            left, right, *rest = pieces
            if left + right not in vocab:
                vocab[left + right] = len(vocab)
                merges.append(f"{left} {right}")
            pieces = [left + right, *rest]
    for special in (START, END):
        vocab[special] = len(vocab)
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    specials = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 24, **specials}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_attention_heads=2,
            num_hidden_layers=2,
            max_position_embeddings=24,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def make_vae() -> AutoencoderKL:
    """Reduces 4 times, to 4 latent channels."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=32,
        scaling_factor=0.7,
        mid_block_add_attention=False,
    )


def make_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32),
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
    )


def make_scheduler(**changes: object) -> DDIMScheduler:
    settings = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }
    return DDIMScheduler(**(settings | changes))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32-pixel pictures, 8 x 8 latents; written once."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    write_tokenizer(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pipeline = StableDiffusionPipeline(
        vae=make_vae(),
        text_encoder=make_text_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=make_unet(),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    save_text_encoder(pipeline.text_encoder, folder / "text_encoder")
    return folder


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the recipe makes at toy size, with judges; its work folder lies beside it."""
    from sdlearn.pretrain.recipe import pretrain

    folder = tmp_path_factory.mktemp("toy")
    return pretrain(PretrainConfig(work=folder / "work", output=folder / "mini", **TOY))


@pytest.fixture(scope="session")
def loaded_tiny(tiny_folder: Path) -> StableDiffusion:
    """The loaded model that `tiny` copies; never give it to anything that could change it."""
    return load(tiny_folder, device="cpu")


@pytest.fixture
def tiny(loaded_tiny: StableDiffusion) -> StableDiffusion:
    """A fresh tiny Stable Diffusion."""
    return copy.deepcopy(loaded_tiny)


@pytest.fixture
def pictures() -> list[Picture]:
    """Four pictures of plain colours with some noise, larger than the model's size."""
    rng = np.random.default_rng(0)
    colours = {
        "red": (220, 40, 40),
        "blue": (40, 40, 220),
        "green": (40, 200, 40),
        "grey": (90,) * 3,
    }
    return [
        Picture(
            image=Image.fromarray(
                np.clip(np.array(rgb) + rng.normal(0, 20, (48, 48, 3)), 0, 255).astype(np.uint8)
            ),
            text=f"a person on a {colour} background",
            attributes={"background": colour},
        )
        for colour, rgb in colours.items()
    ]


@pytest.fixture(scope="session")
def tiny_xl_folder(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A tiny SDXL; written once."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("xl") / "tiny"
    return write_small_sdxl(folder, tiny_folder / "tokenizer", make_vae())


@pytest.fixture(scope="session")
def loaded_tiny_xl(tiny_xl_folder: Path) -> StableDiffusionXL:
    """The loaded model that `tiny_xl` copies; never give it to anything that could change it."""
    loaded = load(tiny_xl_folder, device="cpu")
    assert isinstance(loaded, StableDiffusionXL)
    return loaded


@pytest.fixture
def tiny_xl(loaded_tiny_xl: StableDiffusionXL) -> StableDiffusionXL:
    """A fresh tiny SDXL."""
    return copy.deepcopy(loaded_tiny_xl)
