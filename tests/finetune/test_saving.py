"""One folder, saved to again and again: what is drawn with is what was saved last."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from sdlearn.finetune import DreamBooth, FullFineTuning, Imagic, LoRA, TextualInversion
from sdlearn.finetune.imagic.result import is_imagic, load_imagic
from sdlearn.finetune.saving import UNFINISHED
from sdlearn.models import with_artefact

TOKEN = "<toy>"


def changed(method):
    """The method with other weights than it began with."""
    with torch.no_grad():
        for group in method.parameter_groups(1.0):
            for parameter in group["params"]:
                parameter += 0.1
    return method


def methods(sd):
    """One of every kind of artefact, by name."""
    quiet = {"with_prior_preservation": False}
    return {
        "lora": changed(LoRA(sd, rank=2)),
        "dreambooth": changed(DreamBooth(sd, **quiet)),
        "with text encoder": changed(DreamBooth(sd, train_text_encoder=True, **quiet)),
        "dreambooth-lora": changed(DreamBooth(sd, lora_rank=2, **quiet)),
        "full": changed(FullFineTuning(sd)),
        "word": changed(TextualInversion(sd, placeholder_token=TOKEN)),
        "another word": changed(TextualInversion(sd, placeholder_token="<other>")),
    }


def states(sd):
    """What the U-Net makes of noise under a prompt with the word, if the model knows it."""
    conditioning = sd.condition([f"a photo of {TOKEN}"]).encoder_hidden_states
    latents = torch.ones(1, 4, 8, 8)
    with torch.no_grad():
        return sd.unet(latents, 500, conditioning).sample


@pytest.mark.parametrize("first", ["lora", "with text encoder", "full", "word", "imagic"])
def test_what_is_saved_takes_the_place_of_what_was_there(first, tiny, tmp_path):
    folder = tmp_path / "learnt"
    every = methods(tiny)
    for name, method in every.items():
        shutil.rmtree(folder, ignore_errors=True)
        earlier = Imagic(tiny, target_prompt="a toy") if first == "imagic" else every[first]
        earlier.save(folder)
        (folder / "notes.txt").write_text("mine")
        method.save(folder)
        both = first == "word" and name == "another word"  # stay beside each other
        expected = every["word"].sd if both else method.sd
        assert torch.equal(states(with_artefact(tiny, folder)), states(expected)), name
        assert not is_imagic(folder)
        assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("first", ["lora", "dreambooth", "word"])
def test_an_edit_takes_the_place_of_what_was_there(first, tiny, tmp_path):
    methods(tiny)[first].save(tmp_path)
    Imagic(tiny, target_prompt="a toy").save(tmp_path)
    assert load_imagic(tiny, tmp_path).sd is tiny
    assert {path.name for path in tmp_path.iterdir()} == {
        "README.md",
        "artefact.json",
        "embeddings.safetensors",
    }


def test_files_that_saving_did_not_write_are_never_taken_away(tiny, tmp_path):
    every = methods(tiny)
    every["dreambooth"].save(tmp_path)
    kept = [
        tmp_path / "unet" / "checkpoint-000002" / "model.safetensors",
        tmp_path / "text_encoder" / "notes.txt",
        tmp_path / "pytorch_lora_weights.safetensors",
        tmp_path / "learned_embeds.safetensors",
        tmp_path / "my-toy.safetensors",
        tmp_path / "broken.safetensors",
    ]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"a": torch.ones(1)}, path)
    kept[-1].write_bytes(b"")
    every["word"].save(tmp_path / "my-toy-2.safetensors")
    every["another word"].save(tmp_path)
    assert all(path.is_file() for path in [*kept, tmp_path / "my-toy-2.safetensors"])
    assert not (tmp_path / "unet" / "config.json").exists()


def test_a_whole_model_is_not_broken_by_what_is_saved_beside_it(tiny, tmp_path):
    whole = FullFineTuning(tiny, save_whole_model=True)
    for _ in range(2):  # the same again may take its place
        whole.save(tmp_path)
    for method in methods(tiny).values():
        with pytest.raises(ValueError, match="holds a whole model"):
            method.save(tmp_path)
    assert (tmp_path / "unet" / "config.json").is_file()


def test_the_record_says_what_is_drawn_with_and_not_what_else_lies_there(tiny, tmp_path):
    """A LoRA that was left in a DreamBooth's folder by hand used to be drawn with instead."""
    every = methods(tiny)
    every["dreambooth"].save(tmp_path / "parts")
    every["lora"].save(tmp_path / "lora")
    shutil.copy(tmp_path / "lora" / "pytorch_lora_weights.safetensors", tmp_path / "parts")
    drawn = states(with_artefact(tiny, tmp_path / "parts"))
    assert torch.equal(drawn, states(every["dreambooth"].sd))
    shutil.copytree(tmp_path / "parts" / "unet", tmp_path / "lora" / "unet")
    assert torch.equal(states(with_artefact(tiny, tmp_path / "lora")), states(every["lora"].sd))
    (tmp_path / "parts" / "artefact.json").write_text('{"method": "lora"}')
    (tmp_path / "parts" / "pytorch_lora_weights.safetensors").unlink()
    with pytest.raises(ValueError, match="says lora, and no LoRA is there"):
        with_artefact(tiny, tmp_path / "parts")


class Full(OSError):
    """The disk is full."""


@pytest.mark.parametrize("first", ["lora", "with text encoder", "word"])
def test_what_was_saved_stays_until_the_new_is_written(first, tiny, tmp_path, monkeypatch):
    """It used to be taken away first: a full disk, or a kill, left neither the old nor the new."""
    every = methods(tiny)
    every[first].save(tmp_path / "learnt")
    kept = files(tmp_path)

    def full(*_, **__):
        raise Full

    for name in ("with text encoder", "dreambooth-lora", "word"):
        with monkeypatch.context() as broken:
            broken.setattr("sdlearn.finetune.parts.write_record", full)
            broken.setattr("sdlearn.finetune.textual_inversion.write_learned_embeds", full)
            with pytest.raises(Full):
                every[name].save(tmp_path / "learnt")
            with pytest.raises(Full):
                every[name].save(tmp_path / "another")
        assert files(tmp_path) == kept
    assert torch.equal(states(with_artefact(tiny, tmp_path / "learnt")), states(every[first].sd))


def test_what_a_killed_save_left_behind_is_no_hindrance(tiny, tmp_path):
    every = methods(tiny)
    every["dreambooth"].save(tmp_path / "learnt")
    half = tmp_path / "learnt" / UNFINISHED / "learnt" / "unet" / "config.json"
    half.parent.mkdir(parents=True)
    half.write_text("{")
    drawn = states(with_artefact(tiny, tmp_path / "learnt"))
    assert torch.equal(drawn, states(every["dreambooth"].sd))
    every["lora"].save(tmp_path / "learnt")
    assert torch.equal(states(with_artefact(tiny, tmp_path / "learnt")), states(every["lora"].sd))
    assert {path.name for path in (tmp_path / "learnt").iterdir()} == {
        "README.md",
        "artefact.json",
        "learnt_comfyui_a1111.safetensors",
        "pytorch_lora_weights.safetensors",
    }


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
