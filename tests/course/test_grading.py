"""A class's notebooks: each is run by itself, and what it claims of itself counts for nothing."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import torch

from sdlearn import cli
from sdlearn.course import checks
from sdlearn.course.checks.stand_ins import TextEncoder
from sdlearn.course.grading import Mark, chapter_of, grade_folder, sandbox, write_marks
from sdlearn.course.grading.submissions import find_answers, read_submissions
from sdlearn.course.grading.wire import decode, encode

RIGHT = {
    "add_noise": """def add_noise(latents, noise, alpha_bar):
    a = alpha_bar.view(-1, 1, 1, 1)
    return a.sqrt() * latents + (1 - a).sqrt() * noise""",
    "predict_original": """def predict_original(noisy_latents, model_pred, alpha_bar):
    return (noisy_latents - (1 - alpha_bar).sqrt() * model_pred) / alpha_bar.sqrt()""",
    "ddim_step": """def ddim_step(noisy_latents, model_pred, alpha_bar, alpha_bar_prev):
    x = predict_original(noisy_latents, model_pred, alpha_bar)
    return alpha_bar_prev.sqrt() * x + (1 - alpha_bar_prev).sqrt() * model_pred""",
    "half_gone": "half_gone = 354",
}
ASKED = "from sdlearn.course import checks"
KNOWN = [check.__name__ for chapter in checks.CHAPTERS.values() for check in chapter]


def write(path: Path, *code: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell(text) for text in code]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_answers_are_found_by_their_checks_whatever_they_are_called():
    code = f"{ASKED}\ndef mine(a): pass\nhalf_gone = 1\nchecks.add_noise(mine)\nthis is not Python"
    answers = find_answers([code], KNOWN)
    assert answers == {"add_noise": "mine", "half_gone": "half_gone"}
    assert chapter_of(answers) == "02"
    assert find_answers(["print('hello')"], KNOWN) == {}
    assert chapter_of({}) is None


@pytest.mark.parametrize(
    "call",
    [
        "checks.add_noise(\n    mine,\n)",
        "%time checks.add_noise(mine)",
        "%%time\nx = 1\nchecks.add_noise(mine)",
        "checks.add_noise(answer=mine)",
        "try: checks.add_noise(mine)\nexcept Exception as e: print(e)",
        "print(checks.add_noise(mine))",
        'checks.add_noise(mine)\n"""before, I had\nchecks.add_noise(other)\n"""',
        "checks.add_noise(mine)  # checks.add_noise(other)",
        "import sdlearn\nsdlearn.course.checks.add_noise(mine)",
        "from sdlearn.course import checks as c\nc.add_noise(mine)",
        "!pip install x\nchecks.add_noise(mine)",
    ],
)
def test_a_check_may_be_written_in_any_way_that_python_and_notebooks_have(call):
    assert find_answers([call], KNOWN) == {"add_noise": "mine"}


def test_what_only_looks_like_a_check_is_none():
    assert find_answers(["scheduler.add_noise(x)", "'checks.add_noise(mine)'"], KNOWN) == {}


def test_options_are_named_as_typed_and_a_home_folder_is_found(tmp_path, monkeypatch, capsys):
    assert cli.main(["grade", str(tmp_path), "--cell-seconds", "0"]) == 2
    assert "--cell-seconds is 0.0: give a number above 0" in capsys.readouterr().err
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "class" / "empty.ipynb", "print('hello')")
    assert cli.main(["grade", "~/class", "--output", "~/marks/grades.csv"]) == 0
    assert str(tmp_path / "marks" / "grades.csv") in capsys.readouterr().out
    assert (tmp_path / "marks" / "grades.csv").is_file()


def test_uploads_are_read_as_people_send_them(tmp_path):
    write(tmp_path / "plain.ipynb", "half_gone = 1")
    content = (tmp_path / "plain.ipynb").read_bytes()
    (tmp_path / "bom.ipynb").write_bytes(b"\xef\xbb\xbf" + content)
    (tmp_path / "utf16.ipynb").write_bytes(content.decode().encode("utf-16"))
    (tmp_path / "UPPER.IPYNB").write_bytes(content)
    (tmp_path / "lines.ipynb").write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": ["half_gone", " = 1"]}]})
    )
    (tmp_path / "format3.ipynb").write_text(
        json.dumps({"worksheets": [{"cells": [{"cell_type": "code", "input": "half_gone = 1"}]}]})
    )
    for beside in ("._plain.ipynb", ".ipynb_checkpoints/a.ipynb", "__MACOSX/a.ipynb"):
        (tmp_path / beside).parent.mkdir(exist_ok=True)
        (tmp_path / beside).write_bytes(b"\0\5\26\7")
    found = {submission.name: submission.cells for submission in read_submissions(tmp_path)}
    names = ("UPPER.IPYNB", "bom.ipynb", "format3.ipynb", "lines.ipynb", "plain.ipynb")
    assert found == dict.fromkeys((*names, "utf16.ipynb"), ("half_gone = 1",))


def test_an_upload_that_is_no_notebook_is_a_row_with_its_reason(tmp_path):
    write(tmp_path / "other" / "real.ipynb", "half_gone = 354")
    hostile = {
        "empty": b"",
        "not json": b"not a notebook",
        "a list": b"[]",
        "odd cells": b'{"cells": [1]}',
        "no source": b'{"cells": [{"cell_type": "code"}]}',
        "odd source": b'{"cells": [{"cell_type": "code", "source": [1]}]}',
        "many digits": b'{"cells": ' + b"9" * 5000 + b"}",
        "nested": b"[" * 10**6,
        "much code": json.dumps(
            {"cells": [{"cell_type": "code", "source": "1\n" * 10**6}]}
        ).encode(),
    }
    for name, content in hostile.items():
        (tmp_path / f"{name}.ipynb").write_bytes(content)
    with (tmp_path / "huge.ipynb").open("wb") as file:
        file.truncate(60_000_000)
    os.mkfifo(tmp_path / "pipe.ipynb")  # which one could read for ever
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "other" / "real.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    faults = {submission.name: submission.fault for submission in read_submissions(tmp_path)}
    assert faults.pop("other/real.ipynb") == ""
    assert set(faults) == {f"{name}.ipynb" for name in (*hostile, "huge", "pipe", "link")}
    assert all(faults.values())


def test_names_that_files_and_spreadsheets_cannot_take_end_nobody_s_grading(tmp_path):
    for name in (b"r\xe9ponse", b"a\nb", b"=HYPERLINK(0)", "\u202egpj".encode()):
        path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name + b".ipynb")))
        path.write_text("{}")
    marks = [mark for own in grade_folder(tmp_path) for mark in own]
    names = [mark.notebook for mark in marks]
    assert names == ["=HYPERLINK(0).ipynb", "a b.ipynb", "r\\xe9ponse.ipynb", "�gpj.ipynb"]
    write_marks(marks, tmp_path / "grades.csv")
    written = (tmp_path / "grades.csv").read_text(encoding="utf-8-sig").splitlines()
    assert written[1].startswith("'=HYPERLINK")


def test_a_reason_that_would_be_a_formula_is_text(tmp_path):
    for reason in ("=1+1", "+1", "-1", "@SUM(A1)"):
        mark = Mark(notebook="a", chapter="", check="", points=0, out_of=0, reason=reason)
        write_marks([mark], tmp_path / "grades.csv")
        with (tmp_path / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
            assert next(csv.DictReader(file))["reason"] == f"'{reason}"


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 2.5, "half an emoji \ud83d", [1, [2.0]], {"a": 1, 2: [None]}],
)
def test_plain_values_come_back_as_they_were(value):
    assert decode(json.loads(json.dumps(encode(value)))) == value


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.uint8])
def test_arrays_come_back_with_their_shape_and_kind(dtype):
    value = torch.arange(6).view(2, 3).to(dtype).T  # not contiguous
    back = decode(json.loads(json.dumps(encode(value))))
    assert back.dtype == dtype
    assert torch.equal(back, value)
    assert torch.equal(decode(encode(value.float().numpy())), value.float())
    assert decode(encode(np.float32(1.5))) == 1.5


def test_things_come_back_as_a_name_and_stand_ins_are_made_anew():
    assert decode(encode(...)) is None  # which checks take for an answer still to be written
    assert type(decode(encode(sys))).__name__ == "module"
    assert type(decode(encode(2**70))).__name__ == "int, too large"
    made = decode(encode(TextEncoder(vocab_size=3, hidden_size=2)))
    assert made.get_input_embeddings().weight.shape == (3, 2)


@pytest.mark.parametrize(
    "data",
    [
        {},
        [1],
        {"kind": 1},
        {"list": 3},
        {"dict": [[{"list": []}, 1]]},
        {"dict": [1]},
        {"array": "AAAA", "dtype": "float64", "shape": [1]},
        {"array": "AAAA", "dtype": "object", "shape": [1]},
        {"array": "", "dtype": "int8", "shape": [-1]},
        {"array": "", "dtype": "int8", "shape": [0] * 99},
        {"array": "", "dtype": "int8", "shape": "none"},
        {"stand_in": "torch", "fields": {"dict": []}},
        {"stand_in": "TextEncoder", "fields": {"dict": []}},
    ],
)
def test_what_no_grader_sent_is_no_value(data):
    with pytest.raises(ValueError, match=r"value|array|stand-in"):
        decode(data)


def test_the_environment_of_a_submission_holds_no_token_of_the_teacher_s(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("SDLEARN_QUICK", "1")
    given = sandbox._standing(tmp_path, None)["env"]
    assert "HF_TOKEN" not in given
    assert given["SDLEARN_QUICK"] == "1"
    assert given["HOME"] == given["IPYTHONDIR"] == str(tmp_path)


def test_a_sandbox_shows_no_home_and_no_submissions_but_python_and_the_work(tmp_path):
    words = sandbox.wrapped("bwrap", tmp_path / "work", [tmp_path])
    assert words[-2:] == ["--chdir", str(tmp_path / "work")]
    for path in (Path.home().resolve(), tmp_path):
        assert ["--tmpfs", str(path)] == words[words.index(str(path)) - 1 :][:2]
    shown = ["--bind", str(tmp_path / "work"), str(tmp_path / "work")]
    at = words.index("--bind")
    assert words[at : at + 3] == shown
    assert at > words.index(str(tmp_path))
    assert "--unshare-all" in words


LOOK = """
import os, socket
seen = {"user": os.getuid(), "processes": sum(name.isdigit() for name in os.listdir("/proc"))}
for place in ("secret", "submission"):
    try:
        seen[place] = open(PLACES[place]).read()
    except OSError:
        seen[place] = ""
