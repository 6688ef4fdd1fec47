"""The route through the code, for CONTRIBUTING.md: from a command to the step and the saved file.

`python -m tools.route` writes it anew; a test fails where a line number is no longer right.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
LIST = re.compile(
    r"(?<=<!-- route, by python -m tools.route -->\n).*?(?=<!-- end of route -->)", re.S
)
ROUTE = (  # file in sdlearn/, name in it, and what happens there
    ("commands/train.py", "_Run.run", "checks folder and output, loads the model, trains, saves"),
    ("training/loop.py", "fit", "checks the whole run before anything is computed"),
    ("finetune/dreambooth.py", "DreamBooth.prepare", "draws class pictures, encodes all once"),
    ("training/loop.py", "train", "one optimizer step after the other, from top to bottom"),
    ("finetune/dreambooth.py", "DreamBooth.loss", "how a batch becomes a loss: the paper's eq. 2"),
    ("data/cache.py", "MomentCache.latents", "fresh latents of pictures that were encoded once"),
    ("finetune/denoising.py", "losses_at", "noise them, ask the U-Net, and compare"),
    ("diffusion/schedule.py", "NoiseSchedule.add_noise", "the forward process"),
    ("finetune/parts.py", "TrainedParts.save", "what is written, with its record and its card"),
)


def line_of(source: str, name: str) -> int:
    """The line at which a function or a method, `Class.method`, begins. Raises KeyError."""
    body = ast.parse(source).body
    for part in name.split("."):
        known = {
            node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        body, line = known[part].body, known[part].lineno
    return line


def route() -> str:
    """The list in Markdown."""
    lines = []
    for number, (file, name, what) in enumerate(ROUTE, start=1):
        path = f"sdlearn/{file}"
        line = line_of((ROOT / path).read_text(encoding="utf-8"), name)
        lines.append(f"{number}. [`{path}:{line}`]({path}#L{line}) `{name}`: {what}.\n")
    return "".join(lines)


def main() -> None:
    """Write the list into CONTRIBUTING.md."""
    PAGE.write_text(LIST.sub(lambda _: route(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
