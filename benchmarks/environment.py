"""What a benchmark ran on and with, and results that grow by one method at a time."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft")
FLAGS = {"avx512_bf16": "AVX512-BF16", "avx512f": "AVX-512", "avx2": "AVX2"}  # the first it has


def environment(threads: int = 1) -> dict[str, Any]:
    """Hardware and versions, in words."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    vectors = [f" with {name}" for flag, name in FLAGS.items() if flag in flags][:1]
    cpu = f"{platform.machine()} CPU{''.join(vectors)}, {os.cpu_count()} cores"
    return {
        "hardware": f"{cpu}, {threads} thread{'s' * (threads > 1)} each",
        "versions": {"Python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
    }


def keep(name: str, method: str, row: dict[str, Any]) -> Path:
    """Put a method's row into `results/NAME.json`, beside the other methods'."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    rows = {**read(name), method: row}
    path.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
    return path


def read(name: str) -> dict[str, Any]:
    """The rows of a benchmark, by method; none where it has not run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}
