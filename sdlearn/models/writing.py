"""Writing files that appear complete or not at all. Imports nothing heavy."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from safetensors import SafetensorError

LOCK_NAME = ".sdlearn.lock"  # in a folder that is being written to
MOVING, GONE = ".sdlearn-moving", ".gone.json"  # what is being moved in, and what goes for it
PATIENCE = 60.0  # seconds to wait until another process has saved
TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")  # a file that a process, by its number, is writing
IDLE = 10.0  # seconds without a change, after which a file that nobody writes is a leftover
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, the size of a file


@contextmanager
def replaced_when_complete(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which takes its place when the block has succeeded.

    Whatever wrote the file, others may read it as far as the umask lets them.
    """
    with _unfinished(path) as unfinished:
        mode = stat.S_IMODE(unfinished.stat().st_mode)
        yield unfinished
        unfinished.chmod(mode)  # safetensors writes files for their owner alone
        os.replace(unfinished, path)


def open_to_others(folder: Path) -> None:
    """Let others read all files below a folder as far as the umask lets them."""
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        probe = Path(inner) / "probe"
        probe.touch()
        mode = stat.S_IMODE(probe.stat().st_mode)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


@contextmanager
def one_writer(folder: Path, *, seconds: float = 0.0, again: bool = False) -> Iterator[Path]:
    """Keep a folder for one run of a program, for which others wait so long.

    With `again` a process may enter a folder that it keeps, as a cell that was interrupted and is
    run anew. Raises ValueError where another is writing to it by then.
    """
    path = (folder / LOCK_NAME).resolve()
    lock = FileLock(path, thread_local=False, is_singleton=again)
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise ValueError(
            f"another run is writing to {folder}: wait until it has ended, or name another folder"
        ) from error
    try:
        yield folder
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):  # Windows removes no file that is open
                path.unlink()
        lock.release()


def move_into(folder: Path, written: Path, gone: Sequence[Path]) -> None:
    """Put all files below `written`, a folder on the same disk, to a folder, and take others away.

    All of it happens or nothing does: what a kill leaves half done, `finish_moving` finishes. The
    paths in `gone` are relative; of what was written nothing goes.
    """
    (written / GONE).write_text(json.dumps([path.as_posix() for path in gone]), encoding="utf-8")
    os.replace(written, folder / MOVING)  # from here on it is decided
    finish_moving(folder)


def finish_moving(folder: Path) -> None:
    """Finish what a killed run was moving into a folder, whose files do not belong together yet.

    Raises ValueError where that cannot be done.
    """
    moving = folder / MOVING
    if not moving.is_dir():
        return
    try:
        with one_writer(folder, seconds=PATIENCE, again=True):
            _move(moving, folder)
    except OSError as error:
        raise ValueError(
            f"{folder} holds parts of two runs, as a save was killed, and cannot be written to "
            f"({error.strerror}): let whoever saved there open it once"
        ) from error


def _move(moving: Path, folder: Path) -> None:
    if not moving.is_dir():
        return  # another process has done it
    gone = [Path(name) for name in json.loads((moving / GONE).read_text(encoding="utf-8"))]
    for path in sorted(path for path in moving.rglob("*") if path.is_file()):
        place = folder / path.relative_to(moving)
        if place.name != GONE:
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
    for path in gone:
        (folder / path).unlink(missing_ok=True)
    for parent in {path.parent for path in gone} - {Path()}:
        if (folder / parent).is_dir() and not any((folder / parent).iterdir()):
            (folder / parent).rmdir()
    shutil.rmtree(moving)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of runs that were killed while they wrote to a folder."""
    for path in folder.iterdir():
        writer = TEMPORARY.fullmatch(path.name)
        if writer is None or psutil.pid_exists(int(writer[1])):
            continue
        with suppress(OSError):  # gone by now
            if time.time() - path.stat().st_mtime > IDLE:  # not of a container beside this one
                path.unlink()


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Raise OSError, with this path and what mends it, where a disk or a quota is full."""
    try:
        yield
    except (SafetensorError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in FULL:
            raise
        reason = str(error).rpartition("I/O error: ")[2]
        raise OSError(
            f"{path} cannot be written ({reason}): free some space on its disk, or name another"
            " folder"
        ) from error


def prepare_folder(folder: str | Path) -> Path:
    """Make a folder and make sure that it can be written to, before work starts.

    Raises OSError that names the folder and the reason, and ValueError for a name that UTF-8 cannot
    hold.
    """
    folder = Path(folder).expanduser()
    check_utf8(str(folder), "the name of a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"cannot write to the folder {folder} ({error.strerror}): choose another one"
        ) from error
    return folder


def prepare_file(path: Path) -> None:
    """Make a file's folder and make sure, before work starts, that the file can be written.

    Raises as `prepare_folder`; OSError as well for a name that is too long, and ValueError where a
    folder is in the way.
    """
    prepare_folder(path.parent)
    check_utf8(path.name, "the name of a file")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, where a file has to go: give another name")
    try:
        with _unfinished(path):
            pass
    except OSError as error:
        raise OSError(
            f"cannot write the file {path} ({error.strerror}): give it another name"
        ) from error


@contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, for what is being written; gone at the end."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.touch()
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def check_utf8(text: str, what: str) -> None:
    """Raise ValueError for text that UTF-8 cannot hold, such as half an emoji or a Latin-1 byte."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = ascii(text[max(0, error.start - 10) : error.end + 10])
        raise ValueError(
            f"{what} holds what is no UTF-8 text (at {around}): write it anew"
        ) from error
