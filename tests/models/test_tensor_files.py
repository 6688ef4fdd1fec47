"""`.safetensors` files: whole or not at all, and named where one is broken."""

import os
import shutil
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from sdlearn.finetune import Imagic, LoRA, TextualInversion, load_imagic
from sdlearn.models import load, save_single_file, with_artefact
from sdlearn.models.tensor_files import write_tensors


@pytest.mark.parametrize(
    ("method", "name", "read"),
    [
        (TextualInversion, "my-character.safetensors", with_artefact),
        (LoRA, "pytorch_lora_weights.safetensors", with_artefact),
        (partial(Imagic, target_prompt="a toy"), "embeddings.safetensors", load_imagic),
    ],
)
def test_a_broken_artefact_is_named(tiny, tmp_path, method, name, read):
    method(tiny).save(tmp_path)
    cut_short(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} is broken .*: copy or download it again"):
        read(tiny, tmp_path)


def test_a_broken_model_is_named(tiny, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    cut_short(folder / "text_encoder" / "model.safetensors")
    with pytest.raises(ValueError, match=r"text_encoder is broken .*: copy or download it again"):
        load(folder)
    file = save_single_file(tiny, tmp_path / "whole.safetensors")
    cut_short(file)
    with pytest.raises(ValueError, match=r"whole\.safetensors is broken .*: copy or download it"):
        load(file)


def cut_short(path):
    os.truncate(path, path.stat().st_size - 1)


def test_what_cannot_be_written_leaves_the_file_of_before(tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.safetensors"
    write_tensors(path, {"a": torch.ones(2, dtype=torch.float16)}, {})
    assert load_file(path)["a"].dtype == torch.float32

    def half(tensors, unfinished, metadata):
        unfinished.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("sdlearn.models.tensor_files.save_file", half)
    with pytest.raises(OSError, match="no space left"):
        write_tensors(path, {"a": torch.zeros(2)}, {})
    assert torch.equal(load_file(path)["a"], torch.ones(2))
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]
