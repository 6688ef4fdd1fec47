"""Teaching a model a subject by a recipe, and what that costs."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch
from tqdm.auto import tqdm

from sdlearn.finetune import FitConfig, fit
from sdlearn.models.lora_files import DIFFUSERS_NAME

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.evaluate.compare.recipe import CompareConfig, Recipe, Subject
    from sdlearn.finetune import Method, TrainStep
    from sdlearn.models import StableDiffusion

SAMPLE_EVERY = 0.05  # seconds between looks at the process's memory


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a training run took."""

    parameters: int = 0  # trained
    artefact_bytes: int = 0  # on disk
    seconds: float = 0.0  # in all, preparation included
    peak_megabytes: float = 0.0  # of the process, libraries included, or of the GPU


def teach(
    sd: StableDiffusion,
    subject: Subject,
    recipe: Recipe,
    config: CompareConfig,
    class_pictures: Sequence[Picture] = (),
) -> tuple[StableDiffusion, Cost]:
    """Train a recipe on a subject; return the model that has learnt it, and what it took."""
    if recipe.method == "before":
        return sd, Cost()
    method = recipe.make(sd, subject.class_word, class_pictures)
    pictures = recipe.training_pictures(subject.pictures(recipe.pictures), subject.class_word)
    fit_config = FitConfig(
        max_train_steps=max(1, round(config.train_steps * recipe.times)),
        train_batch_size=config.train_batch_size,
        learning_rate=recipe.learning_rate,
    )
    cost = train(method, pictures, fit_config, desc=f"{recipe.name}, {subject.name}")
    return method.sd, cost


def train(method: Method, pictures: Sequence[Picture], config: FitConfig, *, desc: str) -> Cost:
    """Train a method with a progress bar, and measure what that takes."""
    cost = drive(fit(method, pictures, config), config.max_train_steps, method, desc=desc)
    weights = [p for module in method.modules() for p in module.parameters() if p.requires_grad]
    return replace(cost, parameters=sum(weight.numel() for weight in weights))


def drive(steps: Iterable[TrainStep], number: int, method: Method, *, desc: str) -> Cost:
    """Take all `number` steps of a training with a progress bar; the cost but for `parameters`."""
    with peak_memory() as peak:
        start = time.perf_counter()
        for step in tqdm(steps, desc, number, unit="step", leave=False):
            step.loss.item()  # waits for a GPU, so that its time counts
        seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        size = _bytes(method.save(Path(folder) / "artefact"))
    return Cost(artefact_bytes=size, seconds=seconds, peak_megabytes=peak[0] / 2**20)


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """The largest memory of the block, in bytes, in a list of one that is filled at its end."""
    peak = [0.0]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        yield peak
        peak[0] = torch.cuda.max_memory_allocated()
        return
    process, over = psutil.Process(os.getpid()), threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_EVERY):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
        peak[0] = max(peak[0], process.memory_info().rss)


def _bytes(path: Path) -> int:
    """The size of weights, without the words beside them.

    A LoRA is saved twice, for diffusers and for other programs; one of its files is counted.
    """
    files = [path] if path.is_file() else list(path.rglob("*.safetensors"))
    files = [file for file in files if file.name == DIFFUSERS_NAME] or files
    return sum(file.stat().st_size for file in files)
