"""What a drawn picture says of itself, and files that appear whole or not at all."""

import errno
import json
import os
import re
import stat
from xml.etree import ElementTree

import pytest
from PIL import Image
from safetensors import SafetensorError

from sdlearn.data.png import file_hash, read_generated, save_generated
from sdlearn.models.writing import (
    full_disk_named,
    one_writer,
    prepare_folder,
    replaced_when_complete,
)

FACTS = {
    "prompt": "紫の髪の人,\nNegative prompt: none <&>",
    "negative_prompt": "眼鏡",
    "seed": 2**62,
    "model": "mini + style, Seed: 7",
    "steps": 20,
    "guidance_scale": 4.5,
    "sampler": "ddim",
}


def test_every_fact_of_a_drawn_picture_is_read_back(tmp_path):
    path = save_generated(Image.new("RGB", (40, 30), "red"), tmp_path / "a.png", **FACTS)
    generated = read_generated(path)
    assert {name: getattr(generated, name) for name in FACTS} == FACTS
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_other_programs_find_the_prompt_and_that_ai_made_it(tmp_path):
    path = save_generated(Image.new("RGB", (40, 30)), tmp_path / "a.png", **FACTS)
    with Image.open(path) as image:
        text = image.text
    assert text["parameters"].splitlines()[0] == "紫の髪の人,"
    assert text["parameters"].splitlines()[-1] == (
        f"Steps: 20, Sampler: DDIM, CFG scale: 4.5, Seed: {2**62}, Size: 40x30, "
        'Model: "mini + style, Seed: 7"'
    )
    assert text["Description"].startswith("Made by AI")


def test_the_xmp_is_well_formed_and_names_the_source_type(tmp_path):
    path = save_generated(Image.new("RGB", (40, 30)), tmp_path / "a.png", **FACTS)
    with Image.open(path) as image:
        description = next(
            element
            for element in ElementTree.fromstring(image.info["XML:com.adobe.xmp"]).iter()
            if element.tag.endswith("}Description")
        )
    source_type = next(value for value in description.attrib.values() if value)
    assert source_type.endswith("/digitalsourcetype/trainedAlgorithmicMedia")
    assert "Made by AI" in "".join(description.itertext())


def test_a_picture_from_elsewhere_does_not_say_how_it_was_drawn(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png does not say how it was drawn"):
        read_generated(tmp_path / "a.png")


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    def killed_half_way() -> None:
        with replaced_when_complete(tmp_path / "a.txt") as unfinished:
            unfinished.write_text("half")
            raise RuntimeError("killed")

    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError, match="killed"):
        killed_half_way()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write to the folder .*file"):
        prepare_folder(tmp_path / "file")


def test_other_programs_read_back_every_setting(tmp_path):
    """As A1111's own parser takes the last line apart."""
    facts = FACTS | {"sampler": "dpm++", "model_hash": "0123456789"}
    path = save_generated(Image.new("RGB", (40, 30)), tmp_path / "a.png", **facts)
    with Image.open(path) as image:
        line = image.text["parameters"].splitlines()[-1]
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', line)
    read = {name: json.loads(value) if value[0] == '"' else value for name, value in pairs}
    assert read == {
        "Steps": "20",
        "Sampler": "DPM++ 2M",
        "CFG scale": "4.5",
        "Seed": str(2**62),
        "Size": "40x30",
        "Model hash": "0123456789",
        "Model": "mini + style, Seed: 7",
    }


def test_the_hash_of_a_model_is_that_of_its_file(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"abc")
    assert file_hash(tmp_path / "a.safetensors") == "ba7816bf8f"


def test_pictures_of_two_runs_never_write_over_each_other(tmp_path):
    paths = [
        save_generated(Image.new("RGB", (4, 4), color), tmp_path / "a.png", new=True, **FACTS)
        for color in ("red", "blue", "green")
    ]
    assert [path.name for path in paths] == ["a.png", "a-2.png", "a-3.png"]
    assert [Image.open(path).getpixel((0, 0))[0] for path in paths] == [255, 0, 0]


def test_a_prompt_that_utf_8_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the prompt holds what is no UTF-8 text"):
        save_generated(
            Image.new("RGB", (4, 4)), tmp_path / "a.png", **(FACTS | {"prompt": "a \ud83d"})
        )
    assert not list(tmp_path.iterdir())


def test_what_is_written_may_be_read_as_far_as_the_umask_lets(tmp_path):
    before = os.umask(0o022)
    try:
        with replaced_when_complete(tmp_path / "a") as unfinished:
            unfinished.unlink()
            os.close(os.open(unfinished, os.O_CREAT, 0o600))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_second_run_into_a_folder_is_refused_while_the_first_writes(tmp_path):
    words = rf"another run is writing to {tmp_path}: wait until it has ended"
    with one_writer(tmp_path), pytest.raises(ValueError, match=words):
        one_writer(tmp_path).__enter__()
    with one_writer(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: full")]
)
def test_a_full_disk_is_named_with_what_mends_it(error, tmp_path):
    words = r"a\.png cannot be written .*: free some space"
    with pytest.raises(OSError, match=words), full_disk_named(tmp_path / "a.png"):
        raise error
