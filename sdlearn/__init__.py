"""How Stable Diffusion works and how to make it your own: the training loops behind the course.

The public names are imported when they are first used, so `import sdlearn` itself loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sdlearn.data import Picture, read_pictures
    from sdlearn.finetune import (
        DreamBooth,
        FitConfig,
        FullFineTuning,
        Imagic,
        LoRA,
        TextualInversion,
        fit,
        run,
    )
    from sdlearn.models import StableDiffusion, load

_ROOM_OF = {
    "DreamBooth": "sdlearn.finetune",
    "FitConfig": "sdlearn.finetune",
    "FullFineTuning": "sdlearn.finetune",
    "Imagic": "sdlearn.finetune",
    "LoRA": "sdlearn.finetune",
    "Picture": "sdlearn.data",
    "StableDiffusion": "sdlearn.models",
    "TextualInversion": "sdlearn.finetune",
    "fit": "sdlearn.finetune",
    "load": "sdlearn.models",
    "read_pictures": "sdlearn.data",
    "run": "sdlearn.finetune",
}
__all__ = list(_ROOM_OF)


def __getattr__(name: str) -> Any:
    """Import a public name from its room on first use."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'sdlearn' has no attribute '{name}'")
    value = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
