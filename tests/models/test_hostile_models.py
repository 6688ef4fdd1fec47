"""Models and artefacts with something wrong in them: a sentence, and nothing is fetched or run."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_lora_files import DIFFUSERS, KOHYA, trained
from test_single_file import reduced, stand_in

from sdlearn.finetune import TextualInversion
from sdlearn.models import load, save_single_file
from sdlearn.models.architectures import ARCHITECTURES


@pytest.fixture
def folder(tiny_folder, tmp_path, monkeypatch):
    """A model's folder, on a machine that would ask the hub, and must not."""
    for name in ("socket.getaddrinfo", "socket.create_connection", "socket.socket.connect"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("the hub was asked"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(tiny_folder, tmp_path / "owner" / "model")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("missing", ["tokenizer", "scheduler", "text_encoder", "vae", "unet"])
def test_a_folder_that_lacks_a_part_never_leads_to_the_hub(missing, folder):
    shutil.rmtree(folder / missing)
    with pytest.raises((FileNotFoundError, ValueError), match=missing):
        load("owner/model")


def test_a_part_that_names_a_model_elsewhere_is_refused(folder):
    name = "adapter_config.json"
    (folder / "text_encoder" / name).write_text('{"base_model_name_or_path": "owner/other"}')
    with pytest.raises(ValueError, match=r"adapter_config\.json names a model elsewhere"):
        load(folder)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "1", None])
def test_a_vae_that_scales_to_nothing_is_refused(value, folder):
    edit(folder / "vae" / "config.json", scaling_factor=value)
    with pytest.raises(ValueError, match=r"has a scaling_factor of .*: mend its"):
        load(folder)


@pytest.mark.parametrize("name", ["logging", "utils", "UNet2DConditionModel", "os", 3, ["a"], None])
def test_a_name_that_is_no_schedulers_is_not_touched(name, folder, tiny, tmp_path):
    edit(folder / "scheduler" / "scheduler_config.json", _class_name=name)
    with pytest.raises(ValueError, match="names no scheduler of diffusers"):
        load(folder)
    path = save_single_file(tiny, tmp_path / "a.safetensors")
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["sdlearn"])
    header["parts"]["noise_scheduler"]["_class_name"] = name
    save_file(load_file(path), path, metadata={"sdlearn": json.dumps(header)})
    with pytest.raises(ValueError, match="names no scheduler of diffusers"):
        load(path)


@pytest.mark.parametrize("betas", [{"beta_start": float("nan")}, {"beta_end": 3.0}])
def test_betas_that_are_no_shares_are_refused(betas, folder):
    edit(folder / "scheduler" / "scheduler_config.json", **betas)
    with pytest.raises(ValueError, match="betas that are no shares"):
        load(folder)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{", "[" * 100_000, '{"n": ' + "1" * 5000])
def test_what_should_be_an_object_and_is_none_is_named(text, folder, tiny, tmp_path):
    (folder / "model_index.json").write_text(text)
    with pytest.raises(ValueError, match=r"model_index\.json cannot be read as a JSON object"):
        load(folder)
    word = TextualInversion(tiny).save(tmp_path / "word.safetensors")
    lora = trained(tiny).save(tmp_path / "my-lora") / DIFFUSERS
    for path, key in ((word, "sdlearn"), (lora, "lora_adapter_metadata"), (lora, "sdlearn")):
        save_file(load_file(path), tmp_path / "bad.safetensors", metadata={key: text})
        with pytest.raises(ValueError, match=r"bad\.safetensors, .*header: "):
            tiny.with_artefact(tmp_path / "bad.safetensors")
    (lora.parent / "artefact.json").write_text(text)
    with pytest.raises(ValueError, match=r"artefact\.json cannot be read as a JSON object"):
        tiny.with_artefact(lora.parent)


@pytest.mark.parametrize(
    "change",
    [
        {"unet.lora_alpha": "4"},
        {"unet.lora_alpha": float("nan")},
        {"unet.alpha_pattern": ["to_q"]},
        {"unet.alpha_pattern": {"(a+)+$": 1}},
    ],
)
def test_a_loras_alpha_is_a_number(change, tiny, tmp_path):
    path = trained(tiny).save(tmp_path / "my-lora") / DIFFUSERS
    metadata = {"lora_adapter_metadata": json.dumps(change)}
    save_file(load_file(path), tmp_path / "bad.safetensors", metadata=metadata)
    with pytest.raises(ValueError, match=r"bad\.safetensors, its header: .*alpha"):
        tiny.with_artefact(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    "rows",
    [
        torch.full((1, 16), float("nan")),
        torch.tensor([[float("inf")] * 16]),
        torch.ones((1, 16), dtype=torch.int64),
        torch.ones(()),
        torch.ones((0, 16)),
        torch.ones((1, 1, 16)),
    ],
)
def test_a_words_rows_are_finite_numbers(rows, tiny, tmp_path):
    save_file({"<cat>": rows}, tmp_path / "cat.safetensors")
    with pytest.raises(ValueError, match=r"cat\.safetensors holds"):
        tiny.with_artefact(tmp_path / "cat.safetensors")


@pytest.mark.parametrize("side", ["lora_down.weight", "lora_up.weight", "alpha"])
def test_a_loras_weights_are_finite_numbers(side, tiny, tmp_path):
    tensors = load_file(trained(tiny).save(tmp_path / "my-lora") / KOHYA)
    key = next(key for key in tensors if key.endswith(side))
    tensors[key] = torch.full_like(tensors[key], float("nan"))
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match="what are no finite numbers"):
        tiny.with_artefact(tmp_path / "bad.safetensors")


def test_merges_of_the_first_months_open(tmp_path, monkeypatch):
    sd = stand_in("sd15")
    monkeypatch.setitem(ARCHITECTURES, "sd15", reduced("sd15"))
    weights = load_file(save_single_file(sd, tmp_path / "a.safetensors"))
    start = "cond_stage_model.transformer."
    old = {key.replace(f"{start}text_model.", start): tensor for key, tensor in weights.items()}
    save_file(old, tmp_path / "old.safetensors")
    again = load(tmp_path / "old.safetensors", device="cpu")
    for key, weight in sd.text_encoder.state_dict().items():
        assert torch.equal(again.text_encoder.state_dict()[key], weight)


def test_scales_of_weights_in_eight_bits_are_heeded(tmp_path, monkeypatch):
    sd = stand_in("sd15")
    monkeypatch.setitem(ARCHITECTURES, "sd15", reduced("sd15"))
    weights = load_file(save_single_file(sd, tmp_path / "a.safetensors"))
    key = "model.diffusion_model.time_embed.0.weight"
    small = (weights[key] / 0.5).to(torch.float8_e4m3fn)
    mark = {"model.diffusion_model.scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}
    scale = {key.replace("weight", "scale_weight"): torch.tensor(0.5)}
    save_file(weights | mark | scale | {key: small}, tmp_path / "fp8.safetensors")
    again = load(tmp_path / "fp8.safetensors", device="cpu")
    assert torch.equal(again.unet.time_embedding.linear_1.weight, small.float() * 0.5)


def test_a_header_that_does_not_say_how_a_model_is_built_is_named(tiny, tmp_path):
    path = save_single_file(tiny, tmp_path / "a.safetensors")
    weights = load_file(path)
    for parts in ({"unet": []}, [1], "x", {"noise_scheduler": {}}):
        header = json.dumps({"parts": parts})
        save_file(weights, tmp_path / "bad.safetensors", metadata={"sdlearn": header})
        with pytest.raises(ValueError, match=r"bad\.safetensors, its header: "):
            load(tmp_path / "bad.safetensors")
