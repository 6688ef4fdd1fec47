"""A class of hostile notebooks: none earns what it did not answer, none costs another its marks."""

import subprocess
import sys
import time

import psutil
import pytest
from test_grading import ASKED, RIGHT, write

from sdlearn.course import grading
from sdlearn.course.grading import Limits, grade_folder, sandbox, write_marks

WRONG = """def add_noise(latents, noise, alpha_bar):
    return latents
def predict_original(noisy_latents, model_pred, alpha_bar):
    return noisy_latents
def ddim_step(noisy_latents, model_pred, alpha_bar, alpha_bar_prev):
    return noisy_latents
half_gone = 1"""
ANSWERED = RIGHT["half_gone"]  # one right answer, worth a point, before the trick
IN_PLACE = """def add_noise(latents, noise, alpha_bar):
    share = alpha_bar.view(-1, 1, 1, 1)
    return latents.mul_(share.sqrt()).add_(noise.mul_((1 - share).sqrt()))"""
AS_NUMPY = """def ddim_step(noisy_latents, model_pred, alpha_bar, alpha_bar_prev):
    x, e, a, b = (t.numpy() for t in (noisy_latents, model_pred, alpha_bar, alpha_bar_prev))
    return b**0.5 * (x - (1 - a)**0.5 * e) / a**0.5 + (1 - b)**0.5 * e"""
AS_HALF = """def predict_original(noisy_latents, model_pred, alpha_bar):
    return ((noisy_latents - (1 - alpha_bar).sqrt() * model_pred) / alpha_bar.sqrt()).half()"""

HONEST = {
    "alice": [ASKED, *RIGHT.values(), *[f"checks.{name}({name})" for name in RIGHT]],
    "monika": [
        "import sys, io\nsys.stdout = io.StringIO()\nprint = globals = json = None",
        "1 / 0",
        *RIGHT.values(),
    ],
    "zoe": [IN_PLACE, AS_HALF, AS_NUMPY, "half_gone = int(RIGHT) if 0 else 354.0"],
}
# Each cheat: its cells, and the points that an honest reader would give.
CHEATS: dict[str, tuple[list[str], int]] = {
    # marks that no grader gave
    "forged points": (
        [
            ASKED,
            WRONG,
            "for c in vars(checks).values():\n  if hasattr(c, 'points'): c.points = 396",
        ],
        0,
    ),
    "forged checks": (
        [ASKED, "checks.add_noise = lambda a: checks.Right('add_noise', 36, 'yes')", WRONG],
        0,
    ),
    "forged verdicts": (
        [
            WRONG,
            'import os\nforged = b\'{"points": 396, "value": 354, "ok": true}\\n\' * 20',
            "for fd in range(3, 64):\n  try: os.write(fd, forged)\n  except OSError: pass",
        ],
        0,
    ),
    "patched comparison": (
        [
            WRONG,
            "import torch, math\ntorch.allclose = math.isclose = lambda *a, **k: True",
            "torch.equal = torch.allclose",
            "torch.isfinite = lambda x: torch.tensor(True)\ntorch.Tensor.allclose = torch.allclose",
        ],
        0,
    ),
    "equal to everything": (
        [
            "class Yes(float):\n  def __eq__(self, other): return True\n  __hash__ = None",
            "half_gone = Yes(1)\nadd_noise = lambda **k: Yes(1)",
        ],
        0,
    ),
    "a tensor that agrees": (
        [
            "import torch\nclass T(torch.Tensor):\n  @classmethod\n"
            "  def __torch_function__(cls, *a, **k): return True",
            "add_noise = lambda latents, noise, alpha_bar: torch.zeros(3, 2, 4, 4).as_subclass(T)",
        ],
        0,
    ),
    "reads its caller": (
        [
            "import sys\ndef add_noise(latents, noise, alpha_bar):\n  frame = sys._getframe()\n"
            "  while frame:\n    for name in ('expected', 'right', 'wrongs'):\n"
            "      if name in frame.f_locals: return frame.f_locals[name]\n"
            "    frame = frame.f_back",
        ],
        0,
    ),
    "replaces the package": (
        [
            WRONG,
            "import sys\nfor n in list(sys.modules):\n  if 'sdlearn' in n: sys.modules[n] = sys",
        ],
        0,
    ),
    "replaces json": ([ANSWERED, "import json\njson.dumps = json.loads = lambda *a, **k: '5'"], 1),
    "a constant from a message": (
        ["import torch\nadd_noise = lambda **k: torch.full((3, 2, 4, 4), 0.25)"],
        0,
    ),
    "formula": (["def add_noise(**k): raise ValueError('=HYPERLINK(\"http://x\")')"], 0),
    # answers that no file can hold, or no end has
    "half an emoji": (
        ["half_gone = '\\ud83d'\ndef add_noise(**k): raise ValueError('\\ud83d')"],
        0,
    ),
    "endless answer": (
        ["import itertools\nadd_noise = lambda **k: itertools.count()\nhalf_gone = [0] * 10**8"],
        0,
    ),
    "large answer": ([ANSWERED, "add_noise = lambda **k: 'x' * 10**8"], 1),
    "deep answer": (["half_gone = []\nfor _ in range(10**5): half_gone = [half_gone]"], 0),
    "an error without words": (
        [
            "class E(BaseException):\n  def __str__(self): raise self",
            f"{ANSWERED}\ndef add_noise(**k): raise E",
        ],
        1,
    ),
    "an answer that ends all": ([ANSWERED, "def add_noise(**k): raise SystemExit"], 1),
    "an answer that dies": ([ANSWERED, "def ddim_step(**k): __import__('os')._exit(0)"], 0),
    "an answer that hangs": ([ANSWERED, "def add_noise(**k):\n  while True: pass"], 1),
    # what does not stop
    "catches the interrupt": (
        [
            "half_gone = 354\nimport time",
            "while True:\n  try: time.sleep(600)\n  except BaseException: pass",
        ],
        0,
    ),
    "ignores signals": (
        [
            "import signal, time\nfor s in (2, 14, 15): signal.signal(s, signal.SIG_IGN)\n"
            "half_gone = 354\ntime.sleep(600)"
        ],
        0,
    ),
    "stops itself": (["import os, signal\nhalf_gone = 1\nos.kill(os.getpid(), signal.SIGSTOP)"], 0),
    "sleeps": ([ANSWERED, "import time\ntime.sleep(600)"], 1),
    "prints for ever": ([ANSWERED, "while True: print('x' * 10**6)"], 1),
    "much source": (["half_gone = 354\n" + "x = 1\n" * 10**7], 0),
    "brackets": (["half_gone = 1", "x = " + "(" * 10**5], 0),
    # what takes everything
    "memory": (["half_gone = 354\nx = []\nwhile True: x.append(bytearray(10**8))"], 0),
    "fork bomb": (["half_gone = 354\nimport os\nwhile True: os.fork()"], 0),
    "a large file": (
        [
            "half_gone = 354\nfrom pathlib import Path",
            "for i in range(10**4): Path(str(i)).write_bytes(bytes(10**8))",
        ],
        0,
    ),
    "many files": (
        ["half_gone = 354\nfor i in range(10**9): open(str(i), 'w').close()"],
        0,
    ),
    "deep folders": (
        [
            f"{ANSWERED}\nimport os\nfor i in range(3000):\n  os.mkdir('d'); os.chdir('d')",
            "os.chmod('.', 0)",
        ],
        0,
    ),
    # what is gone, or stays behind
    "exits": ([ANSWERED, "import os\nos._exit(0)"], 0),
    "quits": ([ANSWERED, "quit()", "exit()", "import sys\nsys.exit()"], 1),
    "crashes": ([ANSWERED, "import ctypes\nctypes.string_at(0)"], 0),
    "closes everything": ([ANSWERED, "import os\nos.closerange(0, 4096)"], 0),
    "deletes the class": (["half_gone = 354\nimport shutil\nshutil.rmtree(CLASS, True)"], 1),
    "stays behind": (
        [
            f"{ANSWERED}\nimport subprocess, sys",
            "sleep = [sys.executable, '-c', 'import time; time.sleep(1234)']",
            "subprocess.Popen(sleep, start_new_session=True)",
        ],
        1,
    ),
}


