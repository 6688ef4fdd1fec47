"""Imagic: edit one picture by a prompt.

(A) find the embedding under which the model knows the picture, (B) train the U-Net at that
embedding, (C) draw at embeddings between it and the prompt's.

Source: Kawar et al. 2022, arXiv:2210.09276, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.finetune.config import ImagicConfig
from sdlearn.finetune.denoising import training_size
from sdlearn.finetune.imagic.embedding import write_embeddings
from sdlearn.finetune.imagic.result import ImagicResult
from sdlearn.finetune.imagic.stages import EmbeddingStage, UNetStage
from sdlearn.finetune.provenance import add_up, record, write_card
from sdlearn.finetune.saving import INNER_LORA, replace_folder
from sdlearn.models.loading import as_loaded
from sdlearn.models.records import write_record
from sdlearn.models.samplers import check_steps
from sdlearn.training.config import FitConfig
from sdlearn.training.method import StagePlan

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion
    from sdlearn.models.conditioning import Conditioning

PAPER_STEPS: dict[str, int] = {"embedding": 1000, "unet": 1500}  # for Stable Diffusion


class Imagic:
    """Edit one picture by a prompt; the given model is not changed.

    Settings are those of `ImagicConfig`. Train it with `fit`, then look at `result`. Settings of
    `fit` hold for both stages, a picture a step unless given; each keeps its checkpoints and log in
    a folder of its own in `output_dir`. It starts anew whenever it is trained again.
    """

    name = "imagic"
    fit_defaults = FitConfig(train_batch_size=1)

    def __init__(
        self, sd: StableDiffusion, config: ImagicConfig | None = None, **settings: Any
    ) -> None:
        self.config = replace(config, **settings) if config else ImagicConfig(**settings)
        self.base = sd.freeze()
        with torch.no_grad():
            self.e_tgt = sd.condition([self.config.target_prompt]).to(dtype=torch.float32)
        self.embedding_stage: EmbeddingStage | None = None  # while and after it trains
        self.unet_stage: UNetStage | None = None
        self.fit_config = self.fit_defaults

    @property
    def steps(self) -> dict[str, int]:
        """Optimizer steps of each stage; a stage of none is left out."""
        asked = {"embedding": self.config.embedding_steps, "unet": self.config.unet_steps}
        return {
            name: self.base.train_steps.get(f"imagic-{name}", PAPER_STEPS[name])
            if steps is None
            else steps
            for name, steps in asked.items()
        }

    @property
    def sd(self) -> StableDiffusion:
        """The model with the U-Net as stage B has it by now."""
        return self.unet_stage.sd if self.unet_stage else self.base

    @property
    def e_opt(self) -> Conditioning:
        """The embedding as stage A has it by now, one row."""
        return self.embedding_stage.learnt if self.embedding_stage else self.e_tgt

    @property
    def made(self) -> dict[str, Any]:
        """How it was trained, both stages together."""
        return add_up([stage.made for stage in self._begun])

    @property
    def result(self) -> ImagicResult:
        """What was learnt by now, to draw with."""
        return ImagicResult(
            sd=self.sd,
            base=as_loaded(self.base),
            config=self.config,
            e_tgt=self.e_tgt.to(self.sd.device),
            e_opt=self.e_opt,
            size=training_size(self.base, self.fit_config),
        )

    def check(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Raise ValueError for what cannot work, before anything is computed.

        That is more or less than one picture, a size that does not fit the model, more sampler
        steps than there can be, a warm-up that a stage never leaves, and steps or a learning rate
        in `config`, as each stage has its own.
        """
        self._check_config(config)
        EmbeddingStage(self.base, self.config.target_prompt, self.e_tgt).check(pictures, config)
        check_steps(self.config.num_inference_steps, self.base.noise_scheduler)

    def stages(self, pictures: Sequence[Picture], config: FitConfig) -> Iterator[StagePlan]:
        """Yield stage A, and when that has learnt the embedding, stage B; each if it has steps."""
        self.check(pictures, config)
        self.embedding_stage = self.unet_stage = None
        self.fit_config, prompt = config, self.config.target_prompt
        if self.steps["embedding"]:
            self.embedding_stage = EmbeddingStage(self.base, prompt, self.e_tgt)
            yield self._plan("embedding", self.embedding_stage)
        if self.steps["unet"]:
            self.unet_stage = UNetStage(self.base, prompt, self.e_opt, self.config.lora_rank)
            yield self._plan("unet", self.unet_stage)

    def modules(self) -> list[torch.nn.Module]:
        """Return what trains in the stages that have begun."""
        return [module for stage in self._begun for module in stage.modules()]

    def save(self, path: str | Path) -> Path:
        """Write a folder with both embeddings, what stage B trained, and a record."""
        folder = Path(path).expanduser()
        settings = record(self, self.fit_config)
        size = training_size(self.base, self.fit_config)
        facts = {"size": size, "has_unet": self.unet_stage is not None, "chosen": None}
        with replace_folder(folder) as new:
            write_embeddings(new, e_tgt=self.e_tgt, e_opt=self.e_opt)
            if self.unet_stage is not None:
                self.unet_stage.save(new if self.config.lora_rank is None else new / INNER_LORA)
            write_record(new, {**settings, **facts, "made": self.made})
            write_card(new, {**settings, "made": self.made})
        return folder

    @property
    def _begun(self) -> list[EmbeddingStage | UNetStage]:
        """The stages that train or have trained."""
        return [stage for stage in (self.embedding_stage, self.unet_stage) if stage is not None]

    def _plan(self, name: str, stage: EmbeddingStage | UNetStage) -> StagePlan:
        """How a stage trains: as asked for, for its own steps, at its own rate, in its folder."""
        output_dir = self.fit_config.output_dir
        config = replace(
            self.fit_config,
            max_train_steps=self.steps[name],
            learning_rate=getattr(self.config, f"{name}_learning_rate"),
            output_dir=None if output_dir is None else output_dir / name,
        )
        return StagePlan(
            stage=stage,
            config=config,
            name=name,
            steps_before=self.steps["embedding"] if name == "unet" else 0,
            steps_in_all=sum(self.steps.values()),
        )

    def _check_config(self, config: FitConfig) -> None:
        """Raise ValueError for general settings that do not fit two stages of so many steps."""
        for name in ("max_train_steps", "learning_rate"):
            if getattr(config, name) != getattr(FitConfig, name):
                own = name.removeprefix("max_train_")
                raise ValueError(
                    f"{name} is {getattr(config, name)}, and Imagic has two stages: set "
                    f"embedding_{own} and unet_{own} instead"
                )
        for stage, number in self.steps.items():
            if 0 < number <= config.lr_warmup_steps and config.lr_scheduler != "cosine":
                raise ValueError(
                    f"lr_warmup_steps is {config.lr_warmup_steps}, and the {stage} stage ends "
                    f"after {number}: give fewer lr_warmup_steps, or more {stage}_steps"
                )
