"""Imagic's two stages: first the prompt's embedding learns the picture, then the U-Net.

Source: Kawar et al. 2022, arXiv:2210.09276, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.finetune.config import LoRAConfig
from sdlearn.finetune.denoising import DenoisingStage
from sdlearn.finetune.imagic.embedding import LearntEmbedding, checksum, write_embeddings
from sdlearn.finetune.lora import LoRA
from sdlearn.finetune.parts import TrainedParts
from sdlearn.training.config import FitConfig

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion
    from sdlearn.models.conditioning import Conditioning
    from sdlearn.training.batches import Batch


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """What a stage starts from; a stopped one goes on only where it is the same."""

    target_prompt: str
    embedding: str = "of the target prompt"  # or the checksum of a learnt one
    lora_rank: int | None = None


class _PictureStage(DenoisingStage):
    """What both stages share: one picture, denoised under one embedding."""

    def __init__(
        self,
        sd: StableDiffusion,
        embedding: Conditioning,
        models: dict[str, torch.nn.Module],
        config: StageSettings,
    ) -> None:
        super().__init__(sd, config)
        self.embedding = embedding
        self.models = models

    def trained(self) -> dict[str, torch.nn.Module]:
        """The embedding in stage A, the U-Net in stage B."""
        return self.models

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """All that trains, without weight decay: the paper's optimizer is plain Adam."""
        parameters = [p for model in self.models.values() for p in model.parameters()]
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        return [{"params": trained, "lr": learning_rate, "weight_decay": 0.0}]

    def check(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Raise ValueError for more than one picture, or a size that does not fit the model."""
        if len(pictures) != 1:
            raise ValueError(f"Imagic edits one picture and was given {len(pictures)}: give one")
        super().check(pictures, config)

    def prepare(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Encode the picture."""
        super().prepare(pictures, config)
        self.encode(pictures, config)
        self.sd.let_go(*self.sd.text_encoders)
        self.embedding = self.embedding.to(self.sd.device)

    def denoise_picture(
        self, batch: Batch, unet: torch.nn.Module, conditioning: Conditioning
    ) -> torch.Tensor:
        """The picture's denoising loss under an embedding, a mean over B noises and timesteps.

        Source: Kawar et al. 2022, arXiv:2210.09276, eq. 2.
        """
        return self.denoise(unet, batch.indices, batch.generators, conditioning).mean()


class EmbeddingStage(_PictureStage):
    """Stage A: from e_tgt, find the embedding e_opt under which the frozen model knows the picture.

    `embedding` is e_tgt, one row.
    """

    name = "imagic-embedding"
    default_learning_rate = 2e-3  # the paper's for Stable Diffusion

    def __init__(self, sd: StableDiffusion, target_prompt: str, embedding: Conditioning) -> None:
        self.learning = LearntEmbedding(embedding).to(sd.device)
        models: dict[str, torch.nn.Module] = {"embedding": self.learning}
        super().__init__(sd.freeze(), embedding, models, StageSettings(target_prompt=target_prompt))

    @property
    def learnt(self) -> Conditioning:
        """e_opt as it is now, one row."""
        with torch.no_grad():
            return self.learning(1)

    def loss(self, batch: Batch, embedding: torch.nn.Module) -> torch.Tensor:
        """Denoise the picture under the embedding that trains."""
        return self.denoise_picture(batch, self.sd.unet, embedding(len(batch.indices)))

    def save(self, path: str | Path) -> Path:
        """Write e_tgt and e_opt to a folder."""
        folder = Path(path).expanduser()
        write_embeddings(folder, e_tgt=self.embedding, e_opt=self.learnt)
        return folder


class UNetStage(_PictureStage):
    """Stage B: the U-Net learns the picture's details under the frozen e_opt.

    `embedding` is e_opt, one row. A copy of all weights trains, or with `lora_rank` updates beside
    them.
    """

    name = "imagic-unet"
    default_learning_rate = 5e-7  # the paper's for Stable Diffusion

    def __init__(
        self,
        sd: StableDiffusion,
        target_prompt: str,
        embedding: Conditioning,
        lora_rank: int | None = None,
    ) -> None:
        lora = None if lora_rank is None else LoRAConfig(rank=lora_rank)
        if lora is not None:
            self.name, self.default_learning_rate = "imagic-lora", LoRA.default_learning_rate
        self.parts = TrainedParts(sd, train_text_encoder=False, lora=lora)
        settings = StageSettings(
            target_prompt=target_prompt, embedding=checksum(embedding), lora_rank=lora_rank
        )
        super().__init__(self.parts.sd, embedding, self.parts.models, settings)

    def loss(self, batch: Batch, unet: torch.nn.Module) -> torch.Tensor:
        """Denoise the picture under e_opt."""
        return self.denoise_picture(batch, unet, self.embedding[[0] * len(batch.indices)])

    def save(self, path: str | Path) -> Path:
        """Write `unet/`, or the LoRA's files, and a record to a folder."""
        return self.parts.save(path, self.record(), made=self.made)
