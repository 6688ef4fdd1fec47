"""Submitted notebooks, read before the first of them runs, and where their answers stand."""

from __future__ import annotations

import ast
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_BYTES, CODE_BYTES = 50_000_000, 1_000_000  # of a notebook with its pictures; of its code
TIMED = ("time", "timeit", "capture", "prun")  # magics whose line or cell is code


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One notebook's code, taken out of its file; `fault` says why there is none."""

    name: str  # of the file, below the folder
    cells: tuple[str, ...] = ()
    fault: str = ""


def read_submissions(folder: Path) -> list[Submission]:
    """All notebooks below a folder, in the order of their names.

    Left out: checkpoints of Jupyter's, what macOS writes beside files, and hidden folders.
    Raises FileNotFoundError or ValueError for a folder without notebooks.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: check its name")
    found = [
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(".ipynb") and not name.startswith("._")
    ]
    inside = {path: path.relative_to(folder) for path in sorted(found)}
    submissions = [
        _read(path, printable(name.as_posix()))
        for path, name in inside.items()
        if not any(p.startswith(".") or p == "__MACOSX" for p in name.parts[:-1])
    ]
    if not submissions:
        raise ValueError(f"{folder} holds no notebooks: put the submitted .ipynb files into it")
    return submissions


def printable(text: str, length: int = 300) -> str:
    """Text that every file and terminal takes: one line, without what UTF-8 cannot hold."""
    held = text.encode("utf-8", "surrogateescape" if _is_of_bytes(text) else "replace")
    line = " ".join(held.decode("utf-8", "backslashreplace").split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)[:length]


def find_answers(cells: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Map each known check that the code names to the expression of its answer.

    That is what the last call of the check is given; without a call, what has the check's name.
    """
    asked: dict[str, str] = {}
    named = set()
    trees = list(_parsed(cells))
    aliases = {"checks"}.union(*map(_aliases, trees))
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _module_of(node.func) in aliases:
                given = node.args[:1] + [k.value for k in node.keywords if k.arg == "answer"]
                if given and isinstance(node.func, ast.Attribute):
                    asked[node.func.attr] = ast.unparse(given[0])
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                named.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                named.add(node.id)
    return {name: asked.get(name, name) for name in known if name in asked or name in named}


def _read(path: Path, name: str) -> Submission:
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Submission(name=name, fault="it is no file")
            data = file.read(FILE_BYTES + 1)
        if len(data) > FILE_BYTES:
            return Submission(name=name, fault=f"it is larger than {FILE_BYTES // 10**6} MB")
        cells = tuple(source for source in _sources(json.loads(data)) if source.strip())
    except OSError as error:
        return Submission(name=name, fault=f"it cannot be opened ({error.strerror})")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return Submission(
            name=name, fault=f"it cannot be read as a notebook ({type(error).__name__})"
        )
    if sum(map(len, cells)) > CODE_BYTES:
        return Submission(name=name, fault=f"its code is larger than {CODE_BYTES // 10**6} MB")
    return Submission(name=name, cells=cells)


def _open_without_waiting(path: str, flags: int) -> int:
    """A pipe must not make the grader wait, nor a link give one student another's answers."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))


def _sources(notebook: dict[str, Any]) -> Iterator[str]:
    """The code cells' sources, of a notebook of format 3 or 4."""
    for sheet in notebook.get("worksheets", [notebook]):
        for cell in sheet["cells"]:
            if cell["cell_type"] == "code":
                source = cell["input"] if "input" in cell else cell["source"]
                yield source if isinstance(source, str) else "".join(source)


def _parsed(cells: Sequence[str]) -> Iterator[ast.AST]:
    """Each cell as Python, magics and all; of one that is broken, the lines that are not."""
    from IPython.core.inputtransformer2 import TransformerManager

    for cell in cells:
        for part in (cell, *map(str.strip, cell.splitlines())):
            try:
                tree = ast.parse(TransformerManager().transform_cell(part))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            yield tree
            yield from _parsed([code for node in ast.walk(tree) if (code := _timed(node))])
            if part is cell:
                break


def _timed(node: ast.AST) -> str:
    """The code of `%time code` or a cell of `%%time`, which IPython makes a call of."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return ""
    if node.func.attr not in ("run_line_magic", "run_cell_magic"):
        return ""
    words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return words[-1] if len(words) > 1 and words[0] in TIMED else ""


def _module_of(function: ast.expr) -> str:
    """`checks` of `checks.add_noise`, and of `course.checks.add_noise`."""
    if not isinstance(function, ast.Attribute):
        return ""
    module = function.value
    return getattr(module, "id", getattr(module, "attr", ""))


def _aliases(tree: ast.AST) -> set[str]:
    """What the checks are called after `from sdlearn.course import checks as ...`."""
    return {
        name.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
        if name.asname and name.name.split(".")[-1] == "checks"
    }


def _is_of_bytes(text: str) -> bool:
    """Whether what UTF-8 cannot hold in a text are bytes of a file's name."""
    return all("\udc80" <= c <= "\udcff" for c in text if "\ud800" <= c <= "\udfff")
