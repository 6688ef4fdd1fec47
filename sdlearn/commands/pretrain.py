"""`sdlearn pretrain`: the recipe that makes mini."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdlearn.models.writing import prepare_folder
from sdlearn.pretrain.config import PretrainConfig


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Make mini: render pictures, then train VAE, CLIP, judges and U-Net in turn.

    Started again with the same options, it goes on where it was stopped.
    """

    config: PretrainConfig = field(default_factory=PretrainConfig)

    def run(self) -> None:
        """Check the settings and folders, then run the stages."""
        self.config.check()
        prepare_folder(self.config.work)
        prepare_folder(self.config.output.parent)
        from sdlearn.pretrain.recipe import pretrain

        print(pretrain(self.config))