@pytest.fixture(scope="module")
def seconds():
    """What a cell may take: enough to import everything on this machine, as busy as it is."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "import torch, IPython, sdlearn.course.checks"], check=True
    )
    return min(max(8, 2 * (time.monotonic() - began)), 40)


@pytest.mark.slow
def test_no_cheat_earns_what_it_did_not_answer_or_costs_another_its_marks(
    tmp_path, monkeypatch, seconds
):
    monkeypatch.setattr(grading, "GRACE", 3)
    monkeypatch.setattr(sandbox, "GRACE", 3)
    folder = tmp_path / "class"
    for name, cells in (HONEST | {n: cells for n, (cells, _) in CHEATS.items()}).items():
        write(folder / f"{name}.ipynb", *[c.replace("CLASS", repr(str(folder))) for c in cells])
    limits = Limits(
        cell_seconds=seconds,
        seconds=4 * seconds,
        memory_mb=1500,
        disk_mb=400,
        files=2000,
        processes=60,
    )
    marks = []
    for own in grade_folder(folder, limits):
        marks += own
        write_marks(marks, tmp_path / "grades.csv")
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if "sleep(1234)" in str(p.info["cmdline"])
    ]

    points = {f"{name}.ipynb": 0 for name in (*HONEST, *CHEATS)}
    for mark in marks:
        points[mark.notebook] += mark.points
        assert mark.points <= mark.out_of
    expected = {f"{name}.ipynb": 5 for name in HONEST}
    expected |= {f"{name}.ipynb": right for name, (_, right) in CHEATS.items()}
    reasons = {m.notebook: m.reason for m in marks if m.notebook in points}
    off = {n: (points[n], expected[n], reasons.get(n)) for n in points if points[n] != expected[n]}
    assert not off
    assert set(points) == {mark.notebook for mark in marks}
    assert all(mark.reason for mark in marks)
