"""The benchmarks' arithmetic, and that their README says what their results say."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Import a benchmark's file by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "stand_ins"))
    before = set(sys.modules)
    yield import_module
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {path.stem for path in BENCHMARKS.rglob("*.py")} | {"torchvision"}:
            del sys.modules[name]


def test_the_readme_says_what_the_results_say():
    command = [sys.executable, str(BENCHMARKS / "table.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def side(seconds, caching, megabytes):
    return {"seconds": seconds, "caching_seconds": caching, "peak_bytes": megabytes * 1e6}


def test_the_most_memory_that_a_process_had_to_itself_is_seen_from_outside(module):
    against = module("against_scripts")
    busy = "import time\nwhile time.process_time() < {}: pass\n"
    program = "held = bytearray(b'1') * (200 << 20)\n" + busy.format(0.4)
    program += "del held\n" + busy.format(0.5) + "print('done')"
    printed, peak = against.in_process(["-c", program], 1)
    assert printed == "done\n"
    _, without = against.in_process(["-c", busy.format(0.1)], 1)
    assert peak - without == pytest.approx(200 << 20, rel=0.05)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        against.in_process(["-c", "1 / 0"], 1)


def test_ratios_are_medians_over_the_rounds_and_the_cache_pays_off_at_the_step_said(module):
    ours = [side(0.1, 1.0, 700), side(0.2, 1.0, 700), side(0.1, 1.0, 700)]
    theirs = [side(0.3, 0.0, 900), side(0.3, 0.0, 900), side(0.2, 0.0, 900)]
    both = [{"ours": o, "theirs": t} for o, t in zip(ours, theirs, strict=True)]
    found = module("comparison").figures({"rounds": both, "libraries_bytes": 500e6})
    assert found.speed == pytest.approx(2)
    assert found.slowest_round == pytest.approx(1.5)
    assert found.memory == pytest.approx(7 / 9)
    assert found.memory_beyond == pytest.approx(0.5)
    assert found.memory_rounds == (pytest.approx(7 / 9), pytest.approx(7 / 9))
    assert (found.ours_peak, found.theirs_peak, found.earlier) == (700e6, 900e6, None)
    step = found.break_even
    assert 1.0 + 0.1 * step <= 0.3 * step
    assert 1.0 + 0.1 * (step - 1) > 0.3 * (step - 1) - 1e-9
    slower = [{"ours": t, "theirs": o} for o, t in zip(ours, theirs, strict=True)]
    slower = module("comparison").figures({"rounds": slower, "libraries_bytes": 0})
    assert slower.break_even is None
    others = [side(0.1, 1.0, 810), side(0.1, 1.0, 990), side(0.1, 1.0, 900)]
    three = [{**sides, "earlier": other} for sides, other in zip(both, others, strict=True)]
    found = module("comparison").figures({"rounds": three, "libraries_bytes": 0})
    assert found.earlier == pytest.approx(1)


def test_only_steps_after_the_first_ones_count(module):
    against = module("against_scripts")
    stamps = [[float(10 * k), k * 0.5 if k >= 3 else 0.0] for k in range(8)]
    spans = against.windows("lora", 4, 4)
    assert against.seconds_a_step(stamps, spans, 0) == 10
    assert against.seconds_a_step(stamps, spans, 1) == 0.5
    with pytest.raises(RuntimeError, match="7 optimizer steps instead of 8"):
        against.seconds_a_step(stamps[:7], spans, 0)
    spans = against.windows("imagic", 4, 16)  # 10 steps of stage A, then 20 of stage B
    assert spans == [(1, 9), (13, 29)]


def test_both_sides_of_every_method_are_given_the_same_work(module):
    work = module("same_work")
    ground = work.Ground(folder=Path("ground"), work=work.Work())
    for method in work.SCRIPTS:
        ours = work.our_command(method, ground, Path("out"), 20)
        theirs = work.their_command(method, ground, Path("out"), 20, Path("diffusers"))
        for one, other in [("--max-train-steps", "--max_train_steps"), ("--rank", "--rank"),
                           ("--lora-rank", "--rank"), ("--resolution", "--resolution"),
                           ("--learning-rate", "--learning_rate"), ("--seed", "--seed"),
                           ("--train-batch-size", "--train_batch_size")]:  # fmt: skip
            if one in ours:
                assert ours[ours.index(one) + 1] == theirs[theirs.index(other) + 1]
        assert ("--train-text-encoder" in ours) == ("--train_text_encoder" in theirs)
        assert ("--use-ema" in ours) == ("--use_ema" in theirs)
        always = method.startswith("textual-inversion")
        flips = "--random_flip" in theirs or always
        assert ("--random-flip" in ours) == flips


def test_the_stand_in_for_torchvision_does_what_the_scripts_expect_of_it(module):
    transforms = module("torchvision").transforms
    picture = Image.new("RGB", (8, 4), (255, 0, 0))
    picture.paste((0, 0, 255), (4, 0, 8, 4))
    assert transforms.Resize(2)(picture).size == (4, 2)
    middle = transforms.CenterCrop(4)(picture)
    assert [middle.getpixel((x, 0)) for x in (0, 3)] == [(255, 0, 0), (0, 0, 255)]
    assert transforms.RandomHorizontalFlip(1)(picture).getpixel((0, 0)) == (0, 0, 255)
    assert transforms.RandomHorizontalFlip(0)(picture) is picture
    assert transforms.RandomCrop(4)(picture).size == (4, 4)
    whole = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    pixels = whole(picture)
    assert pixels.shape == (3, 4, 8)
    assert_close(pixels[:, 0, 0], torch.tensor([1.0, -1.0, -1.0]))
    assert transforms.InterpolationMode.LANCZOS.value == Image.Resampling.LANCZOS
