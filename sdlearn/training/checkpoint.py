"""Checkpoints as folders that appear complete or not at all.

    output_dir/
        checkpoint-000100/
            state.safetensors     what trains, the optimizer's moments, the moving average
            state.json            step, schedule, scaler, and the settings of the run
        log.jsonl

No random state is stored: every random number follows from the seed and the step
(see `sdlearn.training.batches`). Nothing is a pickle.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sdlearn.models.writing import prepare_folder

UNFINISHED = ".unfinished-"
MAY_CHANGE_ON_RESUME = {  # fields that do not alter what a step does
    "checkpointing_seconds",
    "checkpointing_steps",
    "checkpoints_total_limit",
    "gradient_checkpointing",
    "logging_steps",
    "max_seconds",
    "output_dir",
    "preview_guidance_scale",
    "preview_inference_steps",
    "preview_prompts",
    "preview_seconds",
    "preview_steps",
    "resume",
    "sample_batch_size",  # each class picture has its own seed
    "tensorboard",
    "validation_steps",
}


def save_checkpoint(
    output_dir: Path, step: int, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]
) -> Path:
    """Write a checkpoint under a temporary name, move it into place, and return it."""
    final = output_dir / f"checkpoint-{step:06d}"
    unfinished = output_dir / f"{UNFINISHED}{final.name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, unfinished / "state.safetensors")
    text = json.dumps({"step": step, **facts}, indent=1, ensure_ascii=False)
    (unfinished / "state.json").write_text(text + "\n", encoding="utf-8")
    if final.exists():  # the same step of the same run, written again after a resume
        shutil.rmtree(final)
    os.replace(unfinished, final)
    return final


def checkpoints(output_dir: Path) -> list[Path]:
    """List the complete checkpoints of a folder, oldest first."""
    if not output_dir.is_dir():
        return []
    found = [p for p in output_dir.iterdir() if re.fullmatch(r"checkpoint-\d{6,}", p.name)]
    return sorted(found, key=checkpoint_step)


def checkpoint_step(path: Path) -> int:
    """Return the step that a checkpoint is of, by its name."""
    return int(path.name.rpartition("-")[2])


def load_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a checkpoint's tensors (on the CPU) and facts; ValueError where it cannot be read."""
    try:
        facts = json.loads((path / "state.json").read_text(encoding="utf-8"))
        return load_file(path / "state.safetensors"), facts
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"{path} cannot be read: delete it to go on from the one before"
        ) from error


def prune(output_dir: Path, limit: int | None) -> None:
    """Delete all but the newest `limit` checkpoints, and what a kill left unfinished."""
    old = checkpoints(output_dir)[:-limit] if limit else []
    for path in [*old, *output_dir.glob(f"{UNFINISHED}*")]:
        shutil.rmtree(path, ignore_errors=True)


def prepare_output(output_dir: Path, resume: bool) -> Path | None:
    """Make the folder, and return the checkpoint to go on from, if any.

    Raises ValueError for a folder with checkpoints where resuming was not asked for, and OSError
    where the folder cannot be written to.
    """
    prepare_folder(output_dir)
    found = checkpoints(output_dir)
    if found and not resume:
        raise ValueError(
            f"{output_dir} holds {found[-1].name} of another run: set resume to go on from it, or "
            "choose another output_dir"
        )
    return found[-1] if found else None


def check_same_run(settings: Mapping[str, Any], saved: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError, naming the fields, unless a checkpoint belongs to a run like this one."""
    here = json.loads(json.dumps(settings))
    saved = {key: value for key, value in saved.items() if key not in MAY_CHANGE_ON_RESUME}
    if "max_train_steps" not in saved:  # nor noted by earlier versions
        here.pop("max_train_steps", None)
    changed = sorted(key for key in here.keys() | saved.keys() if here.get(key) != saved.get(key))
    if changed == ["max_train_steps"]:
        raise ValueError(
            f"{path} is of a run of {saved['max_train_steps']} steps, over which its "
            f"{saved['lr_scheduler']} schedule spreads the learning rates: set max_train_steps "
            "back, as only a constant schedule can go on for longer"
        )
    if changed:
        values = "; ".join(f"{key} was {saved.get(key)}, is {here.get(key)}" for key in changed)
        raise ValueError(f"{path} is of a run with other settings ({values}): set them back")
