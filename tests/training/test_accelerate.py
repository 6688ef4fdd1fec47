"""Several processes under `accelerate launch`: the same as one with a larger batch."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import accelerate_worker
import pytest
import sharded_worker
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch.testing import assert_close

from sdlearn.data import write_pictures
from sdlearn.finetune import fit, run
from sdlearn.models import load
from sdlearn.training.checkpoint import checkpoints

TESTS = Path(__file__).parents[1]
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
LAUNCH += ["--gradient_accumulation_steps", "3"]  # of no effect: the loop has its own


ONE = ["--cpu", "--num_processes", "1"]
TWO = ["--multi_gpu", "--num_processes", "2"]  # with `--cpu` one would start, whatever the number


def launch(*words, on_cpu=("ACCELERATE_USE_CPU", "true")):
    """Run a script on the CPU, and return what it printed."""
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", on_cpu[0]: on_cpu[1]}
    done = subprocess.run(
        [*LAUNCH, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def runs(tiny_folder, tmp_path_factory):
    """What one process with batches of 4 did, and two with 2 each: number -> (folder, facts)."""
    found = {}
    for processes, options in ((1, ONE), (2, TWO)):
        folder = tmp_path_factory.mktemp(f"processes-{processes}")
        worker = [TESTS / "support" / "accelerate_worker.py", tiny_folder, folder, 4 // processes]
        launch(*options, *worker)
        texts = [path.read_text() for path in sorted(folder.glob("process-*.json"))]
        found[processes] = folder, [json.loads(text) for text in texts]
        assert [facts["processes"] for facts in found[processes][1]] == [processes] * processes
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["straight", "word"])
def test_two_processes_train_what_one_with_twice_the_batch_trains(name, runs):
    """Not to the bit: the gradient is the mean of two halves' means, summed in another order."""
    one, two = (load_file(runs[processes][0] / f"{name}.safetensors") for processes in (1, 2))
    for key, weight in one.items():
        assert_close(two[key], weight, rtol=1e-4, atol=1e-5)
    losses = [runs[processes][1][0]["losses"] for processes in (1, 2)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.slow
def test_no_picture_is_seen_twice_in_an_epoch_whatever_process_sees_it(runs):
    (whole,), halves = runs[1][1], runs[2][1]
    together = [a + b for a, b in zip(*(facts["seen"] for facts in halves), strict=True)]
    assert together == whole["seen"]
    for epoch in range(len(together) // 2):
        shown = together[2 * epoch] + together[2 * epoch + 1]
        assert sorted(shown) == list(range(8))


@pytest.mark.slow
def test_processes_resume_bit_for_bit(runs):
    folder = runs[2][0]
    straight, resumed = (load_file(folder / f"{n}.safetensors") for n in ("straight", "resumed"))
    for key, weight in straight.items():
        assert_close(resumed[key], weight, rtol=0, atol=0)


@pytest.mark.slow
def test_class_pictures_checkpoints_and_logs_are_made_once(runs):
    folder, (first, second) = runs[2]
    assert first["counts"] == {
        "_draw": 2,
        "save_checkpoint": 2 + 1 + 1,
    }  # a folder each, drawn once
    assert second["counts"] == {}
    assert [path.name for path in checkpoints(folder / "straight")] == [
        "checkpoint-000002",
        "checkpoint-000004",
    ]
    for name in ("straight", "stopped"):
        lines = (folder / name / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


@pytest.mark.slow
def test_the_program_saves_once_from_two_processes(pictures, tiny_folder, tmp_path):
    write_pictures(tmp_path / "pictures", pictures)
    where = [tmp_path / "pictures", "--output", tmp_path / "learnt", "--model", tiny_folder]
    steps = ["--max-train-steps", "2", "--train-batch-size", "1"]
    shown = launch(*TWO, "-m", "sdlearn", "train", "textual-inversion", *where, *steps)
    saved = [line for line in shown.splitlines() if line.endswith(".safetensors")]
    assert saved == [str(tmp_path / "learnt" / "my-character.safetensors")]


def train_in_shards(config_file, folder, tiny_folder, settings):
    """Weights of a run in shards, of the same one resumed if it can be, and of one process."""
    options = ["--config_file", TESTS.parent / "configs" / config_file, "--num_processes", "2"]
    worker = [TESTS / "support" / "sharded_worker.py", tiny_folder, folder]
    launch(*options, *worker, on_cpu=("ACCELERATE_TORCH_DEVICE", "cpu"))
    alone = sharded_worker.method(load(tiny_folder, device="cpu"))
    config = replace(sharded_worker.CONFIG, train_batch_size=4, **settings)
    run(fit(alone, accelerate_worker.pictures(), config))
    assert len(list((folder / "straight" / "previews").iterdir())) == 2
    for process in range(2):
        said = (folder / f"refused-{process}").read_text()
        assert "only a U-Net is sharded, and dreambooth trains unet, text_encoder" in said
    saved = [UNet2DConditionModel.from_pretrained(p / "unet") for p in folder.glob("learnt-*")]
    return [unet.state_dict() for unet in saved], alone.sd.unet.state_dict()


@pytest.mark.slow
def test_fsdp_trains_what_one_process_trains_and_saves_whole_weights(tiny_folder, tmp_path):
    average = sharded_worker.AVERAGE
    (one, other), alone = train_in_shards("fsdp.yaml", tmp_path, tiny_folder, average)
    for name, weight in alone.items():
        assert_close(one[name], weight, rtol=1e-4, atol=1e-5)
        assert_close(other[name], one[name], rtol=0, atol=0)  # resumed


@pytest.mark.slow
def test_deepspeed_trains_what_one_process_trains(tiny_folder, tmp_path, monkeypatch):
    pytest.importorskip("deepspeed")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    (one,), alone = train_in_shards("deepspeed.yaml", tmp_path, tiny_folder, {})
    for name, weight in alone.items():
        assert_close(one[name], weight, rtol=1e-4, atol=1e-5)
    assert not checkpoints(tmp_path / "straight")
