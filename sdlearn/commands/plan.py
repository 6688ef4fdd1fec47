"""`sdlearn plan`: what training will need, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated

import tyro

from sdlearn.plan.config import MethodName, PlanConfig

VALUES = ("None", "True", "False")
LEFT_OPEN = [own.name.replace("_", "-") for own in fields(PlanConfig) if own.type == "bool | None"]


def add_explicit_booleans(words: Sequence[str]) -> list[str]:
    """Return the words of a command, with `sdlearn train`'s flags as a plan has them: with a value.

    `--use-ema` becomes `--use-ema True` and `--no-use-ema` `--use-ema False`, as a plan leaves open
    what is not said.
    """
    if not words or words[0] != "plan":
        return list(words)
    explicit: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name = word.removeprefix("--").removeprefix("no-")
        if not word.startswith("--") or name not in LEFT_OPEN or following in VALUES:
            explicit.append(word)
        else:
            explicit += [f"--{name}", str(not word.startswith("--no-"))]
    return explicit


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
