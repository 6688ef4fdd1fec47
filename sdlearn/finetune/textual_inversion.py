"""Textual Inversion: teach the text encoder one new word, SDXL both of its two, and nothing else.

Source: Gal et al. 2022, arXiv:2208.01618, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.data.encoded import descriptions
from sdlearn.finetune.config import TextualInversionConfig
from sdlearn.finetune.denoising import DenoisingStage
from sdlearn.finetune.provenance import write_card
from sdlearn.finetune.saving import replace_folder, word_file_name
from sdlearn.finetune.templates import fill_word
from sdlearn.models.learned_embeds import check_read, with_new_rows, write_learned_embeds
from sdlearn.models.model_metadata import model_spec
from sdlearn.training.config import FitConfig

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.models import StableDiffusion
    from sdlearn.training.batches import Batch


class TextualInversion(DenoisingStage):
    """Learn a word from pictures; the given model is not changed.

    Settings are those of `TextualInversionConfig`. Where a template gives a picture's own caption
    ("{text}") and that does not hold the placeholder, it takes the place of `initializer_token`.
    Raises ValueError for a known placeholder, and an initializer of more tokens than vectors.
    """

    name = "textual-inversion"
    default_learning_rate = 5e-3  # the paper's base rate

    def __init__(
        self, sd: StableDiffusion, config: TextualInversionConfig | None = None, **settings: Any
    ) -> None:
        own = replace(config or TextualInversionConfig(), **settings)
        token, words = own.placeholder_token, own.initializer_token
        sd, self.new_rows = with_new_rows(sd.freeze(), token, words, own.num_vectors)
        self.start = [rows.rows.detach().clone() for rows in self.new_rows]
        super().__init__(sd, own)

    def trained(self) -> dict[str, torch.nn.Module]:
        """The text encoders run in the loss; only the new rows in them train."""
        return self.sd.text_encoders

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The new rows, without weight decay, which would pull them towards zero."""
        rows = [new.rows for new in self.new_rows]
        return [{"params": rows, "lr": learning_rate, "weight_decay": 0.0}]

    def caption(self, picture: Picture) -> str:
        """Return the sentence to measure a picture's loss under: the first template's."""
        return fill_word(self.config, picture)[0]

    def check(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Raise ValueError for a caption without a place for the word, or a size that is wrong."""
        super().check(pictures, config)
        for picture in descriptions(pictures):
            captions = fill_word(self.config, picture)
            check_read(self.sd, captions, self.config.placeholder_token, self.config.num_vectors)

    def prepare(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Encode the pictures, and tokenize every caption of each."""
        super().prepare(pictures, config)
        self.encode(pictures, config)
        self.input_ids = [  # N x (templates, ...)
            self.sd.tokenize(fill_word(self.config, picture)).to(self.sd.device)
            for picture in descriptions(pictures)
        ]

    def loss(self, batch: Batch, **text_encoders: torch.nn.Module) -> torch.Tensor:
        """Denoise the pictures under sentences that hold the word, not too far from where it began.

        Source: Gal et al. 2022, arXiv:2208.01618, eq. 2; section 5 for the pull.
        """
        latents = self.moments.latents(batch.indices, batch.generators)
        chosen = [
            self.input_ids[i][torch.randint(len(self.config.templates), (), generator=g)]
            for i, g in zip(batch.indices, batch.generators, strict=True)
        ]
        conditioning = self.sd.encode(torch.stack(chosen), **text_encoders)
        unet, indices = self.sd.unet, batch.indices
        loss = self.denoise(unet, indices, batch.generators, conditioning, latents).mean()
        return loss + self._pull() if self.config.embedding_reg_weight else loss

    def _pull(self) -> torch.Tensor:
        """The weighted mean over the rows of their squared distance from where they began."""
        pairs = zip(self.new_rows, self.start, strict=True)
        moved = [new.rows - start.to(new.rows.device) for new, start in pairs]
        distances = [rows.square().sum(dim=1) for rows in moved]
        return self.config.embedding_reg_weight * torch.cat(distances).mean()

    def save(self, path: str | Path) -> Path:
        """Write the rows as diffusers' one-key file, SDXL's as two keys, and return its path.

        `path` is a `.safetensors` file, or a folder in which the file is named by the word without
        its brackets, and takes the place of what an earlier run saved there.
        """
        path = Path(path).expanduser()
        if path.suffix == ".safetensors":
            return self._write(path)
        with replace_folder(path, beside_words=True) as written:
            file = self._write(written / word_file_name(self.config.placeholder_token))
            write_card(written, {**self.record(), "made": self.made})
        return path / file.name

    def _write(self, file: Path) -> Path:
        rows, facts = [new.rows for new in self.new_rows], self.record()
        spec = model_spec(self.sd, file.stem, {**facts, "made": self.made}, self.name)
        return write_learned_embeds(file, self.config.placeholder_token, rows, facts, spec)
