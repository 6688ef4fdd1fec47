"""How large a Textual Inversion checkpoint of Stable Diffusion 1.5 is, and what is learnt.

    python benchmarks/checkpoint_size.py

The text encoder is Stable Diffusion 1.5's whole one, with random weights; U-Net and VAE have its
blocks at a fraction of the width, as nothing of them trains. Results go to
results/checkpoint_size.json.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from environment import environment, keep
from transformers import CLIPTextConfig, CLIPTextModel

from sdlearn.data.characters import draw_character
from sdlearn.finetune import FitConfig, TextualInversion, fit, run
from sdlearn.models import StableDiffusion
from sdlearn.models.architectures import SD15
from sdlearn.models.clip_tokenizer import clip_tokenizer
from sdlearn.training.checkpoint import checkpoints

NARROW: dict[str, Any] = {"block_out_channels": (32, 32, 32, 32)}
SIZE = 128  # pixels


def narrow_sd15() -> StableDiffusion:
    """Stable Diffusion 1.5's text encoder, beside narrow copies of its other parts."""
    return StableDiffusion(
        tokenizer=clip_tokenizer(),
        text_encoder=CLIPTextModel(CLIPTextConfig(**SD15.text_encoder)),
        vae=AutoencoderKL(**{**SD15.vae, **NARROW}),
        unet=UNet2DConditionModel(**{**SD15.unet, **NARROW}),
        noise_scheduler=DDIMScheduler(**SD15.scheduler),
        name="sd15",
    ).freeze()


def total(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in [path, *path.rglob("*")] if p.is_file())


def main() -> None:
    """Train a step, and weigh what it leaves."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--num-vectors", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    method = TextualInversion(narrow_sd15(), num_vectors=options.num_vectors)
    with tempfile.TemporaryDirectory() as folder:
        config = FitConfig(
            max_train_steps=1, train_batch_size=1, resolution=SIZE, output_dir=Path(folder)
        )
        run(fit(method, draw_character("lorelei", 1, number=1, size=SIZE), config))
        [checkpoint] = checkpoints(Path(folder))
        learnt = method.save(Path(folder) / "learnt.safetensors")
        row = {"checkpoint": total(checkpoint), "artefact": total(learnt)}
    keep("checkpoint_size", "textual-inversion", {**row, "environment": environment()})
    print(f"checkpoint {row['checkpoint']} bytes, what is learnt {row['artefact']} bytes")


if __name__ == "__main__":
    main()
