"""The mathematics: noise schedule, forward process, targets, loss weights and guidance."""

from sdlearn.diffusion.guidance import classifier_free_guidance
from sdlearn.diffusion.loss import diffusion_loss, min_snr_weights
from sdlearn.diffusion.schedule import NoiseSchedule

__all__ = ["NoiseSchedule", "classifier_free_guidance", "diffusion_loss", "min_snr_weights"]
