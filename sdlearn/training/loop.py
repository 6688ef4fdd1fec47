"""The one training loop."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from accelerate import PartialState
from tqdm.auto import tqdm

from sdlearn.training.batches import ProcessRank
from sdlearn.training.config import FitConfig
from sdlearn.training.finite_check import FiniteCheck, Losses
from sdlearn.training.method import StagePlan, Trainable, TrainStep
from sdlearn.training.run_files import RunWriter, StopTraining, one_run, read_losses
from sdlearn.training.settings import Run, check_run
from sdlearn.training.state import start_state


def fit(
    method: Trainable,
    pictures: Any,
    config: FitConfig | None = None,
    *,
    validation_pictures: Sequence[Any] = (),
) -> Generator[TrainStep]:
    """Train a method on pictures, and yield a `TrainStep` after each optimizer step.

    What trains are copies inside the method, never the model it was given, unless that was loaded
    `in_place`. Between two steps the caller may draw with `method.sd.pipeline()`, look at `method`,
    or stop; thrown a `StopTraining`, it keeps a checkpoint first. Calling `fit` again goes on from
    the present weights. With `use_ema` the averaged weights are put in place at the end.

    A resumed run equals a straight one bit for bit on the same machine; resuming a finished run
    yields nothing. A method of several stages trains them in turn, and its steps count on.

    Args:
        method: what trains, such as `LoRA(sd)`.
        pictures: a list, a `LazyFolder` or, for methods that take one, a stream.
        config: how to train; None: as suits the method.
        validation_pictures: others, on which the loss is measured every `validation_steps`.

    Raises:
        ValueError: for what cannot work, before anything is computed.
        FloatingPointError: for a loss or weights that are not finite.
    """
    plans = method.stages(pictures, config or method.fit_defaults)
    first = next(plans)
    checked = check_run(first, pictures, validation_pictures)
    later = ((plan, check_run(plan, pictures, validation_pictures)) for plan in plans)
    return _train_stages(chain([(first, checked)], later))


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


def _train_stages(stages: Iterable[tuple[StagePlan, Run]]) -> Generator[TrainStep]:
    """Train stages in turn, each made when the one before is trained."""
    for plan, checked in stages:
        with closing(train(checked)) as steps:
            for step in steps:
                try:
                    yield plan.placed(step)
                except StopTraining as stop:
                    steps.throw(stop)


def train(run: Run) -> Generator[TrainStep]:
    """Train one stage: one optimizer step after the other, from its batch to what it yields."""
    stage, config, accelerator = run.stage, run.config, run.accelerator
    with one_run(run), start_state(run) as state, RunWriter(run, state) as writer:
        if state.is_done:
            return
        with accelerator.main_process_first():  # what it draws, the others read
            stage.prepare(run.pictures, config)
        batches = stage.make_batches(run.pictures, config, ProcessRank.of(accelerator))
        finite = FiniteCheck(
            batches.name, waits=accelerator.device.type != "cpu", output_dir=config.output_dir
        )
        validate = run.validation_pictures and stage.validation(run.validation_pictures, config)
        while not state.is_done:
            started, losses = time.perf_counter(), []
            indices: list[int] = []
            with state.training():
                for part in range(config.gradient_accumulation_steps):
                    batch = replace(batches.batch(state.batch_number(part)), step=state.step)
                    with state.accumulation(part):
                        with accelerator.autocast():
                            loss = stage.loss(batch, **state.models)
                        accelerator.backward(loss / config.gradient_accumulation_steps)
                    losses.append(loss.detach())
                    indices += batch.indices
            means = Losses.over_processes(torch.stack(losses).mean(), accelerator)
            finite.check(state.step + 1, means, indices)
            if config.max_grad_norm:  # accelerate unscales first
                accelerator.clip_grad_norm_(state.parameters.values(), config.max_grad_norm)
            learning_rate = state.lr_scheduler.get_last_lr()[0]
            state.optimizer.step()
            state.optimizer.zero_grad(set_to_none=True)
            if not accelerator.optimizer_step_was_skipped:  # fp16 skips a step to find its scale
                state.lr_scheduler.step()
                state.average()
            seconds = state.count(started)
            step = TrainStep(
                step=state.step,
                max_train_steps=config.max_train_steps,
                loss=means.mean,
                learning_rate=learning_rate,
                seconds=seconds,
                epoch=batches.epoch(state.samples),
                named_losses=stage.named_losses,
            )
            if validate and state.is_due(config.validation_steps):
                with state.averaged(), accelerator.autocast():
                    step = replace(step, validation_loss=validate())
            writer.log(step)
            if writer.is_checkpoint_due(state):
                finite.check_weights(state)
                writer.write_checkpoint(state)
            if writer.is_preview_due(state):
                writer.draw_previews(state)
            with writer.kept_if_stopped(state):
                yield step
