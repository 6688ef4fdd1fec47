"""Training in a notebook: the package's loop with something to look at, or a result that ships.

    config = FitConfig(max_train_steps=steps(200))
    learnt = learn(DreamBooth(sd), pictures, config, name="dreambooth")
    sd.with_artefact(learnt.path)

In a notebook one sees the loss as it goes, and a button stops and keeps what was learnt until then;
so does interrupting the kernel. In a terminal there is a progress bar, and Ctrl-C.

`train=False` trains nothing and gives the artefact of that name that the course ships, with the
losses of its training, so that nobody who presents a notebook has to wait.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.course.clicks import kernel
from sdlearn.course.results import shipped_artefact
from sdlearn.course.training_view import watch
from sdlearn.finetune import FitConfig, fit, run
from sdlearn.training.run_files import read_losses

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.data.folder import Picture
    from sdlearn.finetune import TrainStep
    from sdlearn.training.method import Method

QUICK = "SDLEARN_QUICK"  # set by tests that only want to see every cell run
QUICK_STEPS = 2
TRAINING_NAME = "training.json"  # beside a shipped artefact: what it was made from
PREVIEW_INFERENCE_STEPS = 10  # enough to see who it is


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What a training cell leaves behind."""

    path: Path  # the artefact's folder, for `StableDiffusion.with_artefact`
    losses: tuple[float, ...] = ()  # of every step that was done
    seconds: float = 0.0  # that training took, with what was shown meanwhile
    stopped: bool = False  # before all steps were done

    @property
    def steps(self) -> int:
        """How many optimizer steps are in the artefact."""
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
    folder: str | Path = "runs",
) -> Learnt:
    """Train a method and write its artefact to `folder/NAME`, or take the one that ships.

    Stopping keeps what was learnt until then. With a prompt as `preview` a picture of it is shown
    after each quarter of the steps. With `train=False` raises FileNotFoundError where the course
    ships no artefact of that name, and ValueError where it was made from other pictures or with
    other settings. Steps do not count, nor that it was trained through LoRA: a whole U-Net is too
    large to ship. Raises KeyboardInterrupt where it comes before the first step is done, and what
    `fit` raises.
    """
    if not train:
        return _load(name, made_from(method, pictures, config))
    training = fit(method, pictures, config)
    draw = partial(_draw, method, preview, config or FitConfig()) if preview else None
    start = time.perf_counter()
    losses, stopped = _train(method, training, draw)
    seconds = time.perf_counter() - start
    path = Path(folder) / name
    method.save(path)
    return Learnt(path=path, losses=losses, seconds=seconds, stopped=stopped)


def made_from(
    method: Method, pictures: Sequence[Picture], config: FitConfig | None
) -> dict[str, Any]:
    """What decides what a training cell learns, as it stands beside a shipped artefact."""
    facts = {
        "method": method.name.removesuffix("-lora"),
        "pictures": [picture.text for picture in pictures],
        "settings": asdict(method.config) | asdict(config or FitConfig()),
    }
    return json.loads(json.dumps(facts, default=str))  # a tuple is a list there


def _load(name: str, wanted: Mapping[str, Any]) -> Learnt:
    """Take the artefact that ships, if training would give what is wanted."""
    path = shipped_artefact(name)
    made = json.loads((path / TRAINING_NAME).read_text(encoding="utf-8"))
    had = made["settings"]
    other = [
        f"{key} {had.get(key)!r} and not {value!r}"
        for key, value in wanted["settings"].items()
        if not key.startswith("lora_") and not key.endswith("_steps") and value != had.get(key)
    ]
    if wanted["method"] != made["method"]:
        how = f"by {made['method']} and not {wanted['method']}"
    elif wanted["pictures"] != made["pictures"]:
        how = "from other pictures than these"
    else:
        how = f"with {', '.join(other)}" if other else ""
    if how:
        raise ValueError(f"{name} was made {how}: leave train at True")
    print(f"{name} is loaded: {len(made['losses'])} steps took {made['seconds']} seconds")
    return Learnt(path=path, losses=tuple(made["losses"]), seconds=made["seconds"])


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
            for module in method.modules():  # the interrupted step leaves nothing behind
                module.eval()
                module.zero_grad(set_to_none=True)
    losses = read_losses([step.loss for step in done])
    return tuple(losses), bool(done) and done[-1].step < done[-1].max_train_steps


def _draw(method: Method, prompt: str, config: FitConfig) -> Image.Image:
    """Draw a prompt with what is learnt so far; takes no random number from anything else."""
    device = method.sd.device
    precision = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(config.mixed_precision)
    with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
        [image] = method.sd.draw(
            prompt,
            seeds=config.seed,
            num_inference_steps=PREVIEW_INFERENCE_STEPS,
            guidance_scale=config.preview_guidance_scale,
            desc=None,
        )
    return image
