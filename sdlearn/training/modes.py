"""Training and evaluation mode, switched twice a step."""

from __future__ import annotations

from collections.abc import Iterable

import torch


class Modes:
    """Switches models between training and evaluation mode, all of their modules.

    `Module.train` asks every module for its children and sets the mode through `__setattr__`, which
    shows in the step of a small model with many modules. Here they are found once, as none come or
    go while a run goes on. Models with a `train` of their own (DDP, DeepSpeed) are left to it.
    """

    def __init__(self, models: Iterable[torch.nn.Module]) -> None:
        self.others: list[torch.nn.Module] = []
        self.modules: list[torch.nn.Module] = []
        for model in models:
            modules = list(model.modules())
            if all(type(module).train is torch.nn.Module.train for module in modules):
                self.modules += modules
            else:
                self.others.append(model)

    def switch(self, *, training: bool) -> None:
        """Put every module into training mode, or into evaluation mode."""
        for module in self.modules:
            module.__dict__["training"] = training
        for model in self.others:
            model.train(training)
