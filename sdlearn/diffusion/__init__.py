"""The mathematics: noise schedule, forward process, targets, loss weights, guidance and samplers.

The names are imported on first use, as the exact denoiser needs diffusers and the others do not.
The samplers are in `sdlearn.diffusion.samplers`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdlearn.diffusion.gaussian_mixture import ExactDenoiser, GaussianMixture
    from sdlearn.diffusion.guidance import classifier_free_guidance
    from sdlearn.diffusion.loss import diffusion_loss, min_snr_weights
    from sdlearn.diffusion.schedule import NoiseSchedule

_FILE_OF = {
    "ExactDenoiser": "gaussian_mixture",
    "GaussianMixture": "gaussian_mixture",
    "NoiseSchedule": "schedule",
    "classifier_free_guidance": "guidance",
    "diffusion_loss": "loss",
    "min_snr_weights": "loss",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its file on first use."""
    if name not in _FILE_OF:
        raise AttributeError(f"module 'sdlearn.diffusion' has no attribute '{name}'")
    return getattr(import_module(f"sdlearn.diffusion.{_FILE_OF[name]}"), name)
