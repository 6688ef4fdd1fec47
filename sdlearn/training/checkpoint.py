"""Checkpoints as folders that appear complete or not at all.

    output_dir/
        checkpoint-000100/
            state.safetensors     what trains, the optimizer's moments, the moving average
            state.json            step, schedule, scaler, settings, and a checksum of all
        log.jsonl

No random state is stored: every random number follows from the seed and the step
(see `sdlearn.training.batches`). Nothing is a pickle.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sdlearn.models.records import json_object
from sdlearn.models.writing import full_disk_named, open_to_others, prepare_file

LOG_NAME = "log.jsonl"
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
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = json.loads(json.dumps({"step": step, **facts}))
    text = json.dumps({**facts, "checksum": _checksum(plain, facts)}, indent=1, ensure_ascii=False)
    try:
        with full_disk_named(final):
            unfinished.mkdir(parents=True)
            save_file(plain, unfinished / "state.safetensors")
            (unfinished / "state.json").write_text(text + "\n", encoding="utf-8")
        if final.exists():  # the same step of the same run, written again after a resume
            shutil.rmtree(final)
        open_to_others(unfinished)
        os.replace(unfinished, final)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
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
    """Read a checkpoint's tensors (on the CPU) and facts.

    Raises ValueError where it cannot be read, or is not as it was written. Earlier versions
    wrote no checksum.
    """
    try:
        facts = json_object((path / "state.json").read_text(encoding="utf-8"), "state.json")
        tensors = load_file(path / "state.safetensors")
        checksum = facts.pop("checksum", None)
        if checksum not in (None, _checksum(tensors, facts)):
            raise ValueError("it was changed since it was written")
        if not isinstance(facts.get("settings"), dict) or not isinstance(facts.get("step"), int):
            raise ValueError("state.json does not say of which run and step it is")
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read ({error})") from error
    return tensors, facts


def prune(output_dir: Path, step: int, limit: int | None) -> None:
    """Delete all but the newest `limit` checkpoints up to a step, and what a kill left unfinished.

    Later ones were broken: else the run would have gone on from there.
    """
    found = checkpoints(output_dir)
    good = [path for path in found if checkpoint_step(path) <= step]
    kept = good[-limit:] if limit else good
    for path in [*(set(found) - set(kept)), *output_dir.glob(f"{UNFINISHED}*")]:
        shutil.rmtree(path, ignore_errors=True)


def prepare_output(output_dir: Path, resume: bool) -> list[Path]:
    """Make the folder, and return the checkpoints to go on from, the newest first.

    Raises ValueError for a folder with checkpoints where resuming was not asked for, and OSError
    where the folder cannot be written to.
    """
    prepare_file(output_dir / LOG_NAME)
    found = checkpoints(output_dir)
    if found and not resume:
        raise ValueError(
            f"{output_dir} holds {found[-1].name} of another run: set resume to go on from it, or "
            "choose another output_dir"
        )
    return found[::-1]


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


def _checksum(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> str:
    """Return what a checkpoint that was changed does not share."""
    digest = zlib.crc32(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), digest)
        digest = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, digest)
    return f"{digest:08x}"
