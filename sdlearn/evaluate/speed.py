"""How long one picture takes, and how much of that is the U-Net alone."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from sdlearn.models import StableDiffusion

ROUNDS = 5  # pictures timed; the median counts


def time_picture(
    sd: StableDiffusion,
    prompt: str,
    *,
    steps: int = 20,
    guidance_scale: float = 5.0,
    threads: int = 2,
) -> dict[str, float]:
    """Seconds for one picture with the pipeline, and for its U-Net calls alone.

    Pictures and bare U-Net calls take turns, after one round that is not counted, so that both
    meet the same state of the machine. A bare round is as many calls as the picture has steps, on
    latents and captions of two (with and without the prompt), as guidance needs.

    Returns `seconds` and `unet_seconds`, medians of `ROUNDS`; `unet_share`, their ratio; and
    `load`, the machine's load average of the minute before (0 where there is none, as on Windows).
    """
    pipeline: Any = sd.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0

    def picture() -> None:
        pipeline(
            prompt,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=torch.Generator("cpu").manual_seed(0),
        )

    with _threads(threads), torch.no_grad():
        picture()
        bare = _bare_calls(sd, prompt, pipeline.scheduler.timesteps)
        rounds = [(_seconds(picture), _seconds(bare)) for _ in tqdm(range(ROUNDS), desc="timing")]
    seconds, unet_seconds = (statistics.median(column) for column in zip(*rounds, strict=True))
    share = unet_seconds / seconds
    return {"seconds": seconds, "unet_seconds": unet_seconds, "unet_share": share, "load": load}


def _bare_calls(sd: StableDiffusion, prompt: str, timesteps: torch.Tensor) -> Callable[[], None]:
    """The U-Net's calls for one picture with guidance, and nothing else."""
    encoder_hidden_states = sd.encode_prompt(["", prompt])  # (2, L, D)
    side = sd.unet.config.sample_size
    generator = torch.Generator("cpu").manual_seed(0)
    latents = torch.randn(2, sd.unet.config.in_channels, side, side, generator=generator)
    latents = latents.to(sd.device, sd.unet.dtype)

    def call() -> None:
        for timestep in timesteps:
            sd.unet(latents, timestep, encoder_hidden_states=encoder_hidden_states)

    call()
    return call


def _seconds(work: Callable[[], None]) -> float:
    _wait()
    start = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    """A GPU works on after a call returns."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Let torch use this many processor cores, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
