"""What a drawn picture says of itself, and files that appear whole or not at all."""

from xml.etree import ElementTree

import pytest
from PIL import Image

from sdlearn.data.png import read_generated, save_generated
from sdlearn.models.writing import prepare_folder, replaced_when_complete

FACTS = {
    "prompt": "紫の髪の人,\nNegative prompt: none <&>",
    "negative_prompt": "眼鏡",
    "seed": 2**62,
    "model": "mini + <my-character>",
    "steps": 20,
    "guidance_scale": 4.5,
    "sampler": "quasi-taylor-2",
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
        f"Steps: 20, Sampler: quasi-taylor-2, CFG scale: 4.5, Seed: {2**62}, Size: 40x30, "
        "Model: mini + <my-character>"
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
