"""What Stable Diffusion is made of, and where its weights come from."""

from sdlearn.models.artefact import with_artefact
from sdlearn.models.loading import load
from sdlearn.models.registry import SOURCES, ModelSource
from sdlearn.models.stable_diffusion import StableDiffusion
from sdlearn.models.text_encoder import save_text_encoder

__all__ = [
    "SOURCES",
    "ModelSource",
    "StableDiffusion",
    "load",
    "save_text_encoder",
    "with_artefact",
]
