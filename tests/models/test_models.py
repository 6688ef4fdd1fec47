import copy
import json
import shutil
import subprocess
import sys

import pytest
import torch
from diffusers import StableDiffusionPipeline
from runs import draw
from safetensors.torch import load_file
from transformers import CLIPTextModel

from sdlearn.models import load, prompts, save_text_encoder
from sdlearn.models.learned_embeds import with_token_rows, write_learned_embeds
from sdlearn.models.prompts import expand_prompt


def test_sizes_follow_from_the_configuration(tiny):
    assert tiny.vae_reduction == 4
    assert tiny.image_size == 32
    assert draw(tiny.pipeline()).shape == (1, 3, 32, 32)


def test_a_loaded_model_is_frozen_and_in_evaluation_mode(tiny):
    assert not any(p.requires_grad for model in tiny.models for p in model.parameters())
    assert not any(model.training for model in tiny.models)


def test_encode_prompt_equals_the_pipelines(tiny):
    ours = tiny.encode_prompt(["a photo of a person", ""])
    theirs, _ = tiny.pipeline().encode_prompt(["a photo of a person", ""], "cpu", 1, False)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_the_folder_opens_in_a_plain_pipeline_and_draws_the_same(tiny, tiny_folder):
    plain = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    ours = tiny.pipeline(scheduler=plain.scheduler)
    torch.testing.assert_close(draw(ours), draw(plain), rtol=1e-4, atol=1e-4)


def test_a_text_encoder_is_saved_with_the_keys_that_every_version_reads(tiny, tmp_path):
    built = CLIPTextModel(tiny.text_encoder.config)
    for number, model in enumerate((built, tiny.text_encoder)):
        folder = save_text_encoder(model, tmp_path / str(number))
        state_dict = load_file(folder / "model.safetensors")
        assert all(key.startswith("text_model.") for key in state_dict)
        assert not any(key.startswith("text_model.text_model.") for key in state_dict)
        again = CLIPTextModel.from_pretrained(folder).state_dict()
        assert again.keys() == model.state_dict().keys()
        assert all(torch.equal(again[key], value) for key, value in model.state_dict().items())
        assert json.loads((folder / "config.json").read_text())["architectures"] == [
            "CLIPTextModel"
        ]


def test_half_precision_weights_are_saved_as_they_are_and_loaded_as_float32(tiny, tmp_path):
    half = copy.deepcopy(tiny.text_encoder).half()
    folder = save_text_encoder(half, tmp_path)
    saved = load_file(folder / "model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float16}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"


def test_pickled_weights_are_refused_with_the_reason(tiny_folder, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_folder, folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(
        folder / "unet" / "diffusion_pytorch_model.bin"
    )
    with pytest.raises(ValueError, match="runs code"):
        load(folder)
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match="runs code"):
        load(tmp_path / "model.ckpt")


def test_what_cannot_be_loaded_is_refused_in_words(tiny_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match='"mini", "sd15"'):
        load("no-such-model")
    with pytest.raises(FileNotFoundError, match=r"model_index\.json"):
        load(tmp_path)
    with pytest.raises(ValueError, match="float16"):
        load(tiny_folder, device="cpu", dtype=torch.float16)
    folder = tmp_path / "other"
    shutil.copytree(tiny_folder, folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusion3Pipeline"
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="is a StableDiffusion3Pipeline"):
        load(folder)


def test_a_size_that_the_unet_cannot_halve_is_refused(tiny):
    tiny.check_size(32)
    with pytest.raises(ValueError, match="multiple of 8"):
        tiny.check_size(36)


def test_it_is_said_what_of_a_prompt_is_not_read_three_times_at_most(tiny, monkeypatch):
    monkeypatch.setattr(prompts, "WARNED", set())
    long = ["red " * 22 + f"{word} toy" for word in ("a", "of", "photo", "person")]
    with pytest.warns(UserWarning, match="is not read: a prompt has 24 tokens at most") as said:
        tiny.tokenize(["a toy", *long, *long])
    assert len(said) == 3
    assert str(said[0].message).startswith('"a toy" is not read')
    assert str(said[2].message).endswith("has 26; others are cut without a word")


def test_a_token_of_several_vectors_is_written_out_once(tiny):
    tokenizer = with_token_rows(tiny, "<cat>", torch.zeros(3, 16)).tokenizer
    expanded = "a <cat> <cat>_1 <cat>_2, red"
    assert expand_prompt("a <cat>, red", tokenizer) == expanded
    assert expand_prompt(expanded, tokenizer) == expanded
    assert expand_prompt("a cat", tokenizer) == "a cat"


def test_a_textual_inversion_file_from_elsewhere_loads_and_changes_nothing_else(tiny, tmp_path):
    before = copy.deepcopy(tiny.text_encoder.state_dict())
    rows = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    path = write_learned_embeds(tmp_path / "cat.safetensors", "<cat>", [rows], {})
    ours = tiny.with_artefact(path)
    plain = copy.deepcopy(tiny).pipeline()
    plain.load_textual_inversion(str(path))
    prompt = "a photo of a <cat>"
    assert torch.equal(draw(ours.pipeline(), prompt), draw(plain, prompt))
    assert not torch.equal(draw(ours.pipeline(), prompt), draw(tiny.pipeline(), prompt))
    after = tiny.text_encoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert "<cat>" not in tiny.tokenizer.get_vocab()


def test_an_artefact_that_does_not_fit_is_refused(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match="no artefact"):
        tiny.with_artefact(tmp_path / "missing")
    with pytest.raises(ValueError, match="training run saved"):
        tiny.with_artefact(tmp_path)
    wide = write_learned_embeds(tmp_path / "wide.safetensors", "<cat>", [torch.zeros(1, 99)], {})
    with pytest.raises(ValueError, match="width 99"):
        tiny.with_artefact(wide)
    (tmp_path / "cat.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="convert it to safetensors"):
        tiny.with_artefact(tmp_path / "cat.pt")


def test_opening_a_model_says_nothing():
    code = "import sdlearn; sdlearn.load('mini').pipeline()"
    opened = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (opened.returncode, opened.stdout, opened.stderr) == (0, "", "")
