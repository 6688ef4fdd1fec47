"""SDXL: a Stable Diffusion with two text encoders, told the size of its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from diffusers import StableDiffusionXLPipeline

from sdlearn.models.conditioning import Conditioning
from sdlearn.models.stable_diffusion import StableDiffusion, token_ids
from sdlearn.models.text_encoder import WRAPPER

if TYPE_CHECKING:
    from diffusers import SchedulerMixin
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer


@dataclass(frozen=True, kw_only=True)
class StableDiffusionXL(StableDiffusion):
    """The parts of one SDXL; used like any `StableDiffusion`.

    The VAE stays float32 whatever the dtype of the rest: in float16 its numbers overflow.

    Source: Podell et al. 2023, arXiv:2307.01952.
    """

    tokenizer_2: CLIPTokenizer
    text_encoder_2: CLIPTextModelWithProjection

    @property
    def text_encoders(self) -> dict[str, Any]:
        """The text encoders by name."""
        return {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}

    @property
    def tokenizers(self) -> dict[str, Any]:
        """The tokenizers by name, in the order of the text encoders."""
        return {"tokenizer": self.tokenizer, "tokenizer_2": self.tokenizer_2}

    @property
    def idle_parameters(self) -> list[torch.nn.Parameter]:
        """Those of the first text encoder's last layer and norm, which `encode` leaves out.

        Several processes that train in step wait in vain for gradients of parameters without any.
        """
        last = self.text_encoder.config.num_hidden_layers - 1
        behind = (f"encoder.layers.{last}.", "final_layer_norm.")
        return [
            parameter
            for name, parameter in self.text_encoder.named_parameters()
            if name.removeprefix(WRAPPER).startswith(behind)
        ]

    def condition(self, prompts: Sequence[str], **text_encoders: Any) -> Conditioning:
        """Encode prompts as all that the U-Net takes but for the sizes; an empty one is all zeros.

        SDXL was trained so where it had no prompt, and diffusers' pipeline draws so without one.
        """
        conditioning = super().condition(prompts, **text_encoders)
        states, text_embeds = conditioning.encoder_hidden_states, conditioning.text_embeds
        is_empty = torch.tensor([not prompt.strip() for prompt in prompts], device=states.device)
        return Conditioning(
            states.masked_fill(is_empty[:, None, None], 0),
            text_embeds=None
            if text_embeds is None
            else text_embeds.masked_fill(is_empty[:, None], 0),
        )

    def tokenize(self, prompts: Sequence[str]) -> torch.Tensor:
        """Turn prompts into `input_ids` (B, 2, L), int64: a row for each text encoder."""
        length = self.text_encoder.config.max_position_embeddings
        ids = [token_ids(tokenizer, prompts, length) for tokenizer in self.tokenizers.values()]
        return torch.stack(ids, dim=1)  # (B, 2, L)

    def encode(self, input_ids: torch.Tensor, **text_encoders: Any) -> Conditioning:
        """Encode `input_ids` (B, 2, L): the last but one states of both encoders side by side.

        The second one's pooled output comes with them. Other than in `StableDiffusion`, pictures'
        sizes are still to be added by `with_sizes`.

        Source: Podell et al. 2023, arXiv:2307.01952, section 2.1.
        """
        models = self.text_encoders | text_encoders
        first, second = (
            model(input_ids[:, row], output_hidden_states=True)
            for row, model in enumerate(models.values())
        )
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        return Conditioning(states, text_embeds=second.text_embeds)  # (B, L, D1 + D2), (B, P)

    def pipeline(self, scheduler: SchedulerMixin | None = None) -> StableDiffusionXLPipeline:
        """Make diffusers' own pipeline of these parts, which it shares, without copying them.

        The sampler is DPM-Solver++ (2M) unless another is given. There is no watermark.
        """
        pipeline = StableDiffusionXLPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            text_encoder_2=self.text_encoder_2,
            tokenizer=self.tokenizer,
            tokenizer_2=self.tokenizer_2,
            unet=self.unet,
            scheduler=scheduler or self.sampler(),
            add_watermarker=False,
        )
        return self._ready(pipeline)

    def _dtype_of(self, model: Any, dtype: torch.dtype) -> torch.dtype:
        return torch.float32 if model is self.vae else dtype
