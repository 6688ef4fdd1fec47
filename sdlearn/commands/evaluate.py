"""`sdlearn evaluate`: what a model can do, in figures."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from sdlearn.evaluate.config import EvaluateConfig


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure mini on what it was never trained on, beside the bars it is to reach.

    Prints a table, and writes it to the model's card and to measurements.json beside it.
    """

    what: Annotated[Literal["mini"], tyro.conf.Positional]
    """what to measure"""
    model: str = "mini"  # name, or the folder of another model that `sdlearn pretrain` made
    config: EvaluateConfig = field(default_factory=EvaluateConfig)

    def run(self) -> None:
        """Check the settings, measure, print, and write where that is possible."""
        self.config.check()
        from sdlearn.evaluate.mini import evaluate_mini, model_folder, write_measurements

        measured = evaluate_mini(self.config, self.model)
        print(measured["table"])
        folder = model_folder(self.model)
        try:
            write_measurements(measured, folder)
        except OSError as error:
            print(
                f"sdlearn: the table was only printed, {folder} cannot be written to "
                f"({error.strerror})",
                file=sys.stderr,
            )
