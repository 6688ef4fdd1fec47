"""The package tells a story in order: a room may import from earlier rooms only."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sdlearn"
FIRST = {"diffusion": set(), "models": {"diffusion"}, "data": {"diffusion", "models"}}
MAY_IMPORT = {
    **FIRST,
    "training": set(FIRST),
    "pretrain": {*FIRST, "training"},
    "finetune": {*FIRST, "training"},
    "evaluate": {*FIRST, "training", "pretrain", "finetune"},
    "plan": {*FIRST, "training", "finetune"},
    "course": {*FIRST, "training", "pretrain", "finetune", "evaluate"},
}
LIGHT = [
    "sdlearn",
    "sdlearn.training.config",
    "sdlearn.finetune.config",
    "sdlearn.models.registry",
    "sdlearn.models.samplers",
]


def imported_rooms(source: str) -> set[str]:
    """The rooms of sdlearn that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
            if node.level:
                names.add("sdlearn.a relative import")
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "sdlearn" and len(part) > 1}


def files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def rooms() -> set[str]:
    return {path.name for path in PACKAGE.iterdir() if path.is_dir()}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_from_earlier_rooms(room):
    others = (set(MAY_IMPORT) | {"cli", "commands", "a relative import"}) - {room}
    for path in files(room):
        wrong = imported_rooms(path.read_text()) & others - MAY_IMPORT[room]
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {', '.join(sorted(wrong))}"


def test_the_package_knows_nothing_of_what_is_measured_with_it():
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"^\s*(from|import) experiments\b", path.read_text(), re.M), path


def test_every_room_has_its_place():
    assert {"diffusion", "models", "data", "finetune"} <= rooms()
    beside = {"commands", "_data", "__pycache__"}  # commands are part of the command line
    assert rooms() - beside <= set(MAY_IMPORT)


def test_the_check_sees_imports_of_every_form():
    assert imported_rooms("def f():\n    import sdlearn.finetune.lora") == {"finetune"}
    assert "finetune" in imported_rooms("from sdlearn import finetune")
    assert imported_rooms("from ..finetune import loop") == {"a relative import"}
    assert imported_rooms("import torch") == set()


@pytest.mark.parametrize("module", LIGHT)
def test_what_the_command_line_reads_for_its_help_imports_no_torch(module):
    code = f"import sys, {module}; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


def test_no_file_is_called_utils_or_helpers():
    for room in MAY_IMPORT:
        for path in files(room):
            assert path.stem not in {"utils", "helpers", "util", "helper"}
