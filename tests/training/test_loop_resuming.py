"""Checkpoints: a run that stopped, was killed or is finished goes on as if it never had."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runs import dreambooth, same, weights

from sdlearn.finetune import FitConfig, TextualInversion, fit, run
from sdlearn.training.checkpoint import check_same_run, checkpoints
from sdlearn.training.settings import run_settings

ALL_STATE = {"lr_scheduler": "cosine", "lr_warmup_steps": 2, "use_ema": True, "ema_decay": 0.5}
ALL_STATE |= {"random_flip": True, "snr_gamma": 5.0, "learning_rate": 1e-3, "train_batch_size": 2}


def files(folder):
    return {p: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


@pytest.mark.parametrize("make", [TextualInversion, dreambooth])
def test_straight_steps_equal_stopped_and_resumed_ones_bit_for_bit(
    make, loaded_tiny, pictures, tmp_path
):
    straight = make(loaded_tiny)
    config = FitConfig(max_train_steps=5, **ALL_STATE)
    losses = run(fit(straight, pictures, config))

    config = replace(config, output_dir=tmp_path, checkpointing_steps=3)
    stopped = fit(make(loaded_tiny), pictures, config)
    for step in stopped:
        if step.step == 4:  # one step is lost
            break
    stopped.close()
    torch.manual_seed(99)  # what the caller does with torch's generator does not matter
    resumed = make(loaded_tiny)
    rest = run(fit(resumed, pictures, replace(config, resume=True)))

    assert rest == losses[3:]
    assert same(weights(resumed), weights(straight))
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").open()] == [1, 2, 3, 4, 5]


def test_resuming_a_finished_run_changes_nothing(loaded_tiny, pictures, tmp_path):
    config = FitConfig(max_train_steps=2, output_dir=tmp_path, **ALL_STATE)
    first = dreambooth(loaded_tiny)
    run(fit(first, pictures, config))
    before = files(tmp_path)
    again = dreambooth(loaded_tiny)
    assert run(fit(again, pictures, replace(config, resume=True))) == []
    assert same(weights(again), weights(first))
    assert files(tmp_path) == before


@pytest.mark.parametrize("lr_scheduler", ["cosine", "linear", "polynomial"])
def test_a_run_goes_on_for_longer_only_where_its_learning_rates_stay_the_same(
    lr_scheduler, loaded_tiny, pictures, tmp_path
):
    """Once a longer cosine went on at other rates than a straight run had."""
    config = FitConfig(max_train_steps=2, lr_scheduler=lr_scheduler, output_dir=tmp_path)
    run(fit(TextualInversion(loaded_tiny), pictures, config))
    config = replace(config, max_train_steps=3, resume=True)
    with pytest.raises(ValueError, match=f"run of 2 steps, over which its {lr_scheduler} schedule"):
        fit(TextualInversion(loaded_tiny), pictures, config)
    flat = replace(config, lr_scheduler="constant", output_dir=tmp_path / "flat")
    run(fit(TextualInversion(loaded_tiny), pictures, replace(flat, max_train_steps=2)))
    assert len(run(fit(TextualInversion(loaded_tiny), pictures, flat))) == 1


def test_what_does_not_alter_a_step_may_change_and_so_may_what_an_earlier_version_left_out(
    loaded_tiny, pictures, tmp_path
):
    saved = {"seed": 0, "validation_steps": 5, "sample_batch_size": 4}
    check_same_run({"seed": 0, "max_train_steps": 9}, saved, tmp_path)
    settings = run_settings(dreambooth(loaded_tiny), pictures, FitConfig(validation_steps=7))
    assert not {"validation_steps", "sample_batch_size", "max_train_steps"} & settings.keys()


def test_a_broken_checkpoint_is_named(loaded_tiny, pictures, tmp_path):
    config = FitConfig(max_train_steps=1, output_dir=tmp_path)
    run(fit(TextualInversion(loaded_tiny), pictures, config))
    (tmp_path / "checkpoint-000001" / "state.safetensors").write_bytes(b"broken" * 9)
    with pytest.raises(ValueError, match="checkpoint-000001 cannot be read"):
        fit(TextualInversion(loaded_tiny), pictures, replace(config, resume=True))


def test_dropout_follows_from_the_step_and_is_off_between_steps(tiny, pictures, tmp_path):
    for module in tiny.unet.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    config = FitConfig(max_train_steps=3, output_dir=tmp_path, checkpointing_steps=1)
    straight = dreambooth(tiny)
    losses = []
    for step in fit(straight, pictures, config):
        assert not straight.sd.unet.training
        losses.append(float(step.loss))
        torch.manual_seed(0)
    shutil.rmtree(tmp_path / "checkpoint-000003")
    torch.manual_seed(1)
    assert run(fit(dreambooth(tiny), pictures, replace(config, resume=True))) == losses[2:]


def test_old_checkpoints_go_and_the_last_step_is_always_kept(loaded_tiny, pictures, tmp_path):
    (tmp_path / ".unfinished-checkpoint-000001").mkdir()  # what a kill leaves
    config = FitConfig(max_train_steps=5, checkpointing_steps=2, output_dir=tmp_path)
    run(fit(TextualInversion(loaded_tiny), pictures, config))
    assert [path.name for path in checkpoints(tmp_path)] == [
        "checkpoint-000004",
        "checkpoint-000005",
    ]
    assert not list(tmp_path.glob(".unfinished*"))
    size = sum(p.stat().st_size for p in checkpoints(tmp_path)[0].iterdir())
    assert size < 100_000


def test_a_folder_of_another_run_is_never_touched(loaded_tiny, pictures, tmp_path):
    config = FitConfig(max_train_steps=2, output_dir=tmp_path)
    run(fit(TextualInversion(loaded_tiny), pictures, config))
    before = files(tmp_path)
    with pytest.raises(ValueError, match="set resume"):
        fit(TextualInversion(loaded_tiny), pictures, config)
    config = replace(config, resume=True)
    with pytest.raises(ValueError, match="seed was 0, is 1"):
        fit(TextualInversion(loaded_tiny), pictures, replace(config, seed=1))
    with pytest.raises(ValueError, match="pictures was 4"):
        fit(TextualInversion(loaded_tiny), pictures[:3], config)
    with pytest.raises(ValueError, match="past max_train_steps 1"):
        fit(TextualInversion(loaded_tiny), pictures, replace(config, max_train_steps=1))
    assert files(tmp_path) == before


KILLED = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from sdlearn.data.folder import Picture
from sdlearn.finetune import FitConfig, TextualInversion, fit
from sdlearn.models import load
grey = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
picture = Picture(image=Image.fromarray(grey))
config = FitConfig(
    max_train_steps=int(sys.argv[3]), train_batch_size=1, checkpointing_steps=1, resume=True,
    output_dir=Path(sys.argv[2]), checkpoints_total_limit=2,
)
for step in fit(TextualInversion(load(sys.argv[1], device="cpu")), [picture], config):
    print(step.step, flush=True)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_checkpoint(tiny_folder, tmp_path):
    def start(folder, steps):
        command = [sys.executable, "-c", KILLED, str(tiny_folder), str(folder), str(steps)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    killed = start(tmp_path / "killed", 400)
    for line in killed.stdout:
        if int(line) >= 10:
            killed.send_signal(signal.SIGKILL)
            break
    last = int((killed.stdout.read().split() or [line])[-1])
    killed.wait()
    kept = int(checkpoints(tmp_path / "killed")[-1].name.rpartition("-")[2])
    assert kept >= last
    total = kept + 3
    went_on = start(tmp_path / "killed", total).communicate()[0].split()
    assert [int(step) for step in went_on] == [kept + 1, kept + 2, kept + 3]
    start(tmp_path / "straight", total).communicate()
    name = Path(f"checkpoint-{total:06d}/state.safetensors")
    assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
