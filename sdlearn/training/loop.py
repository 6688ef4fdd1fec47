"""The one training loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from tqdm.auto import tqdm

from sdlearn.data.streams import PictureStream
from sdlearn.training.accelerator import float32_products, make_accelerator
from sdlearn.training.batches import Batch, Batches, Place, make_batches
from sdlearn.training.checkpoint import check_same_run, load_checkpoint, prepare_output
from sdlearn.training.config import FitConfig
from sdlearn.training.distributed import check_sharding
from sdlearn.training.log import check_log, read_losses
from sdlearn.training.making import making
from sdlearn.training.optimizer import check_optimizer
from sdlearn.training.previews import check_previews
from sdlearn.training.run_files import Keeper, Losses, LossWatch
from sdlearn.training.state import TrainingState, run_settings, start_state, with_snr_gamma
from sdlearn.training.validation import ValidationGrid, validation_captions

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.data.folder import Picture
    from sdlearn.training.method import Method

    Saved = tuple[dict[str, torch.Tensor], Mapping[str, Any]]  # a checkpoint's tensors and facts


@dataclass(frozen=True, kw_only=True)
class TrainStep:
    """One optimizer step, just done."""

    step: int  # optimizer steps so far, from 1
    max_train_steps: int  # of the whole run
    loss: torch.Tensor  # scalar on the device, mean over the step's pictures; float() waits for it
    learning_rate: float  # of this step, the first parameter group's
    seconds: float  # since the step began on the host; a GPU may still be working
    epoch: float  # times each picture was seen so far; of a stream, in whole times
    validation_loss: float | None = None  # on a fixed grid, at the steps where it is due


def fit(
    method: Method,
    pictures: Sequence[Picture] | PictureStream,
    config: FitConfig | None = None,
    *,
    validation_pictures: Sequence[Picture] = (),
) -> Iterator[TrainStep]:
    """Train a method on pictures, and yield a `TrainStep` after each optimizer step.

    `pictures` is a list, a `LazyFolder` or, for methods that take one, a stream. The loss on
    `validation_pictures`, which should be others, is measured every `validation_steps`.

    What trains are copies inside the method, never the model it was given. Between two steps the
    caller may draw with `method.sd.pipeline()`, look at `method`, or stop. Calling `fit` again goes
    on from the present weights. With `use_ema` the averaged weights are put in place at the end.

    A resumed run equals a straight one bit for bit on the same machine; resuming a finished run
    yields nothing. Raises ValueError for what cannot work before anything is computed, and
    FloatingPointError for a loss or weights that are not finite.
    """
    config = with_snr_gamma(method, config or FitConfig())
    if not pictures:
        raise ValueError("there are no pictures to train on: give at least one")
    if isinstance(pictures, PictureStream) and not hasattr(method, "make_batches"):
        raise ValueError(f"{method.name} takes no stream: give it a list of pictures")
    given: Any = pictures
    method.check(given, config)
    validation_captions(method, validation_pictures)
    check_previews(method.sd, config)
    accelerator = make_accelerator(config)
    check_optimizer(config, accelerator.device)
    check_log(config)
    check_sharding(method, accelerator, config)
    settings = run_settings(method, given, config)
    saved = None if config.output_dir is None else _find_saved(config, settings)
    keeper = Keeper(config, settings, accelerator, method)
    return _train(method, given, keeper, saved, validation_pictures)


def run(steps: Iterator[TrainStep]) -> list[float]:
    """Drive `fit` with a progress bar (one, of several processes); return every step's loss."""
    losses: list[torch.Tensor] = []
    shown: dict[str, str] = {}
    with tqdm(desc="train", unit="step", disable=not PartialState().is_main_process) as bar:
        for step in steps:
            losses.append(step.loss)
            if bar.total is None:
                bar.total, bar.initial = step.max_train_steps, step.step - 1
                bar.n = step.step - 1
            bar.update()
            if step.step % 20 == 0 or step.step == step.max_train_steps:
                shown["loss"] = f"{sum(read_losses(losses[-20:])) / len(losses[-20:]):.4f}"
                bar.set_postfix(shown)
            if step.validation_loss is not None:
                shown["validation_loss"] = f"{step.validation_loss:.4f}"
                bar.set_postfix(shown)
    return read_losses(losses)


