"""Put the results into the README's tables, each figure beside its bar.

python benchmarks/table.py           writes benchmarks/README.md
python benchmarks/table.py --check   status 1 where it does not say what the results say
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from comparison import Figures, figures
from environment import read

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- made by table.py from results/ -->", "<!-- end -->"
STEP_BAR = 1.10
SIZE_BAR = 100  # kB
SPEED_BARS = {  # steps per second, ours over the script's
    "textual-inversion": 2.5,
    "dreambooth": 1.8,
    "dreambooth, its savers": 1.8,
    "dreambooth, text encoder": 1.8,
    "dreambooth, lora": 2.0,
    "lora": 2.0,
    "full": 1.8,
    "imagic": 1.2,
}
FULL_SIZE = ("lora, sd15", "textual-inversion, sd15")
MEMORY_BARS = {  # private memory, ours over the script's
    name: 0.85 if name.startswith(("dreambooth", "imagic")) else 0.8
    for name in (*SPEED_BARS, *FULL_SIZE)
}
FLOORS = {  # rows of step_time.py that stand for a method here
    "textual-inversion": "textual inversion",
    "dreambooth": "dreambooth, prior",
    "dreambooth, its savers": "dreambooth, prior",
    "dreambooth, text encoder": "dreambooth, prior, text encoder",
    "lora": "lora",
    "full": "full",
    "imagic": "imagic, stage B",
}
START_BARS = {"import sdlearn": 0.3, "sdlearn --help": 1.0}  # seconds


def verdict(value: float, bar: float, *, at_least: bool = False) -> str:
    """Whether a figure meets its bar, as it is printed: with two digits."""
    met = round(value, 2) >= bar if at_least else round(value, 2) <= bar
    return "met" if met else "**missed**"


def table(head: str, rows: list[list[str]]) -> list[str]:
    """A table in Markdown."""
    names = head.split(" | ")
    lines = [f"| {head} |", "|" + " --- |" * len(names)]
    return lines + [f"| {' | '.join(row)} |" for row in rows] + [""]


def ran_on(results: dict[str, Any]) -> list[str]:
    """Hardware and versions, a line for each that rows ran on."""
    lines = []
    for row in results.values():
        found = row.get("environment") or row["settings"]["environment"]
        versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
        lines.append(f"{found['hardware']}; {versions}.")
    return [*dict.fromkeys(lines), ""]


def most(method: str, speed: float) -> str:
    """How many times the script's steps there were if ours did nothing but run the models."""
    row = read("step_time").get(FLOORS.get(method, ""))
    if row is None:
        return ""
    # without a text encoder both floors are the same models, and differ by chance
    return f"{speed * min(row['ours'] / row['models'], row['ours'] / row['unet']):.2f}x"


def speed_tables(results: dict[str, Any]) -> list[str]:
    """Steps per second and memory against the scripts."""
    found: dict[str, Figures] = {
        name: figures(results[name]) for name in SPEED_BARS if name in results
    }
    rows = [
        [
            name,
            f"{f.ours:.0f}",
            f"{f.theirs:.0f}",
            f"{f.speed:.2f}x",
            most(name, f.speed),
            f"{f.slowest_round:.2f}x of {len(results[name]['rounds'])}",
            f"{SPEED_BARS[name]:.1f}x",
            verdict(f.speed, SPEED_BARS[name], at_least=True),
            f"{f.caching:.1f} s",
            "never" if f.break_even is None else str(f.break_even),
        ]
        for name, f in found.items()
    ]
    head = "method | ours, ms a step | script, ms | steps per second | at most | least round | bar"
    lines = table(f"{head} | verdict | caching pass | ahead from step", rows)
    settings = next(iter(results.values()))["settings"]
    counted = f"{settings['steps']} steps a round, after {settings['warm_up']} that do not count"
    return [f"Scripts at {settings['revision']}; {counted}.", "", *lines, *memory_table(results)]


def memory_table(results: dict[str, Any]) -> list[str]:
    """The most private memory of either side; at full size with steps per second, without a bar."""
    rows = []
    for name, bar in MEMORY_BARS.items():
        if name not in results or results[name]["settings"].get("memory") != "private":
            continue
        f = figures(results[name])
        least, most = f.memory_rounds
        rows.append(
            [
                name,
                f"{f.ours_peak / 1e6:.0f}",
                f"{f.theirs_peak / 1e6:.0f}",
                f"{f.memory:.2f}",
                f"{least:.2f} to {most:.2f} of {len(results[name]['rounds'])}",
                f"{bar}",
                verdict(f.memory, bar),
                f"{f.memory_beyond:.2f}",
                "" if f.earlier is None else f"{f.earlier:.2f}",
                f"{f.speed:.2f}x" if name in FULL_SIZE else "",
            ]
        )
    if not rows:
        return ["Private memory is not measured yet.", ""]
    head = (
        "method | ours, MB at most | script, MB | ours over the script's | rounds | bar | verdict"
    )
    return table(f"{head} | less the libraries | before | steps per second", rows)


def step_table(results: dict[str, Any]) -> list[str]:
    """A step over the bare one."""
    rows = [
        [
            name,
            f"{1000 * row['ours']:.0f}",
            f"{row['ours'] / row['unet']:.2f}",
            f"{STEP_BAR:.2f}",
            verdict(row["ours"] / row["unet"], STEP_BAR),
            f"{row['ours'] / row['models']:.2f}",
        ]
        for name, row in results.items()
    ]
    return table(
        "method | step, ms | over the bare U-Net's | bar | verdict | over the bare models'", rows
    )


def start_table(results: dict[str, Any]) -> list[str]:
    """How long starting takes."""
    rows = []
    for name, bar in START_BARS.items():
        taken = results[name]["seconds"]
        rows.append([f"`{name}`", f"{taken:.2f} s", f"{bar} s", verdict(taken, bar)])
    return table("what | takes | bar | verdict", rows)


def size_table(results: dict[str, Any]) -> list[str]:
    """Bytes that Textual Inversion leaves."""
    row = results["textual-inversion"]
    sizes = [("checkpoint", row["checkpoint"]), ("what is learnt", row["artefact"])]
    rows = [
        [name, f"{size / 1000:.1f} kB", f"{SIZE_BAR} kB", verdict(size / 1000, SIZE_BAR)]
        for name, size in sizes
    ]
    return table("of Textual Inversion with Stable Diffusion 1.5 | size | bar | verdict", rows)


def section(title: str, name: str, make: Any) -> list[str]:
    """One benchmark's part, or that it has not run."""
    results = read(name)
    lines = [f"### {title}", ""]
    if not results:
        return [*lines, "Not measured yet.", ""]
    return lines + ran_on(results) + make(results)


def made() -> str:
    """All that stands between the two marks."""
    lines = [
        *section("Against diffusers' scripts", "against_scripts", speed_tables),
        *section("A step over the bare step", "step_time", step_table),
        *section("Sizes", "checkpoint_size", size_table),
        *section("Starting", "start_time", start_table),
    ]
    return "\n".join([BEGIN, "", *lines]) + END


def main() -> int:
    """Write the README, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    wanted = before + made() + after
    if options.check:
        if text != wanted:
            print(f"{README} is not what the results say: run python benchmarks/table.py")
        return int(text != wanted)
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
