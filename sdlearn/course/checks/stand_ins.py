"""Stand-ins that checks give to a learner's function in place of models, made of a few numbers.

The numbers (`fields`) say all about one, so another process can make the same.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch


class StandIn:
    """What is made of its fields alone; a copy is made of them anew."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def __deepcopy__(self, memo: dict[int, Any]) -> StandIn:
        return type(self)(**self.fields)


class PipelineOutput(SimpleNamespace):
    """What a pipeline returns: its `images`."""


class Pipeline(StandIn):
    """A pipeline whose "picture" is a text, of a number that the generator draws and the prompt."""

    device = torch.device("cpu")

    def __call__(
        self, prompt: Any = None, generator: torch.Generator | None = None, **settings: Any
    ) -> PipelineOutput:
        prompts = [prompt] if isinstance(prompt, str) else list(prompt or ["nothing"])
        return PipelineOutput(
            images=[f"{float(torch.rand((), generator=generator))} {text}" for text in prompts]
        )


class Autoencoder(StandIn):
    """A VAE with this `scaling_factor`: three channels, twice the size, values beyond -1 and 1."""

    def __init__(self, *, scaling_factor: float) -> None:
        super().__init__(scaling_factor=scaling_factor)
        self.config = SimpleNamespace(scaling_factor=scaling_factor)

    def decode(self, latents: torch.Tensor, return_dict: bool = True) -> Any:
        sample = latents[:, :3].repeat_interleave(2, 2).repeat_interleave(2, 3)
        return SimpleNamespace(sample=sample) if return_dict else (sample,)


class TextEncoder(StandIn):
    """A text encoder that is a frozen table of words alone."""

    def __init__(self, *, vocab_size: int, hidden_size: int) -> None:
        super().__init__(vocab_size=vocab_size, hidden_size=hidden_size)
        self.config = SimpleNamespace(**self.fields)
        self._table = torch.nn.Embedding(vocab_size, hidden_size).requires_grad_(False)
        self.parameters, self.named_parameters = (
            self._table.parameters,
            self._table.named_parameters,
        )

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self._table


class Parts(StandIn):
    """A loaded Stable Diffusion: U-Net, text encoder and VAE, each a frozen layer of this size."""

    def __init__(self, **sizes: list[int]) -> None:
        super().__init__(**sizes)
        for name, (rows, columns) in sizes.items():
            setattr(self, name, torch.nn.Linear(rows, columns).requires_grad_(False))


class WordMap(StandIn):
    """A token (`word`) and how much each place listens to it (`weights`, (h, w))."""

    def __init__(self, *, word: str, weights: torch.Tensor) -> None:
        super().__init__(word=word, weights=weights)
        self.word, self.weights = word, weights