def _train(
    method: Method,
    pictures: Any,
    keeper: Keeper,
    saved: Saved | None,
    validation_pictures: Sequence[Picture],
) -> Iterator[TrainStep]:
    accelerator, config = keeper.accelerator, keeper.config
    method.sd.to(accelerator.device)
    state = start_state(method, accelerator, config)
    if saved is not None:
        state.restore(*saved)
    keeper.open_log(state.step)
    method.made = making(method, pictures, str(accelerator.device))
    method.made |= {"steps": state.step, **({} if saved is None else saved[1].get("made", {}))}
    try:
        if state.step < config.max_train_steps:
            with accelerator.main_process_first():  # what it draws, the others read
                method.prepare(pictures, config)
            place = Place(process=accelerator.process_index, processes=accelerator.num_processes)
            batches = make_batches(method, pictures, config, place)
            grid = ValidationGrid(method, validation_pictures, config)
            watch = LossWatch(
                batches.name, waits=accelerator.device.type != "cpu", output_dir=config.output_dir
            )
        while state.step < config.max_train_steps:
            step = _update(method, batches, config, state, watch)
            if validation_pictures and keeper.is_due(step.step, config.validation_steps):
                with state.averaged(), accelerator.autocast():
                    step = replace(step, validation_loss=grid.loss())
            method.made["steps"] = step.step
            method.made["seconds"] += step.seconds
            keeper.keep(step, state, watch)
            yield step
    finally:
        keeper.close()
        state.finish()


def _update(
    method: Method, batches: Batches, config: FitConfig, state: TrainingState, watch: LossWatch
) -> TrainStep:
    """Do one optimizer step."""
    started = time.perf_counter()
    accelerator = state.accelerator
    state.modes.switch(training=True)
    own_loss, indices = _backward(method, batches, config, state)
    loss = own_loss
    if accelerator.num_processes > 1:
        loss = accelerator.reduce(own_loss, reduction="mean")
    watch.check(state.step + 1, Losses(own_loss, loss), indices)
    learning_rate = state.lr_scheduler.get_last_lr()[0]
    _step_optimizer(state, config)
    state.modes.switch(training=False)
    samples = config.train_batch_size * config.gradient_accumulation_steps
    return TrainStep(
        step=state.step,
        max_train_steps=config.max_train_steps,
        loss=loss,
        learning_rate=learning_rate,
        seconds=time.perf_counter() - started,
        epoch=batches.epoch(state.step * samples * accelerator.num_processes),
    )


def _backward(
    method: Method, batches: Batches, config: FitConfig, state: TrainingState
) -> tuple[torch.Tensor, list[int]]:
    """Accumulate the step's gradients; return its loss and the indices of its pictures."""
    accelerator, parts = state.accelerator, config.gradient_accumulation_steps
    losses: list[torch.Tensor] = []
    indices: list[int] = []
    products = float32_products(config.allow_tf32, accelerator.device)
    with _seeded(config.seed, state.step, accelerator), products:
        for part in range(parts):
            batch = _batch(state, batches, config, part)
            with ExitStack() as stack:
                accelerator.sync_gradients = part + 1 == parts
                for model in state.models.values() if part + 1 < parts else ():
                    stack.enter_context(accelerator.no_sync(model))
                with accelerator.autocast():
                    loss = method.loss(batch, **state.models)
                accelerator.backward(loss / parts)
            losses.append(loss.detach())
            indices.extend(batch.indices)
    return torch.stack(losses).mean(), indices


@contextmanager
def _seeded(seed: int, step: int, accelerator: Accelerator) -> Iterator[None]:
    """Seed torch by the step, for models with dropout, and give the caller's state back."""
    device = accelerator.device
    with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
        own_step = step * accelerator.num_processes + accelerator.process_index
        torch.manual_seed(seed * 1_000_003 + own_step)
        yield


def _batch(state: TrainingState, batches: Batches, config: FitConfig, part: int) -> Batch:
    accelerator = state.accelerator
    number = state.step * config.gradient_accumulation_steps + part
    number = number * accelerator.num_processes + accelerator.process_index
    return batches.batch(number)


def _step_optimizer(state: TrainingState, config: FitConfig) -> None:
    """Clip (accelerate unscales first), update, and move schedule and average along."""
    if config.max_grad_norm:
        state.accelerator.clip_grad_norm_(state.parameters.values(), config.max_grad_norm)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    if not state.accelerator.optimizer_step_was_skipped:  # fp16 skips a step to find its scale
        state.lr_scheduler.step()
        if state.ema is not None:
            state.ema.step(state.parameters.values())
    state.step += 1


def _find_saved(config: FitConfig, settings: dict[str, Any]) -> Saved | None:
    """The newest checkpoint of the same run, or None where there is none."""
    if config.output_dir is None:
        return None
    path = prepare_output(config.output_dir, config.resume)
    if path is None:
        return None
    tensors, facts = load_checkpoint(path)
    check_same_run(settings, facts["settings"], path)
    if facts["step"] > config.max_train_steps:
        raise ValueError(
            f"{path} is past max_train_steps {config.max_train_steps}: set it to {facts['step']} "
            "or more"
        )
    return tensors, facts
