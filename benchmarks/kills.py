"""Kill `sdlearn pretrain` and `sdlearn train dreambooth` at random moments; compare the results.

    python benchmarks/kills.py --kills 20

Each program runs once undisturbed and once killed (SIGKILL) again and again, started anew with the
same command each time. Every weight of the two results must be equal to the bit. Toy sizes, so that
it takes minutes. Exit status 1 if anything differs.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

RECIPE = """--pictures 64 --image-size 32 --vae-steps 60 --decoder-steps 40 --clip-steps 40
--judges-steps 30 --unet-steps 60 --vae-batch 4 --clip-batch 8 --judges-batch 8 --unet-batch 4
--vae-channels 8 8 16 --unet-channels 32 32 32 --text-width 32 --text-layers 1 --merges 40
--workers 1 --device cpu --checkpoint-seconds 0.3"""
TRAINING = """--max-train-steps 600 --checkpointing-steps 10 --train-batch-size 2
--resume --num-class-images 4 --class-inference-steps 2"""


def sdlearn(*words: object, seconds: float | None = None) -> bool:
    """Runs `sdlearn`; kills it after some seconds, if given. Returns whether it came to its end."""
    command = [sys.executable, "-m", "sdlearn", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    if process.returncode:
        raise SystemExit(f"sdlearn {words[0]} failed by itself:\n{errors.decode()[-2000:]}")
    return True


def kill_often(kills: int, moments: tuple[float, float], rng: random.Random, *words: object) -> int:
    """Starts the program again and again, killing it; then lets it finish. Returns the kills."""
    done = 0
    while done < kills and not sdlearn(*words, seconds=rng.uniform(*moments)):
        done += 1
    sdlearn(*words)
    return done


def same_weights(one: Path, other: Path) -> tuple[int, list[str]]:
    """Number of weight files compared, and the names of those that differ."""
    names = sorted(path.relative_to(one) for path in one.rglob("*.safetensors"))
    different = []
    for name in names:
        a, b = load_file(one / name), load_file(other / name)
        if a.keys() != b.keys() or not all(torch.equal(a[key], b[key]) for key in a):
            different.append(str(name))
    return len(names), different


def check(name: str, kills: int, seed: int, straight: list, killed: list, *results: Path) -> bool:
    """Runs both, compares, and prints a line."""
    durations = []
    for _ in "ab":  # the second time everything is there already: that is how long starting takes
        started = time.monotonic()
        sdlearn(*straight)
        durations.append(time.monotonic() - started)
    whole, start = durations
    moments = (0.8 * start, start + 1.2 * (whole - start) / kills)
    done = kill_often(kills, moments, random.Random(seed), *killed)
    files, different = same_weights(*results)
    verdict = f"differ: {different}" if different else "equal to the bit"
    print(
        f"{name}: {done} kills, each {moments[0]:.0f} to {moments[1]:.0f} s after a start "
        f"(an undisturbed run takes {whole:.0f} s); {files} weight files {verdict}"
    )
    return not different and files > 0


def main() -> int:
    """Both programs; 0 if all weights are equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)

        def pretrain(name: str) -> list:
            where = ["--work", place / name / "work", "--output", place / name / "mini"]
            return ["pretrain", *where, *RECIPE.split()]

        def train(name: str) -> list:
            model = ["--model", place / "a" / "mini", "--output", place / name / "out"]
            kept = ["--output-dir", place / name / "run"]
            return ["train", "dreambooth", place / "pictures", *model, *kept, *TRAINING.split()]

        folders = [place / name / "mini" for name in "ab"]
        good = check(
            "pretrain", options.kills, options.seed, pretrain("a"), pretrain("b"), *folders
        )
        sdlearn("character", place / "pictures", "--number", 4, "--size", 64)
        folders = [place / name / "out" for name in "ab"]
        good &= check("train", options.kills, options.seed, train("a"), train("b"), *folders)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
