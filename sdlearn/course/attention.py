"""Which word a place in the picture listens to: the U-Net's cross-attention, recorded.

Source: Hertz et al. 2022, arXiv:2208.01626, section 3 (maps of a word); Tang et al. 2022,
arXiv:2210.04885 (averaged over layers, heads and steps).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch.nn import functional as F

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from sdlearn.models import StableDiffusion


@dataclass(frozen=True, kw_only=True)
class WordMap:
    """Where one word of the prompt was listened to."""

    word: str
    weights: torch.Tensor  # (h, w), float32, of the latents; mean over layers, heads and steps


class AttentionRecorder(AttnProcessor):
    """A U-Net's plain attention, which also adds up where each token was listened to."""

    def __init__(self, latent_size: tuple[int, int], guided: bool) -> None:
        self.latent_size = latent_size  # (h, w)
        self.guided = guided  # whether the first half of each batch is without the prompt
        self.total: torch.Tensor | None = None  # (L, h, w)
        self.calls = 0

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Attend as diffusers' `AttnProcessor` does; record where there is a prompt."""
        if encoder_hidden_states is not None:
            self._record(attn, hidden_states, encoder_hidden_states)
        return super().__call__(attn, hidden_states, encoder_hidden_states, *args, **kwargs)

    def _record(self, attn: Any, hidden_states: torch.Tensor, states: torch.Tensor) -> None:
        if self.guided:
            half = len(hidden_states) // 2
            hidden_states, states = hidden_states[half:], states[half:]
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(states))
        shares = attn.get_attention_scores(query, key, None).mean(dim=0)  # (Q, L)
        height, width = self.latent_size
        factor = round((height * width / len(shares)) ** 0.5)  # this level is so much smaller
        grid = shares.T.reshape(1, -1, height // factor, width // factor)  # (1, L, h', w')
        grid = F.interpolate(grid.float(), self.latent_size, mode="bilinear")[0]
        self.total = grid if self.total is None else self.total + grid
        self.calls += 1


@contextmanager
def recorded(
    unet: Any, latent_size: tuple[int, int], *, guided: bool
) -> Iterator[AttentionRecorder]:
    """Record a U-Net's cross-attention while the block runs; it is as before afterwards."""
    recorder, before = AttentionRecorder(latent_size, guided), unet.attn_processors
    unet.set_attn_processor(recorder)
    try:
        yield recorder
    finally:
        unet.set_attn_processor(before)


def word_maps(
    sd: StableDiffusion, prompt: str, *, seed: int = 0, steps: int = 20, guidance_scale: float = 5.0
) -> tuple[Image.Image, list[WordMap]]:
    """Draw a prompt; return the picture, and a map for each of its tokens.

    Raises ValueError for a prompt without words.
    """
    tokens = prompt_tokens(sd, prompt)
    if not tokens:
        raise ValueError("the prompt has no words: give at least one")
    side = sd.image_size // sd.vae_reduction
    with recorded(sd.unet, (side, side), guided=guidance_scale > 1) as recorder:
        [image] = sd.draw(
            prompt,
            seeds=seed,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            desc=None,
        )
    assert recorder.total is not None
    weights = (recorder.total / recorder.calls).cpu()
    # the first token is the start of the text
    return image, [WordMap(word=word, weights=weights[i]) for i, word in enumerate(tokens, start=1)]


def prompt_tokens(sd: StableDiffusion, prompt: str) -> list[str]:
    """The tokens of a prompt as a person reads them, without start and end."""
    ids = sd.tokenizer(prompt, truncation=True, max_length=77).input_ids[1:-1]
    return [str(sd.tokenizer.decode([i])).removesuffix("</w>").strip() for i in ids]


def show_word_maps(image: Image.Image, maps: Sequence[WordMap], *, columns: int = 6) -> Figure:
    """Lay out the picture and each word's map over it, coloured from its own least to its most."""
    import matplotlib.pyplot as plt
    import numpy as np

    rows = -(-(len(maps) + 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.7 * columns, 2 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    axes[0, 0].imshow(image)
    axes[0, 0].set_title("the picture", fontsize=11)
    grey = np.asarray(image.convert("L").convert("RGB"))
    extent = (0, image.width, image.height, 0)
    for axis, word_map in zip(axes.flat[1:], maps, strict=False):
        axis.imshow(grey, extent=extent, alpha=0.6)
        axis.imshow(
            word_map.weights, extent=extent, cmap="viridis", alpha=0.6, interpolation="bilinear"
        )
        axis.set_title(word_map.word, fontsize=11)
    return figure
