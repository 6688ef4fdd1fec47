"""Checkpoints that were cut, edited or could not be written, and runs that meet in one folder."""

import errno
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdlearn.finetune import FitConfig, TextualInversion, fit, run
from sdlearn.training import checkpoint
from sdlearn.training.checkpoint import checkpoints
from sdlearn.training.run_files import StopTraining

CONFIG = FitConfig(max_train_steps=4, train_batch_size=2, checkpointing_steps=2)
HOLD = """
import sys, time
from pathlib import Path
from sdlearn.models.writing import one_writer
with one_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def cut_weights(path):
    file = path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-8])


def change_weights(path):
    tensors = load_file(path / "state.safetensors")
    name = next(name for name in tensors if name.startswith("weights/"))
    save_file({**tensors, name: tensors[name] + 1}, path / "state.safetensors")


def drop_weights(path):
    save_file({"other": torch.zeros(1)}, path / "state.safetensors")


def change_facts(**changes):
    def change(path):
        facts = json.loads((path / "state.json").read_text()) | changes
        kept = {key: value for key, value in facts.items() if value is not ...}
        (path / "state.json").write_text(json.dumps(kept))

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        cut_weights,
        change_weights,
        drop_weights,
        change_facts(step=3),
        change_facts(step="four"),
        change_facts(settings=...),
        change_facts(param_groups=...),
        change_facts(optimizer=None),
        lambda path: (path / "state.json").write_text("[1]"),
        lambda path: (path / "state.json").write_bytes(b"\xff"),
        lambda path: (path / "state.safetensors").unlink(),
    ],
)
def test_a_spoilt_checkpoint_is_told_and_the_one_before_taken(
    spoil, loaded_tiny, pictures, tmp_path
):
    config = replace(CONFIG, output_dir=tmp_path)
    straight = TextualInversion(loaded_tiny)
    run(fit(straight, pictures, config))
    spoil(tmp_path / "checkpoint-000004")
    resumed = TextualInversion(loaded_tiny)
    with pytest.warns(
        UserWarning, match=r"000004 cannot be read .*: the run goes on from .*000002"
    ):
        losses = run(fit(resumed, pictures, replace(config, resume=True)))
    assert len(losses) == 2
    assert torch.equal(resumed.new_rows[0].rows, straight.new_rows[0].rows)
    assert [path.name for path in checkpoints(tmp_path)] == [
        "checkpoint-000002",
        "checkpoint-000004",
    ]
    assert not list(fit(TextualInversion(loaded_tiny), pictures, replace(config, resume=True)))


@pytest.mark.parametrize("spoil", [drop_weights, change_facts(param_groups=...)])
def test_an_older_checkpoint_without_a_checksum_is_told_as_well(
    spoil, loaded_tiny, pictures, tmp_path
):
    config = replace(CONFIG, output_dir=tmp_path)
    run(fit(TextualInversion(loaded_tiny), pictures, config))
    change_facts(checksum=...)(tmp_path / "checkpoint-000004")
    resumed = replace(config, resume=True)
    assert not list(fit(TextualInversion(loaded_tiny), pictures, resumed))
    spoil(tmp_path / "checkpoint-000004")
    with pytest.raises(ValueError, match="delete it to go on from the one before"):
        list(fit(TextualInversion(loaded_tiny), pictures, resumed))


def test_a_log_that_was_edited_loses_its_broken_lines(loaded_tiny, pictures, tmp_path):
    config = replace(CONFIG, output_dir=tmp_path)
    run(fit(TextualInversion(loaded_tiny), pictures, config))
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + "{broken\n[1]\n{}\n")
    longer = replace(config, max_train_steps=5, resume=True)
    run(fit(TextualInversion(loaded_tiny), pictures, longer))
    assert [json.loads(line)["step"] for line in log.open()] == [1, 2, 3, 4, 5]


def test_a_disk_that_is_full_for_a_checkpoint_does_not_end_the_run(
    loaded_tiny, pictures, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    config = replace(CONFIG, output_dir=tmp_path)
    with pytest.warns(UserWarning, match=r"no checkpoint of step 2: .*000002 .*No space left"):
        assert len(run(fit(TextualInversion(loaded_tiny), pictures, config))) == 4
    assert not checkpoints(tmp_path)
    assert not list(tmp_path.glob(".unfinished*"))


def test_two_runs_never_write_to_one_folder(loaded_tiny, pictures, tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    other.stdout.readline()
    config = replace(CONFIG, output_dir=tmp_path)
    try:
        with pytest.raises(ValueError, match=r"another run is writing to .* name another folder"):
            next(fit(TextualInversion(loaded_tiny), pictures, config))
    finally:
        other.kill()
        other.wait()
    assert not (tmp_path / "log.jsonl").exists()
    steps = fit(TextualInversion(loaded_tiny), pictures, config)
    next(steps)  # left standing, as by a cell that was interrupted
    assert run(fit(TextualInversion(loaded_tiny), pictures, config))


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_run_that_is_stopped_keeps_its_last_step_and_goes_on_bit_for_bit(
    has_folder, loaded_tiny, pictures, tmp_path
):
    config = replace(CONFIG, output_dir=tmp_path if has_folder else None)
    straight, first = TextualInversion(loaded_tiny), TextualInversion(loaded_tiny)
    run(fit(straight, pictures, CONFIG))
    steps = fit(first, pictures, config)
    for _ in range(3):
        next(steps)
    with pytest.raises(StopTraining):
        steps.throw(StopTraining(tmp_path))
    assert checkpoints(tmp_path)[-1].name == "checkpoint-000003"
    resumed = TextualInversion(loaded_tiny)
    config = replace(config, output_dir=tmp_path, resume=True)
    assert len(run(fit(resumed, pictures, config))) == 1
    assert torch.equal(resumed.new_rows[0].rows, straight.new_rows[0].rows)
