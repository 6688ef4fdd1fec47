"""What a method is to the loop, and the one forward pass that methods share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from sdlearn import __version__
from sdlearn.diffusion import diffusion_loss
from sdlearn.models.conditioning import Conditioning
from sdlearn.training.state import choose_learning_rate

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.diffusion import NoiseSchedule
    from sdlearn.models import StableDiffusion
    from sdlearn.training.config import FitConfig


class Method(Protocol):
    """What trains, how a batch becomes a loss, and what file comes out. Nothing else.

    A method may also have `make_batches(pictures, config, place)`, for batches of its own kind and
    for streams, and `caption(picture)`, what validation measures a picture's loss under: what the
    method would train it with. Without it that is the picture's own.
    """

    name: str  # on the command line, such as "textual-inversion"
    default_learning_rate: float  # for Stable Diffusion 1.5; the registry may know a better one
    config: Any  # the method's own dataclass
    made: dict[str, Any]  # how it was trained last, for its card: the loop writes it
    sd: StableDiffusion  # what trains is a copy in here; the rest is shared with what was given

    def trained(self) -> dict[str, torch.nn.Module]:
        """Modules that run in the loss and hold what trains, by the names `loss` takes them."""
        ...

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """What trains, as groups for the optimizer; all float32."""
        ...

    def check(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Raise ValueError for what cannot work, before anything is computed."""
        ...

    def prepare(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        """Compute what stays the same all through training, on the device of `sd`."""
        ...

    @property
    def loss(self) -> Callable[..., torch.Tensor]:
        """`loss(batch, **models)`: a scalar; `models` are those of `trained`, made ready."""
        ...

    def save(self, path: str | Path) -> Path:
        """Write what was learned, and return where."""
        ...


def denoising_losses(
    unet: torch.nn.Module,
    latents: torch.Tensor,
    conditioning: Conditioning | torch.Tensor,
    generators: Sequence[torch.Generator],
    *,
    schedule: NoiseSchedule,
    snr_gamma: float | None,
    noise_offset: float = 0.0,
) -> torch.Tensor:
    """Noise latents (B, C, h, w), predict, and compare: the weighted loss of each sample, (B,).

    Timestep and noise of each sample come from its own generator. `conditioning` has B rows, or is
    the states (B, L, D) alone where the model takes no more. `noise_offset` is the size of a number
    that each channel's noise is shifted by.

    Source: Rombach et al. 2021, arXiv:2112.10752, eq. 3; Guttenberg 2023, "Diffusion with offset
    noise", crosslabs.org, for the offset.
    """
    timesteps = torch.stack(
        [torch.randint(schedule.num_train_timesteps, (), generator=g) for g in generators]
    ).to(latents.device, non_blocking=True)
    noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators])
    if noise_offset:
        shifts = [torch.randn((latents.shape[1], 1, 1), generator=g) for g in generators]
        noise = noise + noise_offset * torch.stack(shifts)  # (B, C, h, w)
    noise = noise.to(latents.device, non_blocking=True)
    weights = schedule.loss_weights(timesteps, snr_gamma)
    return losses_at(
        unet, latents, conditioning, noise, timesteps, schedule=schedule, weights=weights
    )


def losses_at(
    unet: torch.nn.Module,
    latents: torch.Tensor,
    conditioning: Conditioning | torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    *,
    schedule: NoiseSchedule,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return each sample's loss, (B,), at given noise (B, C, h, w) and timesteps (B,)."""
    noisy_latents = schedule.add_noise(latents, noise, timesteps)
    dtype = next(unet.parameters()).dtype
    if isinstance(conditioning, torch.Tensor):
        conditioning = Conditioning(conditioning)
    inputs = conditioning.to(dtype=dtype).unet_inputs()
    model_pred = unet(noisy_latents.to(dtype), timesteps, **inputs, return_dict=False)[0]
    return diffusion_loss(model_pred, schedule.target(latents, noise, timesteps), weights)


def training_size(sd: StableDiffusion, config: FitConfig) -> int:
    """Height and width in pixels to train at; raises ValueError where the model cannot."""
    size = config.resolution or sd.image_size
    sd.check_size(size)
    return size


def record(method: Method, fit_config: FitConfig | None = None) -> dict[str, Any]:
    """Return what a saved artefact says of itself: base model, method and configurations.

    Paths are left out, as artefacts are passed on and where files lie is private: of a model in a
    folder the name stays. The learning rate is that which was trained with.
    """
    facts = method.sd.facts()
    if Path(facts["base_model"]).expanduser().exists():
        facts["base_model"] = Path(facts["base_model"]).name
    settings = {} if fit_config is None else {"fit": _plain(_used(method, fit_config))}
    return {
        "format": 1,
        "sdlearn": __version__,
        "method": method.name,
        **facts,
        "config": _plain(asdict(method.config)),
        **settings,
    }


def _used(method: Method, config: FitConfig) -> dict[str, Any]:
    """How a method was trained; Imagic's own settings have the learning rates of its stages."""
    settings = asdict(config)
    if hasattr(method, "default_learning_rate"):
        settings["learning_rate"] = choose_learning_rate(method, config)
    return settings


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not isinstance(value, Path)}
