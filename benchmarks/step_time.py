"""Time a training step of each method against the bare step of the models that it runs.

    OMP_NUM_THREADS=1 python benchmarks/step_time.py [--methods NAME ...]

A bare step is forward, backward and optimizer on tensors that lie ready: the floor, 1.0. What comes
on top is the loop's: drawing the batch, noise and timesteps, cached latents and captions, clipping,
the schedule. Our steps and bare ones take turns, so that both meet the same machine; of each the
quickest counts, on a CPU in processor time of this process, so that what else runs matters little.

Two floors are shown: that of the U-Net alone, and that of all models that a step must run, which
where a text encoder trains is U-Net and text encoder.

On a CPU each method's row goes into results/step_time.json as it is done; `table.py` shows them.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from environment import environment, keep
from torch.nn import functional as F
from tqdm import tqdm

from sdlearn.data.characters import draw_character
from sdlearn.data.folder import Picture
from sdlearn.finetune import DreamBooth, FitConfig, FullFineTuning, LoRA, TextualInversion, fit
from sdlearn.finetune.imagic.stages import UNetStage
from sdlearn.models import StableDiffusion, load

PROMPT = "a smiling person"
METHODS: dict[str, Callable[[StableDiffusion, list[Picture]], Any]] = {
    "textual inversion": lambda sd, pictures: TextualInversion(sd),
    "dreambooth": lambda sd, pictures: DreamBooth(sd, with_prior_preservation=False),
    "dreambooth, prior": lambda sd, pictures: DreamBooth(sd, own_class_pictures=pictures),
    "dreambooth, prior, text encoder": lambda sd, pictures: DreamBooth(
        sd, own_class_pictures=pictures, train_text_encoder=True
    ),
    "full": lambda sd, pictures: FullFineTuning(sd),
    "lora": lambda sd, pictures: LoRA(sd),
    "imagic, stage B": lambda sd, pictures: UNetStage(sd, PROMPT, sd.condition([PROMPT])),
}


class Bare:
    """A step of copies of the same models at the same batch, on tensors that lie ready."""

    def __init__(self, method: Any, samples: int, *, text_encoder: bool) -> None:
        sd, trained = method.sd, dict(method.trained())
        copies = {name: copy.deepcopy(model).train() for name, model in trained.items()}
        self.unet = copies.get("unet", sd.unet)
        self.text_encoder = copies.get("text_encoder") if text_encoder else None
        self.input_ids = sd.tokenize([PROMPT] * samples).to(sd.device)
        self.states = sd.text_encoder(self.input_ids)[0].detach()
        if "unet" not in trained:
            self.states.requires_grad_(True)  # the gradient goes through the U-Net to the prompt
        size = sd.image_size // sd.vae_reduction
        shape = (samples, sd.vae.config.latent_channels, size, size)
        self.latents, self.noise = torch.randn(2, *shape, device=sd.device)
        self.timesteps = torch.randint(1000, (samples,), device=sd.device)
        models = [self.unet, self.text_encoder] if self.text_encoder else [self.unet]
        parameters = [p for model in models for p in model.parameters() if p.requires_grad]
        fused = sd.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(parameters or [self.states], lr=1e-6, fused=fused)

    def __call__(self) -> None:
        """Forward, backward, optimizer."""
        states = self.text_encoder(self.input_ids)[0] if self.text_encoder else self.states
        model_pred = self.unet(self.latents, self.timesteps, states, return_dict=False)[0]
        F.mse_loss(model_pred, self.noise).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def seconds(device: torch.device, step: Callable[[], Any]) -> float:
    """How long a step takes: processor time on a CPU, time on the clock on a GPU."""
    if device.type == "cpu":
        started = time.process_time()
        step()
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(sd: StableDiffusion, name: str, options: argparse.Namespace) -> list[float]:
    """Seconds of our step, of the bare U-Net's and of the bare one of all models, at the least."""
    pictures = draw_character("lorelei", 1, number=options.batch_size, size=128)
    method = METHODS[name](sd, pictures)
    batch_size = 1 if isinstance(method, UNetStage) else options.batch_size
    config = FitConfig(max_train_steps=10**6, train_batch_size=batch_size)
    steps = fit(method, pictures[:batch_size], config)
    next(steps)  # encodes the pictures, and makes the optimizer's moments
    samples = batch_size * (2 if getattr(method, "has_prior", False) else 1)
    bare = [Bare(method, samples, text_encoder=with_it) for with_it in (False, True)]
    times: list[list[float]] = [[], [], []]
    for turn in range(options.turns + 2):
        ours: list[Callable[[], Any]] = [lambda: next(steps), *bare]
        for which, step in enumerate(ours):
            taken = seconds(sd.device, step)
            if turn >= 2:  # the first ones warm up
                times[which].append(taken)
    steps.close()
    return [min(taken) for taken in times]


def rows(options: argparse.Namespace) -> Iterator[str]:
    """The table, line by line."""
    sd = load(options.model)
    yield "| method | step, ms | over the bare U-Net's | over the bare models' |"
    yield "| --- | --- | --- | --- |"
    for name in tqdm(options.methods, unit="method"):
        ours, unet, models = measure(sd, name, options)
        if sd.device.type == "cpu":
            times = {"ours": ours, "unet": unet, "models": models, "batch": options.batch_size}
            keep("step_time", name, {**times, "environment": environment(torch.get_num_threads())})
        yield f"| {name} | {1000 * ours:.0f} | {ours / unet:.2f} | {ours / models:.2f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    print("\n".join(rows(parser.parse_args())))


if __name__ == "__main__":
    main()
