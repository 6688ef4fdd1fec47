"""DreamBooth: teach the U-Net a subject, and hold on to what its class looked like.

Source: Ruiz et al. 2022, arXiv:2208.12242, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.data.encoded import Joined, descriptions
from sdlearn.finetune.class_pictures import class_folder, class_pictures, own_pictures
from sdlearn.finetune.config import DreamBoothConfig
from sdlearn.finetune.denoising import training_size
from sdlearn.finetune.lora import LoRA
from sdlearn.finetune.parts import PartsMethod
from sdlearn.finetune.provenance import credits_of
from sdlearn.finetune.templates import fill
from sdlearn.models.samplers import check_steps

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion
    from sdlearn.training.batches import Batch
    from sdlearn.training.config import FitConfig


class DreamBooth(PartsMethod):
    """Learn a subject from pictures; the given model is not changed, and draws the class pictures.

    Settings are those of `DreamBoothConfig`. `own_class_pictures` are taken instead of drawn ones,
    and so are somebody's own in `class_data_dir`.
    With `lora_rank` only updates beside the weights train, and the method is "dreambooth-lora".
    """

    name = "dreambooth"
    default_learning_rate = 5e-6  # the paper's for Stable Diffusion

    def __init__(
        self,
        sd: StableDiffusion,
        config: DreamBoothConfig | None = None,
        *,
        own_class_pictures: Sequence[Picture] = (),
        **settings: Any,
    ) -> None:
        own = replace(config or DreamBoothConfig(), **settings)
        super().__init__(sd, own, own.lora)
        self.base = sd
        self.own_class_pictures = own_class_pictures
        if own.lora is not None:
            self.name, self.default_learning_rate = "dreambooth-lora", LoRA.default_learning_rate

    @property
    def has_prior(self) -> bool:
        """Whether class pictures take part at all."""
        return self.config.with_prior_preservation and self.config.prior_loss_weight > 0

    def caption(self, picture: Picture) -> str:
        """Return the prompt of a picture of the subject."""
        return fill(self.config.instance_prompt, picture)

    def check(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Raise ValueError for prompts that pictures cannot fill, a wrong size or step count."""
        super().check(pictures, config)
        others = self._own_pictures(config)
        if self.has_prior and not others:
            check_steps(self.config.class_inference_steps, self.sd.noise_scheduler)
        self._prompts(pictures, others)

    def prepare(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Draw the class pictures, encode all pictures, and encode or tokenize the prompts."""
        super().prepare(pictures, config)
        others = self._class_pictures(config) if self.has_prior else []
        self.encode(Joined(pictures, others), config)
        self.prompts, self.first_class = self._prompts(pictures, others), len(pictures)
        self.parts.prepare_prompts(self.prompts)

    def loss(
        self, batch: Batch, unet: torch.nn.Module, **text_encoders: torch.nn.Module
    ) -> torch.Tensor:
        """Denoise subject and class in one forward pass, weigh each sample, and add the two means.

        Source: Ruiz et al. 2022, arXiv:2208.12242, eq. 2.
        """
        indices, generators = list(batch.indices), list(batch.generators)
        instances, last = len(indices), self.config.text_encoder_steps
        if self.has_prior:
            count = len(self.prompts) - self.first_class
            other = batch.beside(count, self.config.class_batch_size or instances)
            indices += [self.first_class + i for i in other.indices]
            generators += other.generators
        with torch.set_grad_enabled(last is None or batch.step < last):
            conditioning = self.parts.condition([self.prompts[i] for i in indices], text_encoders)
        losses = self.denoise(unet, indices, generators, conditioning)  # (instances + class,)
        loss = losses[:instances].mean()
        if self.has_prior:
            loss = loss + self.config.prior_loss_weight * losses[instances:].mean()
        return loss

    def _prompts(self, pictures: Sequence[Picture], others: Sequence[Picture]) -> list[str]:
        prompts = [self.caption(picture) for picture in descriptions(pictures)]
        return prompts + [fill(self.config.class_prompt, other) for other in descriptions(others)]

    def _own_pictures(self, config: FitConfig) -> Sequence[Picture]:
        """Class pictures that somebody gave, or keeps where drawn ones would lie."""
        keeps = self.has_prior and not self.own_class_pictures
        return own_pictures(class_folder(self.config, config)) if keeps else self.own_class_pictures

    def _class_pictures(self, config: FitConfig) -> Sequence[Picture]:
        if own := self._own_pictures(config):
            self.made["class_pictures"], self.own_class_pictures = credits_of(own), own
            return own
        folder, size = class_folder(self.config, config), training_size(self.sd, config)
        self.base.to(self.sd.device)
        return class_pictures(self.base, self.config, folder=folder, size=size, seed=config.seed)
