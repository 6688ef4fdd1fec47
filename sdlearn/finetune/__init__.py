"""Fine-tuning: the one training loop, and a file for each method.

A method trains copies of the parts that it changes: the model it is given keeps its weights, so
several methods can start from one `load`. One that was loaded `in_place`, as the command line does,
is given away instead: its own weights train. What is trained can be drawn with at any time, through
`method.sd.pipeline()`. The names are imported on first use, so that configurations need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.finetune.config import (
        DreamBoothConfig,
        FullConfig,
        ImagicConfig,
        LoRAConfig,
        TextualInversionConfig,
    )
    from sdlearn.finetune.custom_diffusion import CustomDiffusion
    from sdlearn.finetune.denoising import validation_loss
    from sdlearn.finetune.dreambooth import DreamBooth
    from sdlearn.finetune.full import FullFineTuning
    from sdlearn.finetune.imagic.edit import Imagic
    from sdlearn.finetune.imagic.eta import choose_eta
    from sdlearn.finetune.imagic.result import ImagicResult, load_imagic
    from sdlearn.finetune.lora import LoRA
    from sdlearn.finetune.textual_inversion import TextualInversion
    from sdlearn.training.config import FitConfig
    from sdlearn.training.loop import fit, run
    from sdlearn.training.method import Method, TrainStep

_MODULE_OF = {
    "CustomDiffusion": "sdlearn.finetune.custom_diffusion",
    "DreamBooth": "sdlearn.finetune.dreambooth",
    "DreamBoothConfig": "sdlearn.finetune.config",
    "FitConfig": "sdlearn.training.config",
    "FullConfig": "sdlearn.finetune.config",
    "FullFineTuning": "sdlearn.finetune.full",
    "Imagic": "sdlearn.finetune.imagic.edit",
    "ImagicConfig": "sdlearn.finetune.config",
    "ImagicResult": "sdlearn.finetune.imagic.result",
    "LoRA": "sdlearn.finetune.lora",
    "LoRAConfig": "sdlearn.finetune.config",
    "Method": "sdlearn.training.method",
    "TextualInversion": "sdlearn.finetune.textual_inversion",
    "TextualInversionConfig": "sdlearn.finetune.config",
    "TrainStep": "sdlearn.training.method",
    "choose_eta": "sdlearn.finetune.imagic.eta",
    "fit": "sdlearn.training.loop",
    "load_imagic": "sdlearn.finetune.imagic.result",
    "run": "sdlearn.training.loop",
    "validation_loss": "sdlearn.finetune.denoising",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its file on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sdlearn.finetune' has no attribute '{name}'")
    return getattr(import_module(_MODULE_OF[name]), name)
