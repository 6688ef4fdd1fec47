"""Imagic: edit one picture by a prompt.

(A) find the embedding under which the model knows the picture, (B) train the U-Net at that
embedding, (C) draw at embeddings between it and the prompt's.

Source: Kawar et al. 2022, arXiv:2210.09276, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from sdlearn.finetune.config import ImagicConfig
from sdlearn.finetune.imagic.embedding import write_embeddings
from sdlearn.finetune.imagic.result import ImagicResult
from sdlearn.finetune.imagic.stages import EmbeddingStage, ImagicStep, Stage, UNetStage, check_fit
from sdlearn.models.earlier import INNER_LORA, in_its_place
from sdlearn.models.provenance import write_card
from sdlearn.models.records import write_record
from sdlearn.models.samplers import check_steps
from sdlearn.training.config import FitConfig
from sdlearn.training.loop import fit
from sdlearn.training.making import added_up
from sdlearn.training.method import record, training_size
from sdlearn.training.previews import check_previews

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion
    from sdlearn.models.conditioning import Conditioning
    from sdlearn.training.method import Method

PAPER_STEPS: dict[str, int] = {"embedding": 1000, "unet": 1500}  # for Stable Diffusion
ONE_AT_A_TIME = FitConfig(train_batch_size=1)


class Imagic:
    """Edit one picture by a prompt; the given model is not changed.

    Settings are those of `ImagicConfig`. Train with `fit`, then look at `result`.
    """

    name = "imagic"

    def __init__(
        self, sd: StableDiffusion, config: ImagicConfig | None = None, **settings: Any
    ) -> None:
        self.config = replace(config, **settings) if config else ImagicConfig(**settings)
        self.base = sd.freeze()
        with torch.no_grad():
            self.e_tgt = sd.condition([self.config.target_prompt]).to(dtype=torch.float32)
        self.embedding_stage: EmbeddingStage | None = None  # while and after it trains
        self.unet_stage: UNetStage | None = None
        self.fit_config = ONE_AT_A_TIME

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
        stages = (self.embedding_stage, self.unet_stage)
        return added_up([stage.made for stage in stages if stage])

    @property
    def result(self) -> ImagicResult:
        """What was learnt by now, to draw with."""
        return ImagicResult(
            sd=self.sd,
            base=self.base,
            config=self.config,
            e_tgt=self.e_tgt.to(self.sd.device),
            e_opt=self.e_opt,
            size=training_size(self.base, self.fit_config),
        )

    def fit(
        self, pictures: Sequence[Picture], config: FitConfig | None = None
    ) -> Iterator[ImagicStep]:
        """Learn the one picture, stage A and then stage B, and yield each optimizer step.

        Settings are those of `sdlearn.finetune.fit`, with a picture a step unless given; each stage
        keeps its checkpoints and log in a folder of its own in `output_dir`. Starts anew when
        called again. Raises ValueError for more or less than one picture, a size that does not fit
        the model, more sampler steps than there can be, a warm-up that a stage never leaves, and
        steps or a learning rate in `config`, as each stage has its own.
        """
        config = config or ONE_AT_A_TIME
        check_fit(config, self.steps)
        check_previews(self.base, config)
        check_steps(self.config.num_inference_steps, self.base.noise_scheduler)
        EmbeddingStage(self.base, self.config.target_prompt, self.e_tgt).check(pictures, config)
        self.embedding_stage = self.unet_stage = None
        self.fit_config = config
        return self._train(pictures)

    def save(self, path: str | Path) -> Path:
        """Write a folder with both embeddings, what stage B trained, and a record."""
        folder = Path(path).expanduser()
        settings = record(cast("Method", self), self.fit_config)  # it has all that a record reads
        facts = {"size": self.result.size, "has_unet": self.unet_stage is not None, "chosen": None}
        with in_its_place(folder) as new:
            write_embeddings(new, e_tgt=self.e_tgt, e_opt=self.e_opt)
            if self.unet_stage is not None:
                self.unet_stage.save(new if self.config.lora_rank is None else new / INNER_LORA)
            write_record(new, {**settings, **facts, "made": self.made})
            write_card(new, {**settings, "made": self.made})
        return folder

    def _train(self, pictures: Sequence[Picture]) -> Iterator[ImagicStep]:
        prompt = self.config.target_prompt
        if self.steps["embedding"]:
            self.embedding_stage = EmbeddingStage(self.base, prompt, self.e_tgt)
            yield from self._run("embedding", self.embedding_stage, pictures)
        if self.steps["unet"]:
            self.unet_stage = UNetStage(self.base, prompt, self.e_opt, self.config.lora_rank)
            yield from self._run("unet", self.unet_stage, pictures)

    def _run(
        self, stage: Stage, method: Method, pictures: Sequence[Picture]
    ) -> Iterator[ImagicStep]:
        """Train one stage in the one loop, and count its steps on from the stage before."""
        output_dir = self.fit_config.output_dir
        config = replace(
            self.fit_config,
            max_train_steps=self.steps[stage],
            learning_rate=getattr(self.config, f"{stage}_learning_rate"),
            output_dir=None if output_dir is None else output_dir / stage,
        )
        before = self.steps["embedding"] if stage == "unet" else 0
        for step in fit(method, pictures, config):
            number = before + step.step
            facts = {
                **vars(step),
                "step": number,
                "max_train_steps": sum(self.steps.values()),
                "epoch": step.epoch / step.step * number,
            }
            yield ImagicStep(**facts, stage=stage)
