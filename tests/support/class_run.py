"""A chapter as a class gets it, run from its first cell to its last."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from sdlearn.course.training import QUICK
from tools import notebooks

LOADED = {"07": 2, "08": 2, "09": 1, "10": 1}  # results that a chapter can load
SOURCES = sorted(notebooks.SOURCES.glob("[0-9]*.py"))  # the chapters; the talk has tests of its own


def by_chapter(pattern: str) -> pytest.MarkDecorator:
    """One test for each chapter whose number fits the pattern."""
    sources = [source for source in SOURCES if re.fullmatch(pattern, source.stem[:2])]
    return pytest.mark.parametrize("source", sources, ids=[source.stem for source in sources])


def check_class_run(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With stubs and loaded results, a chapter raises NotImplementedError and nothing else."""
    monkeypatch.setenv(QUICK, "1")  # under nbval the solved one trains in earnest
    text = notebooks.build(source, "class")
    notebook = nbformat.reads(text.replace("train=True", "train=False"), as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=180, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {o.ename for o in outputs if o.output_type == "error"} == {"NotImplementedError"}
    printed = "".join(o.text for o in outputs if o.output_type == "stream")
    assert printed.count(" is loaded: ") == text.count("train=True")
    assert text.count("train=True") == LOADED.get(source.stem[:2], 0)
