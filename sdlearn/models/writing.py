"""Writing files that appear complete or not at all. Imports nothing heavy."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

LOCK_NAME = ".sdlearn.lock"  # in a folder that is being written to
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, the size of a file


@contextmanager
def replaced_when_complete(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which takes its place when the block has succeeded.

    Whatever wrote the file, others may read it as far as the umask lets them.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.touch()
        mode = stat.S_IMODE(unfinished.stat().st_mode)
        yield unfinished
        unfinished.chmod(mode)  # safetensors writes files for their owner alone
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


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
def one_writer(folder: Path) -> Iterator[Path]:
    """Keep a folder for one run of a program; raises ValueError where another is writing to it."""
    lock = folder / LOCK_NAME
    try:
        with FileLock(lock, timeout=0):
            yield folder
            with suppress(OSError):  # Windows removes no file that is open
                lock.unlink()
    except Timeout as error:
        raise ValueError(
            f"another run is writing to {folder}: wait until it has ended, or name another folder"
        ) from error


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
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"cannot write to the folder {folder} ({error.strerror}): choose another one"
        ) from error
    return folder


def check_utf8(text: str, what: str) -> None:
    """Raise ValueError for text that UTF-8 cannot hold, such as half an emoji or a Latin-1 byte."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = ascii(text[max(0, error.start - 10) : error.end + 10])
        raise ValueError(
            f"{what} holds what is no UTF-8 text (at {around}): write it anew"
        ) from error
