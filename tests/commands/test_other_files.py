"""What a LoRA's two files, its card and the terminal say to people of other programs."""

import json
from base64 import b64decode
from dataclasses import replace
from io import BytesIO

from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import equal, ones

from sdlearn import cli
from sdlearn.data import write_pictures
from sdlearn.models.tensor_files import add_to_header, write_tensors


def header(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_each_file_card_and_terminal_say_which_programs_it_is_for(
    pictures, tiny_folder, tmp_path, capsys
):
    texts = ["sks person, red", "sks person, blue", "sks person, red", "sks person, red"]
    captioned = [replace(p, text=t) for p, t in zip(pictures, texts, strict=True)]
    write_pictures(tmp_path / "pictures", captioned)
    words = ["train", "lora", str(tmp_path / "pictures"), "--output", str(tmp_path / "my-style")]
    words += ["--model", str(tiny_folder), "--max-train-steps", "1", "--samples", "1"]
    assert cli.main([*words, "--prompt", "sks person, {text}"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "my-style")
    card = (tmp_path / "my-style" / "README.md").read_text()
    for words in (said.err, card):
        assert "my-style_comfyui_a1111.safetensors" in words
        assert "pytorch_lora_weights.safetensors" in words
        assert "ComfyUI, A1111, Forge, kohya's scripts and OneTrainer" in words
    files = sorted((tmp_path / "my-style").glob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        thumbnail = header(file)["modelspec.thumbnail"]
        kind, _, data = thumbnail.partition(",")
        assert kind == "data:image/jpeg;base64"
        assert Image.open(BytesIO(b64decode(data)), formats=["JPEG"]).size == (32, 32)
    tags = json.loads(header(files[0])["ss_tag_frequency"])["my-style"]
    assert tags == {"sks person": 8, "red": 3, "blue": 1}


def test_a_headers_entries_are_added_and_the_weights_stay_byte_for_byte(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"one": ones(3, 5), "two": ones(1)}, {"kept": "as it was"})
    before, mode = load_file(path), path.stat().st_mode
    add_to_header(path, {"modelspec.title": "夢", "kept": "new"})
    assert header(path) == {"format": "pt", "kept": "new", "modelspec.title": "夢"}
    after = load_file(path)
    assert before.keys() == after.keys()
    assert all(equal(before[name], after[name]) for name in before)
    assert path.stat().st_mode == mode
