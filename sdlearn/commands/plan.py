"""`sdlearn plan`: what training will need, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from sdlearn.plan.config import MethodName, PlanConfig


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Say what training will take (memory, time, disk), and choose settings that fit.

    Nothing is loaded: the shapes of mini, sd15, sdxl or a model folder are enough. What cannot fit
    is refused, with what would make it fit.
    """

    method: Annotated[MethodName, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")]
    """full, textual-inversion, dreambooth, imagic or lora"""
    config: PlanConfig = field(default_factory=PlanConfig)

    def run(self) -> None:
        """Plan, print the plan, and raise ValueError for what does not fit."""
        self.config.check(self.method)
        from sdlearn.plan import describe, plan

        made = plan(self.method, self.config)
        print(describe(made))
        if made.refusal:
            raise ValueError(made.refusal)