for place in ("submission", "own"):
    try:
        open(PLACES[place], "w").write("cheated")
        seen["writes " + place] = True
    except OSError:
        seen["writes " + place] = False
try:
    socket.create_connection(("127.0.0.1", PLACES["port"]), 5).close()
    seen["network"] = True
except OSError:
    seen["network"] = False
"""


@pytest.fixture
def way(request, monkeypatch):
    """A user and a `bwrap` to run submissions with, where the system has them."""
    nobody, tool = "nobody" in request.param, shutil.which("bwrap") or ""
    if nobody and os.geteuid() != 0:
        pytest.skip("only root can run a notebook as nobody")
    if "bwrap" in request.param and not tool:
        pytest.skip("bwrap (the package bubblewrap) is not installed")
    found = sandbox.NOBODY if nobody else None, tool if "bwrap" in request.param else ""
    if not sandbox._works(*found):
        pytest.skip(f"this system does not let a notebook run as {request.param}")
    monkeypatch.setattr(sandbox, "protection", lambda: (*found, ""))
    return found


@pytest.mark.parametrize("way", ["nobody", "bwrap", "nobody in bwrap"], indirect=True)
def test_a_sandboxed_notebook_sees_its_own_folder_and_nothing_of_the_teacher_s(way, tmp_path):
    user, tool = way
    places = {"secret": tmp_path / "home" / "token", "submission": tmp_path / "class" / "bob.ipynb"}
    for path in places.values():
        path.parent.mkdir()
        path.write_text("private")
        path.chmod(0o600)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        sandbox.Session(sandbox.Limits(), [tmp_path / "class"]) as session,
    ):
        told = {name: str(path) for name, path in places.items()}
        told |= {"own": str(session.folder / "note"), "port": server.getsockname()[1]}
        session.ask(run=f"PLACES = {told!r}\n{LOOK}")
        seen = decode(session.ask(expression="seen")["value"])
        assert (session.folder / "note").read_text() == "cheated"
    assert seen["user"] == (0 if user is None else user)
    assert not seen["secret"]
    assert not seen["submission"]
    assert places["submission"].read_text() == "private"
    assert seen["network"] == (not tool)
    assert not tool or seen["processes"] <= 3


@pytest.mark.slow
@pytest.mark.parametrize("way", ["nobody", "bwrap", "nobody in bwrap"], indirect=True)
def test_an_honest_notebook_earns_its_points_in_every_sandbox(way, tmp_path):
    write(tmp_path / "class" / "a.ipynb", ASKED, *RIGHT.values())
    [marks] = grade_folder(tmp_path / "class", sandbox.Limits())
    assert sum(mark.points for mark in marks) == sum(mark.out_of for mark in marks) == 5


@pytest.mark.slow
def test_a_class_is_marked_by_its_answers_alone(tmp_path, capsys):
    folder = tmp_path / "class"
    every = list(RIGHT.values())
    write(folder / "alice.ipynb", ASKED, *every, *[f"checks.{n}({n})" for n in RIGHT])
    write(folder / "bob" / "late.ipynb", *every[:3], "half_gone = ...", "1 / 0")
    cheat = "checks.add_noise = lambda answer: checks.Right('add_noise', 99, 'trust me')"
    write(folder / "carol.ipynb", ASKED, cheat, "add_noise = 1", "print('5 of 5')")
    write(folder / "dave.ipynb", RIGHT["half_gone"], "import time; time.sleep(60)")
    (folder / "eve.ipynb").write_text("not a notebook")
    output = tmp_path / "grades.csv"
    words = ["grade", str(folder), "--output", str(output), "--cell-seconds", "20"]
    assert cli.main([*words, "--seconds", "40"]) == 0

    with output.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    points: dict = {}
    for row in rows:
        points[row["notebook"]] = points.get(row["notebook"], 0) + int(row["points"])
    assert points == {
        "alice.ipynb": 5,
        "bob/late.ipynb": 4,
        "carol.ipynb": 0,
        "dave.ipynb": 1,
        "eve.ipynb": 0,
    }
    reasons = {(row["notebook"], row["check"]): row["reason"] for row in rows}
    assert "takes your function itself" in reasons["carol.ipynb", "add_noise"]
    assert reasons["bob/late.ipynb", "half_gone"] == "not answered"
    assert "cannot be read" in reasons["eve.ipynb", ""]
    assert "alice.ipynb: 5 of 5" in capsys.readouterr().out


def test_a_folder_without_notebooks_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"holds no notebooks"):
        list(grade_folder(tmp_path))
    with pytest.raises(FileNotFoundError, match="no folder"):
        list(grade_folder(tmp_path / "none"))


def test_an_output_that_cannot_be_is_refused_before_anything_runs(tmp_path, capsys):
    write(tmp_path / "a.ipynb", "half_gone = 354")
    (tmp_path / "folder.csv").mkdir()
    for output in ("marks.xlsx", "folder.csv", "a.ipynb/grades.csv"):
        assert cli.main(["grade", str(tmp_path), "--output", str(tmp_path / output)]) == 2
        assert "sdlearn: " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_the_grading_keeps_the_marks_so_far_and_nothing_runs_on(tmp_path, ends):
    write(tmp_path / "a.ipynb", "half_gone = 354")
    write(tmp_path / "b.ipynb", "half_gone = 354", "import time; time.sleep(600)")
    output = tmp_path / "grades.csv"
    words = [sys.executable, "-m", "sdlearn", "grade", str(tmp_path), "--output", str(output)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as grading:
        while not output.exists():
            time.sleep(0.1)
            assert grading.poll() is None
        while not (running := psutil.Process(grading.pid).children()):
            time.sleep(0.1)
        grading.send_signal(ends)
        _, said = grading.communicate(timeout=120)
        assert grading.returncode == 130
    assert "grading was stopped" in said
    assert "1 graded so far" in said
    assert "Traceback" not in said
    assert not psutil.wait_procs(running, timeout=10)[1]
    assert "a.ipynb" in output.read_text(encoding="utf-8-sig")
