"""`sdlearn info`: what is installed, which device is used, which models there are."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import sdlearn

if TYPE_CHECKING:
    from sdlearn.models import ModelSource

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "peft",
    "tokenizers",
    "safetensors",
    "numpy",
    "pillow",
)


@dataclass(frozen=True, kw_only=True)
class Info:
    """Show versions, the device, and the models that can be named."""

    def run(self) -> None:
        """Print versions, device and models, a line each."""
        from sdlearn.models import SOURCES

        print(f"sdlearn {sdlearn.__version__}, Python {platform.python_version()}")
        print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
        print(f"device: {_device()}")
        print("models:")
        for source in SOURCES.values():
            print(f"  {source.name:<6}{source.about} ({source.license}); {_place(source)}")


def _device() -> str:
    """What models run on unless another device is asked for."""
    import torch

    if torch.cuda.is_available():
        gigabytes = torch.cuda.get_device_properties(0).total_memory / 2**30
        return f"cuda, {torch.cuda.get_device_name(0)}, {gigabytes:.0f} GiB"
    return f"cpu, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def _place(source: ModelSource) -> str:
    """Where a model is, or how it comes here."""
    from sdlearn.models.registry import shipped_folder

    if source.repo is not None:
        places = [f"{source.repo} at {(source.revision or 'main')[:8]}", *source.mirrors]
        return f"fetched from the hub as {', else '.join(places)}"
    try:
        return f"in {shipped_folder(source.name)}"
    except FileNotFoundError:
        return "missing here: install the wheel or fetch the whole repository"
