"""Several processes under `accelerate launch`: the same as one with a larger batch."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import accelerate_worker
import fsdp_worker
import pytest
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch.testing import assert_close

from sdlearn.data import write_pictures
from sdlearn.finetune import fit, run
from sdlearn.finetune.checkpoint import checkpoints
from sdlearn.models import load

TESTS = Path(__file__).parent
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
        worker = [TESTS / "accelerate_worker.py", tiny_folder, folder, 4 // processes]
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


@pytest.mark.slow
def test_fsdp_trains_what_one_process_trains_and_saves_whole_weights(tiny_folder, tmp_path):
    """accelerate has FSDP for GPUs only; the worker makes it take the CPUs for such."""
    fsdp = ["--config_file", TESTS.parent / "configs/fsdp.yaml", "--num_processes", "2"]
    worker = [TESTS / "fsdp_worker.py", tiny_folder, tmp_path]
    launch(*fsdp, *worker, on_cpu=("ACCELERATE_TORCH_DEVICE", "cpu"))
    sd = load(tiny_folder, device="cpu")
    alone = fsdp_worker.method(sd)
    run(fit(alone, accelerate_worker.pictures(), replace(fsdp_worker.CONFIG, train_batch_size=4)))
    weights = alone.sd.unet.state_dict()
    straight, resumed = (
        UNet2DConditionModel.from_pretrained(tmp_path / name / "unet").state_dict()
        for name in ("learnt", "learnt-resumed")
    )
    for name, weight in weights.items():
        assert_close(straight[name], weight, rtol=1e-4, atol=1e-5)
        assert_close(resumed[name], straight[name], rtol=0, atol=0)
    assert len(list((tmp_path / "straight" / "previews").iterdir())) == 2
    for process in range(2):
        said = (tmp_path / f"refused-{process}").read_text()
        assert "FSDP shards the U-Net, and dreambooth trains unet, text_encoder" in said
