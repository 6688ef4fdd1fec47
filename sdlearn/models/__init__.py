"""What Stable Diffusion is made of, and where its weights come from.

The names are imported on first use, so that the registry alone needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.models.artefact import unmerged, with_artefact, with_artefacts
    from sdlearn.models.conditioning import Conditioning, size_ids
    from sdlearn.models.loading import load
    from sdlearn.models.lora import merged
    from sdlearn.models.registry import SOURCES, ModelSource
    from sdlearn.models.single_file import save_single_file
    from sdlearn.models.stable_diffusion import StableDiffusion
    from sdlearn.models.stable_diffusion_xl import StableDiffusionXL
    from sdlearn.models.text_encoder import save_text_encoder

_FILE_OF = {
    "SOURCES": "registry",
    "Conditioning": "conditioning",
    "ModelSource": "registry",
    "StableDiffusion": "stable_diffusion",
    "StableDiffusionXL": "stable_diffusion_xl",
    "load": "loading",
    "merged": "lora",
    "save_single_file": "single_file",
    "save_text_encoder": "text_encoder",
    "size_ids": "conditioning",
    "unmerged": "artefact",
    "with_artefact": "artefact",
    "with_artefacts": "artefact",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its file on first use."""
    if name not in _FILE_OF:
        raise AttributeError(f"module 'sdlearn.models' has no attribute '{name}'")
    return getattr(import_module(f"sdlearn.models.{_FILE_OF[name]}"), name)
