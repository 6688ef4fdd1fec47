"""Stage 2: CLIP. Captions and pictures in one space; its text half conditions the U-Net.

Source: Radford et al. 2021, arXiv:2103.00020.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from sdlearn.pretrain.config import PretrainConfig
from sdlearn.pretrain.dataset import WorldDataset
from sdlearn.pretrain.stage import Training, device_and_dtype, train
from sdlearn.pretrain.tokenizer import MAX_LENGTH

MAX_LOGIT_SCALE = 4.6052  # log 100, the paper's bound on the learnt temperature


def build_clip(config: PretrainConfig, tokenizer: CLIPTokenizer) -> CLIPModel:
    """A small `CLIPModel`: text encoder as wide as the U-Net expects, vision half narrower."""
    special = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": config.text_width,
        "intermediate_size": 4 * config.text_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_width // 32,
        "max_position_embeddings": MAX_LENGTH,
        "projection_dim": 128,
        **special,
    }
    vision = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": config.image_size,
        "patch_size": config.image_size // 8,
        "projection_dim": 128,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def contrastive_loss(image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor) -> Tensor:
    """Symmetric cross-entropy: each picture finds its caption, each caption its picture.

    Args:
        image_embeds: `(B, D)`, unit length.
        text_embeds: `(B, D)`, unit length.
        logit_scale: logarithm of the inverse temperature, scalar.

    Source: Radford et al. 2021, arXiv:2103.00020, figure 3.
    """
    logits = logit_scale.exp() * image_embeds @ text_embeds.T  # (B, B)
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def tokenize(tokenizer: CLIPTokenizer, captions: list[str], *, full: bool = False) -> Tensor:
    """`input_ids (B, L)`, padded to the longest caption, or to all 77 tokens if `full`."""
    return tokenizer(
        captions,
        padding="max_length" if full else "longest",
        truncation=True,
        max_length=MAX_LENGTH,
        return_tensors="pt",
    ).input_ids


def train_clip(
    config: PretrainConfig,
    data: WorldDataset,
    tokenizer: CLIPTokenizer,
    *,
    name: str = "clip",
    minutes: float | None = None,
    steps: int | None = None,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
) -> CLIPModel:
    """Train a CLIP; `name` seeds it, so the judge's is another one than the generator's."""
    device, _ = device_and_dtype(config)
    torch.manual_seed(config.seed + len(name))
    clip = build_clip(config, tokenizer)
    clip.to(device=device)  # type: ignore[call-arg]

    def losses(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        indices = data.batch(config.clip_batch, generator)
        captions = data.captions(indices, config.japanese, generator)
        pixel_values = data.pixel_values(indices)
        if augment is not None:
            pixel_values = augment(pixel_values, generator)
        outputs = clip(
            input_ids=tokenize(tokenizer, captions).to(device), pixel_values=pixel_values.to(device)
        )
        scale = clip.logit_scale.clamp(max=MAX_LOGIT_SCALE)
        loss = contrastive_loss(outputs.image_embeds, outputs.text_embeds, scale)
        right = (outputs.logits_per_image.argmax(1).cpu() == torch.arange(len(indices))).float()
        return {"loss": loss, "accuracy": right.mean().to(device)}

    training = Training(
        name=name,
        model=clip,
        losses=losses,
        learning_rate=config.clip_learning_rate,
        muon_factor=config.muon_factor,
        weight_decay=0.1,
        betas=(0.9, 0.98),
        ema_decay=0.995,
        minutes=config.clip_minutes if minutes is None else minutes,
        steps=config.clip_steps if steps is None else steps,
    )
    train(training, config)
    return clip


def sample_captions(data: WorldDataset, number: int, japanese: float, seed: int) -> list[str]:
    """Captions of both languages to train the tokenizer on."""
    generator = torch.Generator().manual_seed(seed)
    return data.captions(data.batch(number, generator), japanese, generator)


def save_clip(clip: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the whole CLIP, both halves, with its tokenizer."""
    clip.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
