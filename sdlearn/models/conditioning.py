"""What a U-Net is told of a picture beside its noise: the prompt, and in SDXL its size as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch


@dataclass(frozen=True)
class Conditioning:
    """Prompts as the U-Net takes them, one a row; `conditioning[rows]` picks rows.

    Stable Diffusion 1 and 2 take the states alone. SDXL takes the pooled prompt and each picture's
    sizes too; the sizes are not known from the prompt, so `with_sizes` adds them.
    """

    encoder_hidden_states: torch.Tensor  # (B, L, D)
    text_embeds: torch.Tensor | None = None  # (B, P), pooled and projected; SDXL only
    time_ids: torch.Tensor | None = None  # (B, 6), float32, pixels, see `size_ids`; SDXL only

    def __len__(self) -> int:
        return len(self.encoder_hidden_states)

    def __getitem__(self, rows: Any) -> Conditioning:
        """Return some rows, given as a list of indices, a slice or a mask."""
        return _joined(lambda parts: parts[0][rows], [self])

    @staticmethod
    def cat(conditionings: Sequence[Conditioning]) -> Conditioning:
        """Put the rows of several, all of one model, below each other."""
        return _joined(torch.cat, conditionings)

    def with_sizes(self, time_ids: torch.Tensor) -> Conditioning:
        """Add each picture's sizes (B, 6), as `size_ids` makes them.

        Nothing is added for Stable Diffusion 1 and 2, so a method need not ask which model it has.
        """
        return self if self.text_embeds is None else replace(self, time_ids=time_ids)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Conditioning:
        """Move to a device, and cast to a dtype all but the sizes, which bfloat16 would round."""
        moved = _joined(lambda parts: parts[0].to(device=device, dtype=dtype), [self])
        return moved if self.time_ids is None else moved.with_sizes(self.time_ids.to(device))

    def unet_inputs(self) -> dict[str, Any]:
        """Return what goes to diffusers' `UNet2DConditionModel`, by its names.

        Raises ValueError for SDXL's conditioning without sizes.
        """
        if self.text_embeds is None:
            return {"encoder_hidden_states": self.encoder_hidden_states}
        if self.time_ids is None:
            raise ValueError("SDXL is told each picture's size too: add it by `with_sizes`")
        return {
            "encoder_hidden_states": self.encoder_hidden_states,
            "added_cond_kwargs": {"text_embeds": self.text_embeds, "time_ids": self.time_ids},
        }


def size_ids(
    original_size: tuple[int, int], crop_top_left: tuple[int, int], target_size: tuple[int, int]
) -> torch.Tensor:
    """Write down a picture's sizes as SDXL reads them: (6,), float32, in pixels.

    `original_size` (H, W) is the picture's before anything is done to it, `crop_top_left` (y, x)
    where the crop begins once it is scaled, `target_size` (H, W) what is trained on.

    Source: Podell et al. 2023, arXiv:2307.01952, section 2.2.
    """
    return torch.tensor([*original_size, *crop_top_left, *target_size], dtype=torch.float32)


def _joined(
    join: Callable[[list[torch.Tensor]], torch.Tensor], conditionings: Sequence[Conditioning]
) -> Conditioning:
    """Make one of several, part by part; a part that the first lacks is lacking."""

    def part(name: str) -> Any:
        if getattr(conditionings[0], name) is None:
            return None
        return join([getattr(one, name) for one in conditionings])

    return Conditioning(part("encoder_hidden_states"), part("text_embeds"), part("time_ids"))
