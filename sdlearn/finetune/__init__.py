"""Fine-tuning: the one training loop, and a file for each method.

A method trains copies of the parts that it changes: the model it is given keeps its weights, so
several methods can start from one `load`. What it trains can be drawn with at any time, through
`method.sd.pipeline()`. The names are imported on first use, so that configurations need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.finetune.config import (
        DreamBoothConfig,
        FitConfig,
        ImagicConfig,
        LoRAConfig,
        TextualInversionConfig,
    )
    from sdlearn.finetune.dreambooth import DreamBooth
    from sdlearn.finetune.full import FullFineTuning
    from sdlearn.finetune.full_config import FullConfig
    from sdlearn.finetune.imagic import Imagic
    from sdlearn.finetune.imagic_eta import choose_eta
    from sdlearn.finetune.imagic_result import ImagicResult, load_imagic
    from sdlearn.finetune.loop import TrainStep, fit, run
    from sdlearn.finetune.lora import LoRA
    from sdlearn.finetune.method import Method
    from sdlearn.finetune.textual_inversion import TextualInversion
    from sdlearn.finetune.validation import validation_loss

__all__ = [
    "DreamBooth",
    "DreamBoothConfig",
    "FitConfig",
    "FullConfig",
    "FullFineTuning",
    "Imagic",
    "ImagicConfig",
    "ImagicResult",
    "LoRA",
    "LoRAConfig",
    "Method",
    "TextualInversion",
    "TextualInversionConfig",
    "TrainStep",
    "choose_eta",
    "fit",
    "load_imagic",
    "run",
    "validation_loss",
]

_FILE_OF = {
    "DreamBooth": "dreambooth",
    "DreamBoothConfig": "config",
    "FitConfig": "config",
    "FullConfig": "full_config",
    "FullFineTuning": "full",
    "Imagic": "imagic",
    "ImagicConfig": "config",
    "ImagicResult": "imagic_result",
    "LoRA": "lora",
    "LoRAConfig": "config",
    "Method": "method",
    "TextualInversion": "textual_inversion",
    "TextualInversionConfig": "config",
    "TrainStep": "loop",
    "choose_eta": "imagic_eta",
    "fit": "loop",
    "load_imagic": "imagic_result",
    "run": "loop",
    "validation_loss": "validation",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its file on first use."""
    if name not in _FILE_OF:
        raise AttributeError(f"module 'sdlearn.finetune' has no attribute '{name}'")
    return getattr(import_module(f"sdlearn.finetune.{_FILE_OF[name]}"), name)
