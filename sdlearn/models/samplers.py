"""A name -> the sampler that draws by it.

Imports nothing heavy: the command line reads the names for its help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

OURS = "sdlearn.diffusion.samplers"
FOR_OURS = {"timestep_spacing": "trailing", "clip_sample": False}  # latents have no fixed range

SamplerName = Literal[
    "dpm++",
    "unipc",
    "ddim",
    "ddpm",
    "quasi-taylor-1",
    "quasi-taylor-2",
    "quasi-taylor-3",
    "quasi-taylor-sde",
]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A scheduler's class, and what is set beside the model's own noise schedule."""

    scheduler: str  # name of the class
    library: str = "diffusers"  # the module that has it
    settings: Mapping[str, Any] = field(default_factory=dict)
    web_ui: str = ""  # what A1111 and others call it in a picture's settings; "": they have none


def _quasi_taylor(**settings: Any) -> Sampler:
    return Sampler(library=OURS, scheduler="QuasiTaylorScheduler", settings=FOR_OURS | settings)


# All start at the noisiest timestep, as the noise that is drawn from is pure; "leading", Stable
# Diffusion's own spacing, would start later, and leave noise in where steps are few. DDIM and DDPM
# are ours as diffusers' go astray with "trailing" for some numbers of steps (its issue 9261).
SAMPLERS: dict[str, Sampler] = {
    "dpm++": Sampler(
        scheduler="DPMSolverMultistepScheduler",
        settings={"timestep_spacing": "linspace"},
        web_ui="DPM++ 2M",
    ),
    "unipc": Sampler(
        scheduler="UniPCMultistepScheduler",
        settings={"timestep_spacing": "linspace"},
        web_ui="UniPC",
    ),
    "ddim": Sampler(
        library=OURS,
        scheduler="PlainDDIMScheduler",
        settings=FOR_OURS | {"set_alpha_to_one": True},
        web_ui="DDIM",
    ),
    "ddpm": Sampler(
        library=OURS,
        scheduler="PlainDDPMScheduler",
        settings=FOR_OURS | {"variance_type": "fixed_small"},
    ),
    "quasi-taylor-1": _quasi_taylor(taylor_order=1),
    "quasi-taylor-2": _quasi_taylor(taylor_order=2),
    "quasi-taylor-3": _quasi_taylor(taylor_order=3),
    "quasi-taylor-sde": _quasi_taylor(taylor_order=2, stochastic=True),
}


def check_steps(steps: int, noise_scheduler: Any, name: str = "dpm++") -> None:
    """Raise ValueError for more sampler steps than a sampler can take, which would draw black.

    That is a step for each training timestep; where they are spaced from first to last
    ("linspace"), one fewer, as two would fall on the same timestep.
    """
    most = noise_scheduler.config.num_train_timesteps
    most -= SAMPLERS[name].settings.get("timestep_spacing") == "linspace"
    if steps > most:
        raise ValueError(f"{steps} sampler steps are too many: {name} takes {most} at most here")


def make_sampler(name: str, noise_scheduler: Any) -> SchedulerMixin:
    """Make the sampler of a name for the noise that a model was trained with.

    `noise_scheduler` is any of diffusers' schedulers, such as `StableDiffusion.noise_scheduler`.
    Raises ValueError for a name that is none.
    """
    if name not in SAMPLERS:
        raise ValueError(f'there is no sampler "{name}": give one of {", ".join(SAMPLERS)}')
    sampler = SAMPLERS[name]
    kind = getattr(import_module(sampler.library), sampler.scheduler)
    return kind.from_config(noise_scheduler.config, **sampler.settings)


def noise_scheduler_class(name: Any, where: str) -> Any:
    """Return diffusers' scheduler of a name that a file gives; ValueError where it is none.

    Whatever else a file may name is not touched.
    """
    import diffusers

    is_name = isinstance(name, str) and name.isidentifier() and name.endswith("Scheduler")
    found = getattr(diffusers, name, None) if is_name else None
    if not (isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin)):
        raise ValueError(f"{where} names no scheduler of diffusers ({str(name)[:40]}): mend it")
    return found
