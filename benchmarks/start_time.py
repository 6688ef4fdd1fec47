"""How long `import sdlearn` takes, and `sdlearn --help`: what a person waits before anything.

    python benchmarks/start_time.py

Each runs several times in a process of its own, in turns; the median counts, with Python's own
start in it for the command and without it for the import. Results go to results/start_time.json.
"""

import argparse
import subprocess
import sys
import time
from statistics import median

from environment import environment, keep

BARE = "nothing"
COMMANDS = {
    BARE: ["-c", "pass"],
    "import sdlearn": ["-c", "import sdlearn"],
    "sdlearn --help": ["-m", "sdlearn", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """How long Python takes to run and end, on the clock."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    for arguments in COMMANDS.values():
        seconds(arguments)  # the first time reads files from the disk
    runs = [{name: seconds(words) for name, words in COMMANDS.items()} for _ in range(options.runs)]
    found = {name: median(run[name] for run in runs) for name in COMMANDS}
    found["import sdlearn"] -= found[BARE]
    for name in COMMANDS:
        row = {"seconds": found[name], "runs": options.runs, "environment": environment()}
        keep("start_time", name, row)
        print(f"{name}: {found[name]:.2f} s")


if __name__ == "__main__":
    main()
