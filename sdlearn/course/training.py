"""Training in a notebook: the package's loop with something to look at, or a result that ships.

    config = FitConfig(max_train_steps=steps(200))
    learnt = learn(DreamBooth(sd), pictures, config, name="dreambooth")
    sd.with_artefact(learnt.path)

In a notebook one sees the loss as it goes, and a button stops and keeps what was learnt until then;
so does interrupting the kernel. In a terminal there is a progress bar, and Ctrl-C.

`train=False` trains nothing and gives the artefact of that name that the course ships, so that
nobody who presents a notebook has to wait.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.course.clicks import kernel
from sdlearn.course.results import shipped_artefact
from sdlearn.course.training_view import watch
from sdlearn.finetune import FitConfig, fit, run
from sdlearn.finetune.log import read_losses

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.data.folder import Picture
    from sdlearn.finetune import TrainStep
    from sdlearn.finetune.method import Method

QUICK = "SDLEARN_QUICK"  # set by tests that only want to see every cell run
QUICK_STEPS = 2
PREVIEW_INFERENCE_STEPS = 10  # enough to see who it is


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What a training cell leaves behind."""

    path: Path  # the artefact, for `StableDiffusion.with_artefact`
    losses: tuple[float, ...] = ()  # of every step that was done; none where it was loaded
    seconds: float = 0.0  # that training took, with what was shown meanwhile
    stopped: bool = False  # before all steps were done

    @property
    def steps(self) -> int:
        """How many optimizer steps are in the artefact; 0 where it was loaded."""
        return len(self.losses)


def steps(number: int) -> int:
    """`number` optimizer steps, or 2 where a test only wants to see that every cell runs."""
    return min(number, QUICK_STEPS) if os.environ.get(QUICK) else number


def learn(
    method: Method,
    pictures: Sequence[Picture],
    config: FitConfig | None = None,
    *,
    name: str,
    train: bool = True,
    preview: str = "",
) -> Learnt:
    """Train a method and write its artefact to `runs/NAME`, or take the one that ships.

    Stopping keeps what was learnt until then. With a prompt as `preview` a picture of it is shown
    after each quarter of the steps. Raises FileNotFoundError with `train=False` where the course
    ships no artefact of that name, KeyboardInterrupt where it comes before the first step is done,
    and what `fit` raises.
    """
    if not train:
        return Learnt(path=shipped_artefact(name))
    config = config or FitConfig()
    draw = partial(_draw, method, preview, config) if preview else None
    start = time.perf_counter()
    losses, stopped = _train(method, fit(method, pictures, config), draw)
    seconds = time.perf_counter() - start
    path = method.save(Path("runs") / name)
    return Learnt(path=path, losses=losses, seconds=seconds, stopped=stopped)


def _train(
    method: Method, training: Iterator[TrainStep], draw: Callable[[], Any] | None
) -> tuple[tuple[float, ...], bool]:
    """Drive training, and return every step's loss and whether it was stopped."""
    done: list[TrainStep] = []

    def noted() -> Iterator[TrainStep]:
        for step in training:
            done.append(step)
            yield step

    with closing(training):  # type: ignore[type-var]  # a generator: it has its end to set right
        try:
            if kernel() is None:
                run(noted())
            else:
                watch(noted(), draw)
        except KeyboardInterrupt:
            if not done:
                raise
            for module in method.trained().values():  # the interrupted step leaves nothing behind
                module.eval()
                module.zero_grad(set_to_none=True)
    losses = read_losses([step.loss for step in done])
    return tuple(losses), bool(done) and done[-1].step < done[-1].max_train_steps


def _draw(method: Method, prompt: str, config: FitConfig) -> Image.Image:
    """Draw a prompt with what is learnt so far; takes no random number from anything else."""
    device = method.sd.device
    precision = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(config.mixed_precision)
    pipeline: Any = method.sd.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
        return pipeline(
            prompt,
            num_inference_steps=PREVIEW_INFERENCE_STEPS,
            guidance_scale=config.preview_guidance_scale,
            generator=torch.Generator().manual_seed(config.seed),
        ).images[0]
