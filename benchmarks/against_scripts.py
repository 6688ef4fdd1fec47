"""Training with sdlearn against diffusers' own example scripts: steps per second and memory.

    python benchmarks/against_scripts.py --diffusers CHECKOUT [--methods NAME ...]

CHECKOUT is a copy of huggingface/diffusers, at the release that is installed or one near it; the
scripts run unchanged, each in a process of its own. Ours and theirs take turns, so that both meet
the same machine. A step counts from one optimizer step to the next, in the processor's seconds of
its process, and the first ones are left out: neither start-up nor what else the machine does goes
in. On a CPU that nothing else uses, these are seconds on the clock; on a GPU the clock counts. The
caching pass of ours is told beside it, with the step from which on ours has taken less time, caches
included. Memory is the most that a process had to itself (USS: its own pages, and those of files
that no other process has mapped), looked at from outside all the while; on a GPU, the most that was
allocated there.

Each method's rounds go into results/against_scripts.json as they are done, beside earlier ones with
the same settings, and `table.py` shows them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from comparison import figures
from environment import environment, keep, read
from same_work import (
    FULL_SIZE,
    SCRIPTS,
    SD15,
    Ground,
    Work,
    imagic_steps,
    our_command,
    prepare_ground,
    their_command,
)

LIBRARIES = """
import accelerate, peft, psutil, torch, transformers
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
print(0 if torch.cuda.is_available() else psutil.Process().memory_full_info().uss)
"""  # what either side imports at least takes, which on a GPU is nothing
HERE = Path(__file__).parent
NAME = "against_scripts"  # of the results
SETTINGS = ("warm_up", "steps", "threads", "revision")
OWN_SHARE = 0.1  # of the processor's time that looking at a process's memory may take


def in_process(command: list[str], threads: int, package: Path = HERE.parent) -> tuple[str, int]:
    """Run Python on its own, and return what it printed and the most private bytes that it had.

    `package` is the folder that holds `sdlearn`. Raises RuntimeError where the program failed.
    """
    variables = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    variables |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    variables |= {"PYTHONPATH": f"{HERE}{os.pathsep}{package}"}
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **variables},
            stdout=printed,
            stderr=errors,
        )
        peak = watch_memory(process)
        printed.seek(0), errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{errors.read()[-3000:]}")
        return printed.read(), peak


def watch_memory(process: subprocess.Popen) -> int:
    """Wait for a process, and return the most memory that it had to itself (USS), in bytes."""
    peak, due, watched = 0, 0.0, psutil.Process(process.pid)
    while process.poll() is None:
        time.sleep(0.01)
        with suppress(psutil.Error):  # it may have ended just now
            worked, started = sum(watched.cpu_times()[:2]), time.process_time()
            if worked >= due:
                peak = max(peak, watched.memory_full_info().uss)
                due = worked + max(0.01, (time.process_time() - started) / OWN_SHARE)
    return peak


@cache
def libraries_bytes(threads: int) -> int:
    """Private memory of a process that only imports what both sides import."""
    return int(in_process(["-c", LIBRARIES], threads)[0])


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
        if side != "theirs":
            command = our_command(method, ground, output, steps)
        else:
            command = their_command(method, ground, output, steps, options.diffusers.resolve())
        package = options.earlier.resolve() if side == "earlier" else HERE.parent
        command = [part.replace(str(HERE), str(package / HERE.name)) for part in command]
        command = [str(HERE / "watched.py"), str(report), *command]
        _, private = in_process(command, options.threads, package)
        facts = json.loads(report.read_text())
    spans = windows(method, options.warm_up, options.steps)
    clocks = [seconds_a_step(facts["steps"], spans, clock) for clock in (0, 1)]
    allocated = facts["allocated_bytes"]
    return {
        "seconds": clocks[1 if allocated is None else 0],
        "clock_seconds": clocks[0],
        "caching_seconds": facts["caching"],
        "peak_bytes": private if allocated is None else allocated,
    }


def compare(method: str, ground: Ground, options: argparse.Namespace) -> dict[str, Any]:
    """Let both sides train in turns; rounds with the same settings add up over several calls."""
    settings = {name: getattr(options, name) for name in SETTINGS}
    settings["environment"] = environment(options.threads)
    settings["work"] = {name: str(value) for name, value in vars(ground.work).items()}
    settings["memory"] = "private"
    earlier = read(NAME).get(method, {})
    if earlier.get("settings") != settings:
        facts = {"script": SCRIPTS[method], "settings": settings, "rounds": []}
        earlier = {**facts, "libraries_bytes": libraries_bytes(options.threads)}
    rounds = list(earlier["rounds"])
    for _ in range(options.rounds):
        sides = ["ours", "theirs"] + ["earlier"] * bool(options.earlier)
        rounds.append({side: watch(method, side, ground, options) for side in sides})
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
    parser.add_argument(
        "--earlier",
        type=Path,
        metavar="CHECKOUT",
        help="an earlier version of ours, for its memory",
    )
    add_work(parser)
    options = parser.parse_args()
    work = Work(**{name: getattr(options, name) for name in vars(Work()) if name != "full_size"})
    for method in options.methods:
        script = options.diffusers / "examples" / SCRIPTS[method]
        if not script.is_file():
            raise SystemExit(f"{script} is missing: give a checkout of huggingface/diffusers")
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        grounds: dict[Work, Ground] = {}
        for method in options.methods:
            own = FULL_SIZE if method.endswith(SD15) else work
            if own not in grounds:
                grounds[own] = prepare_ground(Path(folder) / str(len(grounds)), own)
            try:
                row = compare(method, grounds[own], options)
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
