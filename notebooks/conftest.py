"""How `pytest --nbval` runs the solved notebooks: as a person would, each in a folder of its own.

Every cell is a test. What it prints must be what the notebook stores: text, tables and numbers, and
not pictures. `tools/solved.py` says what is stored, and what comes out now is cut to the same.
"""

from __future__ import annotations

import tempfile
from typing import Any

import nbval.plugin
import pytest

from tools.solved import shown


class Kernel(nbval.plugin.RunningKernel):
    """A kernel in an empty folder, which keeps a history: without one no last `;` hides a result.

    Source of the latter: computationalmodelling/nbval#194.
    """

    def __init__(self, kernel_name: str, cwd: str | None = None, startup_timeout: int = 60) -> None:
        self.folder = tempfile.TemporaryDirectory()
        super().__init__(kernel_name, cwd=self.folder.name, startup_timeout=startup_timeout)

    def execute_cell_input(self, cell_input: str, allow_stdin: bool | None = None) -> str:
        settings = {"silent": False, "store_history": True, "stop_on_error": False}
        return self.kc.execute(cell_input, allow_stdin=allow_stdin, **settings)

    def stop(self) -> None:
        super().stop()
        self.folder.cleanup()


compare_outputs = nbval.plugin.IPyNbCell.compare_outputs


def compare_shown(
    cell: nbval.plugin.IPyNbCell, test: list[Any], ref: list[Any], skip_compare: Any = None
) -> bool:
    """Compare without widgets and progress bars, because none is stored."""
    return bool(compare_outputs(cell, shown(test), ref, skip_compare))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, nbval.plugin.IPyNbCell):
            item.add_marker(pytest.mark.slow)


nbval.plugin.RunningKernel = Kernel
nbval.plugin.IPyNbCell.compare_outputs = compare_shown
