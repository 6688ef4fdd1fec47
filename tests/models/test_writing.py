"""Files that belong together change together, and two programs never write to one folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from sdlearn.finetune import LoRA, TextualInversion
from sdlearn.models import writing
from sdlearn.models.artefact import with_artefact
from sdlearn.models.records import read_record
from sdlearn.models.writing import (
    LOCK_NAME,
    MOVING,
    finish_moving,
    one_writer,
    prepare_file,
    prepare_folder,
)

HOLD = """
import sys, time
from pathlib import Path
from sdlearn.models.writing import one_writer
with one_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another program is writing to."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    yield tmp_path
    holder.kill()
    holder.wait()


def test_a_folder_that_another_program_writes_to_is_refused(held):
    refused = pytest.raises(ValueError, match=r"another run is writing to .* name another folder")
    with refused, one_writer(held):
        pass


def test_a_killed_program_keeps_no_folder(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    holder.stdout.readline()
    holder.kill()
    holder.wait()
    assert (tmp_path / LOCK_NAME).exists()
    with one_writer(tmp_path, again=True), one_writer(tmp_path, again=True):
        refused = pytest.raises(ValueError, match="another run is writing")
        with refused, one_writer(tmp_path):
            pass
    assert not (tmp_path / LOCK_NAME).exists()


def test_the_next_run_removes_the_temporary_files_of_killed_ones_and_no_others(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {
        "killed": f".a.png.{gone.pid}.tmp",
        "just written": f".b.png.{gone.pid}.tmp",
        "at work": f".a.png.{os.getpid()}.tmp",
        "somebody's": "notes.tmp",
    }
    for what, name in names.items():
        (tmp_path / name).touch()
        if what != "just written":
            os.utime(tmp_path / name, (time.time() - 60,) * 2)
    prepare_folder(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names.values()) - {names["killed"]}


@pytest.mark.parametrize("moves", range(5))
def test_a_save_that_is_killed_between_two_files_never_leaves_parts_of_two_runs(
    moves, tiny, tmp_path, monkeypatch
):
    first, second = LoRA(tiny, rank=2), LoRA(tiny, rank=4)
    folder = first.save(tmp_path / "learnt")
    done, replace = [], os.replace

    def killed(source, target):
        if Path(target).parent == folder:
            if len(done) == moves:
                raise KeyboardInterrupt
            done.append(target)
        replace(source, target)

    monkeypatch.setattr(writing.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        second.save(folder)
    monkeypatch.undo()
    rank = read_record(folder)["config"]["rank"]  # whoever reads brings it to its end
    assert rank == (2 if moves == 0 else 4)
    for file in folder.glob("*.safetensors"):
        downs = [t for key, t in load_file(file).items() if "down.weight" in key]
        assert {len(down) for down in downs} == {rank}
    assert not (folder / MOVING).exists()
    with_artefact(tiny, folder)


def test_what_a_killed_save_was_to_take_away_goes_with_it(tiny, tmp_path, monkeypatch):
    folder = LoRA(tiny, rank=2).save(tmp_path / "learnt")
    monkeypatch.setattr(writing, "finish_moving", lambda folder: None)
    TextualInversion(tiny).save(folder)
    monkeypatch.undo()
    assert (folder / "pytorch_lora_weights.safetensors").exists()
    finish_moving(folder)
    assert [path.name for path in folder.glob("*.safetensors")] == ["my-character.safetensors"]
    assert not (folder / "artefact.json").exists()


def test_what_cannot_be_finished_is_told(tiny, tmp_path, monkeypatch):
    folder = LoRA(tiny, rank=2).save(tmp_path / "learnt")
    (folder / MOVING).mkdir()

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(writing, "_move", refused)
    with pytest.raises(ValueError, match="holds parts of two runs, as a save was killed"):
        with_artefact(tiny, folder)


def test_what_no_file_can_be_called_is_known_before(tmp_path):
    with pytest.raises(OSError, match=r"cannot write the file .*too long.*: give it another name"):
        prepare_file(tmp_path / ("a" * 250))
    with pytest.raises(ValueError, match="is a folder, where a file has to go"):
        prepare_file(tmp_path)
    with pytest.raises(ValueError, match="no UTF-8 text"):
        prepare_file(tmp_path / "half \ud83d")
    assert not list(tmp_path.iterdir())
