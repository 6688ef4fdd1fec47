"""Custom Diffusion: teach the U-Net a subject by the keys and values of its cross-attention alone.

Only there does the text reach the U-Net. What it draws of everything else stays nearer to the base
than when all weights train, and a step needs less memory: gradients and moments of a few percent.

Source: Kumari et al. 2022, arXiv:2212.04488, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sdlearn.finetune.config import DreamBoothConfig
from sdlearn.finetune.dreambooth import DreamBooth

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion

KEYS_AND_VALUES = (".attn2.to_k.weight", ".attn2.to_v.weight")  # attn2 looks at the text


class CustomDiffusion(DreamBooth):
    """Learn a subject from pictures as DreamBooth does, in the cross-attention's keys and values.

    Settings are those of `DreamBoothConfig`. Raises ValueError for a `lora_rank`, as keys and
    values train themselves, and for `train_text_encoder`.
    """

    name = "custom-diffusion"
    default_learning_rate = 1e-5  # the paper's

    def __init__(
        self,
        sd: StableDiffusion,
        config: DreamBoothConfig | None = None,
        *,
        own_class_pictures: Sequence[Picture] = (),
        **settings: Any,
    ) -> None:
        super().__init__(sd, config, own_class_pictures=own_class_pictures, **settings)
        if self.config.lora_rank is not None or self.config.train_text_encoder:
            raise ValueError(
                "Custom Diffusion trains keys and values alone: leave out lora_rank and "
                "train_text_encoder, or take DreamBooth"
            )
        for name, weight in self.sd.unet.named_parameters():
            weight.requires_grad_(name.endswith(KEYS_AND_VALUES))
