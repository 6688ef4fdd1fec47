"""Training with sdlearn against diffusers' own example scripts: steps per second and memory.

    python benchmarks/against_scripts.py --diffusers CHECKOUT [--methods NAME ...]

CHECKOUT is a copy of huggingface/diffusers, at the release that is installed or one near it; the
scripts run unchanged, each in a process of its own. Ours and theirs take turns, so that both meet
the same machine. A step counts from one optimizer step to the next, in the processor's seconds of
its process, and the first ones are left out: neither start-up nor what else the machine does goes
in. On a CPU that nothing else uses, these are seconds on the clock; on a GPU the clock counts. The
caching pass of ours is told beside it, with the step from which on ours has taken less time, caches
included.

Each method's rounds go into results/against_scripts.json as they are done, beside earlier ones with
the same settings, and `table.py` shows them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from comparison import figures
from environment import environment, keep, read
from same_work import (
    SCRIPTS,
    Ground,
    Work,
    imagic_steps,
    our_command,
    prepare_ground,
    their_command,
)

LIBRARIES = """
import accelerate, peft, torch, transformers
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from watched import peak_bytes
print(0 if torch.cuda.is_available() else peak_bytes())
"""  # what either side imports at least takes, which on a GPU is nothing
HERE = Path(__file__).parent
NAME = "against_scripts"  # of the results
SETTINGS = ("warm_up", "steps", "threads", "revision")


def in_process(command: list[str], threads: int) -> str:
    """Run Python on its own, and return what it printed. Raises RuntimeError where it failed."""
    variables = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    variables |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [sys.executable, *command], env={**os.environ, **variables}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


@cache
def libraries_bytes(threads: int) -> int:
    """Memory of a process that only imports what both sides import."""
    return int(in_process(["-c", LIBRARIES], threads))


def windows(method: str, warm_up: int, steps: int) -> list[tuple[int, int]]:
    """First and last of the optimizer steps between which time counts; Imagic has two stages."""
    if method != "imagic":
        return [(warm_up - 1, warm_up + steps - 1)]
    first, second = imagic_steps(warm_up + steps)
    return [(warm_up // 2 - 1, first - 1), (first + warm_up - 1, first + second - 1)]


def seconds_a_step(stamps: list[list[float]], spans: list[tuple[int, int]], clock: int) -> float:
    """Mean seconds of the steps in the spans; `clock` 0 is the one on the wall, 1 the processor's.

    Raises RuntimeError where the program took other steps than asked for.
    """
    if len(stamps) != spans[-1][1] + 1:
        raise RuntimeError(f"{len(stamps)} optimizer steps instead of {spans[-1][1] + 1}")
    taken = sum(stamps[last][clock] - stamps[first][clock] for first, last in spans)
    return taken / sum(last - first for first, last in spans)


def watch(method: str, side: str, ground: Ground, options: argparse.Namespace) -> dict[str, Any]:
    """Train once with one side, and return what that took."""
    steps = options.warm_up + options.steps
    with tempfile.TemporaryDirectory() as folder:
        report, output = Path(folder) / "report.json", Path(folder) / "out"
        if side == "ours":
            command = our_command(method, ground, output, steps)
        else:
            command = their_command(method, ground, output, steps, options.diffusers.resolve())
        in_process([str(HERE / "watched.py"), str(report), *command], options.threads)
        facts = json.loads(report.read_text())
    spans = windows(method, options.warm_up, options.steps)
    clocks = [seconds_a_step(facts["steps"], spans, clock) for clock in (0, 1)]
    return {
        "seconds": clocks[0 if facts["on_gpu"] else 1],
        "clock_seconds": clocks[0],
        "caching_seconds": facts["caching"],
        "peak_bytes": facts["peak_bytes"],
    }


def compare(method: str, ground: Ground, options: argparse.Namespace) -> dict[str, Any]:
    """Let both sides train in turns; rounds with the same settings add up over several calls."""
    settings = {name: getattr(options, name) for name in SETTINGS}
    settings["environment"] = environment(options.threads)
    settings["work"] = {name: str(value) for name, value in vars(ground.work).items()}
    earlier = read(NAME).get(method, {})
    if earlier.get("settings") != settings:
        facts = {"script": SCRIPTS[method], "settings": settings, "rounds": []}
        earlier = {**facts, "libraries_bytes": libraries_bytes(options.threads)}
    rounds = list(earlier["rounds"])
    for _ in range(options.rounds):
        sides = {side: watch(method, side, ground, options) for side in ("ours", "theirs")}
        rounds.append(sides)
    return {**earlier, "rounds": rounds}


def add_work(parser: argparse.ArgumentParser) -> None:
    """Options for the fields of `Work`."""
    parser.add_argument("--model", type=Path, help="a diffusers folder instead of mini")
    parser.add_argument("--resolution", type=int, default=Work.resolution)
    parser.add_argument("--batch", type=int, default=Work.batch)
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), default=Work.mixed_precision)


def main() -> None:
    """Compare every method asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--diffusers", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument(
        "--revision", default="unknown", help="what the checkout is, for the record"
    )
    parser.add_argument("--methods", nargs="+", default=list(SCRIPTS), choices=list(SCRIPTS))
    parser.add_argument("--warm-up", type=int, default=10, help="steps that do not count")
    parser.add_argument("--steps", type=int, default=30, help="steps that do")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each side, in turns")
    parser.add_argument("--threads", type=int, default=1)
    add_work(parser)
    options = parser.parse_args()
    work = Work(**{name: getattr(options, name) for name in vars(Work())})
    for method in options.methods:
        script = options.diffusers / "examples" / SCRIPTS[method]
        if not script.is_file():
            raise SystemExit(f"{script} is missing: give a checkout of huggingface/diffusers")
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        ground = prepare_ground(Path(folder), work)
        for method in options.methods:
            try:
                row = compare(method, ground, options)
            except RuntimeError as error:  # the other methods go on
                failed.append(f"{method}: {error}")
                continue
            keep(NAME, method, row)
            found = figures(row)
            print(
                f"{method}: {found.speed:.2f} times the steps per second, "
                f"{found.memory:.2f} times the memory",
                flush=True,
            )
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
