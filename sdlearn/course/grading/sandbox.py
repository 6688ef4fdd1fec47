"""A process for one submission, out of whose bounds it cannot run for long.

It has a session, a folder and an environment of its own. It is killed, with all that it started,
at its limits and when it is done with. Where the system has `bwrap` (bubblewrap) it sees neither
the network, nor other processes, nor your home, nor the submissions; where the grader is root it
runs as nobody.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Any

import psutil

from sdlearn.course.grading.wire import LIMIT

PACKAGE = Path(__file__).resolve().parents[3]
NOBODY = 65534
KEPT = ("CUDA_VISIBLE_DEVICES", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH")
GRACE = 10  # seconds between asking a cell to stop and killing its process
MB = 10**6
PR_SET_CHILD_SUBREAPER = 36


class Ended(Exception):
    """The submission's process is gone; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a submission may take, all its processes together."""

    cell_seconds: float = 120.0  # of a cell, and of the check of an answer
    seconds: float = 900.0  # of all cells
    memory_mb: int = 6_000
    disk_mb: int = 2_000  # in its folder
    files: int = 10_000
    processes: int = 200


class Session:
    """A submission's process, to be asked one thing at a time."""

    def __init__(self, limits: Limits, hidden: Sequence[Path] = ()) -> None:
        self.limits, self.ends = limits, time.monotonic() + 60 + GRACE
        self._ended: Ended | None = None
        self._looked, self._received, self._before = 0.0, b"", set(psutil.Process().children(True))
        self.folder = Path(tempfile.mkdtemp(prefix="grading-")).resolve()
        user, wrap, _ = protection()
        if user is not None:
            os.chown(self.folder, user, user)
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        self._process = subprocess.Popen(
            [
                *wrapped(wrap, self.folder, hidden),
                *(sys.executable, "-m", "sdlearn.course.grading.session"),
                *(str(theirs.fileno()), json.dumps(_ceilings(limits, user))),
            ],
            **_standing(self.folder, user),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer; Ended where the process has died or broke a limit.

        After that it is asked nothing more.
        """
        if self._ended is None:
            try:
                return self._ask(request)
            except Ended as error:
                self._ended = error
        raise self._ended

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        number = secrets.token_hex(8)  # so that no answer can lie ready
        to_send = json.dumps(request | {"number": number}).encode() + b"\n"
        while b"\n" not in self._received:
            self._look_after()
            readable, writable, _ = select(
                [self._channel], [self._channel] if to_send else [], [], 0.1
            )
            try:
                if writable:
                    to_send = to_send[self._channel.send(to_send[:65536]) :]
                if readable:
                    self._receive()
            except OSError:
                raise Ended("its process ended") from None
        self._looked = 0.0  # what it did in its last moment counts too
        self._look_after()
        line, _, self._received = self._received.partition(b"\n")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or answer.get("number") != number:
            raise Ended("its process answers what it was not asked")
        return answer

    def close(self) -> None:
        """Kill the process and all that it started, and remove its folder."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for _ in range(50):  # what is killed may have started others in the meantime
            left = self._started()
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=1)
            if not left:
                break
        self._process.wait()
        self._channel.close()
        for tool in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):  # of any depth, as shutil's is not
            subprocess.run([*tool, "--", str(self.folder)], check=False, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> None:
        data = self._channel.recv(1 << 20)
        if not data:
            raise Ended("its process ended")
        self._received += data
        if len(self._received) > LIMIT:
            raise Ended(f"an answer is larger than {LIMIT // MB} MB")

    def _look_after(self) -> None:
        """Raise Ended where a limit is passed."""
        now = time.monotonic()
        if now > self.ends:
            raise Ended("it did not stop when its time was up")
        if now - self._looked < 0.2:
            return
        self._looked = now
        running = self._started()
        if len(running) > self.limits.processes:
            raise Ended(f"it started more than {self.limits.processes} processes")
        if sum(map(_memory, running)) > self.limits.memory_mb * MB:
            raise Ended(f"it took more than {self.limits.memory_mb} MB of memory")
        if reason := _overfull(self.folder, self.limits):
            raise Ended(reason)

    def _started(self) -> list[psutil.Process]:
        """All processes that came of this one, those that left its session too."""
        return [p for p in psutil.Process().children(recursive=True) if p not in self._before]


@functools.cache
def protection() -> tuple[int | None, str, str]:
    """The user and the `bwrap` that submissions are run with here, if any, and what to say of it.

    What a system has is tried, as containers and some kernels do not allow it.
    """
    if sys.platform == "linux":  # so that what leaves its session can still be found
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    users = [NOBODY, None] if os.name == "posix" and os.geteuid() == 0 else [None]
    tools = [tool, ""] if (tool := shutil.which("bwrap") or "") else [""]
    for user, wrap in [(user, wrap) for user in users for wrap in tools]:
        if (user is not None or wrap) and _works(user, wrap):
            sandbox = "in a sandbox (bwrap), without network and without your files"
            return user, wrap, f"each notebook runs {sandbox if wrap else 'as the user nobody'}"
    return (
        None,
        "",
        (
            "there is no sandbox here (bwrap): each notebook runs with your rights, on your files "
            "and your network; notebooks/README.md has the command for a container"
        ),
    )


def wrapped(bwrap: str, folder: Path, hidden: Sequence[Path]) -> list[str]:
    """What a command begins with to run in a sandbox: the system can be read, `folder` written.

    Temporary files, homes and `hidden` folders are empty there, but for what Python needs.
    """
    if not bwrap:
        return []
    private = [*map(Path, ("/tmp", "/run", "/home", "/root")), Path.home(), *hidden]
    python = [Path(sys.prefix), Path(sys.base_prefix), PACKAGE, *_links()]
    empty, needed = ({path.resolve() for path in paths} for paths in (private, python))
    mounts = [(path, ["--tmpfs", str(path)]) for path in empty if path.is_dir()]
    mounts += [(path, ["--ro-bind", str(path), str(path)]) for path in needed]
    mounts += [(folder, ["--bind", str(folder), str(folder)])]
    ordered = sorted(mounts, key=lambda mount: len(mount[0].parts))  # an outer one comes first
    inside = [word for _, words in ordered for word in words]
    base = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    return [bwrap, *base, *inside, "--unshare-all", "--die-with-parent", "--chdir", str(folder)]


def _links() -> Iterator[Path]:
    """Where the links lead that the interpreter of a virtual environment is found by."""
    path = Path(sys.executable)
    while path.is_symlink():
        path = path.parent / os.readlink(path)
        yield path.parent.parent


def _works(user: int | None, wrap: str) -> bool:
    """Whether a Python with the package starts that way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        if user is not None:
            os.chown(folder, user, user)
        command = [*wrapped(wrap, folder, []), sys.executable, "-c", "import sdlearn, IPython"]
        try:
            return not subprocess.run(command, **_standing(folder, user), check=False).returncode
        except OSError:  # a Python that nobody may run
            return False


def _standing(folder: Path, user: int | None) -> dict[str, Any]:
    """Where a submission's process stands: its folder, what it reads and says, and its user."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {name: v for name, v in os.environ.items() if name.startswith("SDLEARN_")}
    environment |= dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", "XDG_CACHE_HOME"), str(folder))
    environment |= {"PYTHONPATH": str(PACKAGE), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"}
    as_user: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    return {"cwd": folder, "env": environment, **as_user, **silent}


def _ceilings(limits: Limits, user: int | None) -> dict[str, int]:
    """What the system itself refuses, by the names of its limits."""
    owner = os.geteuid() if user is None else user
    threads = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            threads += process.num_threads() if process.uids().effective == owner else 0
    return {
        "CORE": 0,
        "CPU": int(limits.seconds + limits.cell_seconds * 10) * (os.cpu_count() or 1),
        "DATA": limits.memory_mb * MB * 2,
        "FSIZE": limits.disk_mb * MB,
        "NPROC": threads + 10 * limits.processes,
    }


def _memory(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _overfull(folder: Path, limits: Limits) -> str:
    """Why a folder is too full, or nothing."""
    size = count = 0
    with contextlib.suppress(RecursionError, OSError):
        for parent, folders, names in os.walk(folder):
            count += len(folders) + len(names)
            if count > limits.files:
                return f"it wrote more than {limits.files} files"
            for name in names:
                with contextlib.suppress(OSError):
                    size += os.lstat(os.path.join(parent, name)).st_blocks * 512
        return f"it wrote more than {limits.disk_mb} MB" if size > limits.disk_mb * MB else ""
    return "it wrote folders too deep to look into"
