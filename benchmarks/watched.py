"""Run a training program in this process, and note when its optimizer steps.

    python benchmarks/watched.py REPORT.json PROGRAM ARGUMENTS...

PROGRAM is `sdlearn` or a script's path. The report holds the seconds of every optimizer step, on
the clock and of the processor, those that `sdlearn` spent on its caches, and the most memory that
was allocated on a GPU. Both kinds of program are watched in the same way: torch calls back after
every optimizer step.
"""

import json
import runpy
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

OURS = {
    "sdlearn.finetune.textual_inversion": "TextualInversion",
    "sdlearn.finetune.dreambooth": "DreamBooth",
    "sdlearn.finetune.full": "FullFineTuning",
    "sdlearn.finetune.lora": "LoRA",
    "sdlearn.finetune.imagic.stages": "_PictureStage",
}


def time_caches(seconds: list[float]) -> None:
    """Note the processor's seconds of each `prepare` of ours: the caching pass."""

    def timed(prepare: Any) -> Any:
        def prepare_timed(*arguments: Any) -> None:
            started = time.process_time()
            prepare(*arguments)
            seconds.append(time.process_time() - started)

        return prepare_timed

    for module, name in OURS.items():
        method = getattr(import_module(module), name)
        method.prepare = timed(method.prepare)


def offer_torchvision() -> None:
    """Let scripts find the stand-in, once transformers has looked for the real torchvision."""
    from transformers.utils import is_torchvision_available

    if is_torchvision_available():
        return
    sys.path.append(str(Path(__file__).parent / "stand_ins"))


def run(program: str, arguments: list[str], caching: list[float]) -> None:
    """Run `sdlearn` or a script as from a shell."""
    if program == "sdlearn" or arguments[:1] == ["ours"]:
        time_caches(caching)
    else:
        offer_torchvision()
    sys.argv = [program, *arguments]
    if program == "sdlearn":
        from sdlearn.cli import main

        if main(arguments):
            raise SystemExit(f"sdlearn {' '.join(arguments)} failed")
        return
    sys.path.insert(0, str(Path(program).parent))
    runpy.run_path(program, run_name="__main__")


def main() -> None:
    """Run the program, and write the report once it has come to its end."""
    report, program, *arguments = sys.argv[1:]
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    steps: list[tuple[float, float]] = []
    register_optimizer_step_post_hook(
        lambda *_: steps.append((time.perf_counter(), time.process_time()))
    )
    caching: list[float] = []
    run(program, arguments, caching)
    on_gpu = torch.cuda.is_available()
    allocated = torch.cuda.max_memory_allocated() if on_gpu else None
    facts = {"steps": steps, "caching": sum(caching), "allocated_bytes": allocated}
    Path(report).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
