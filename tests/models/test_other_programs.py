"""What other programs read of our files: key by key, by names that are put together here anew."""

import json

import pytest
import torch
from runs import draw
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_lora_files import DIFFUSERS, KOHYA, trained

from sdlearn.finetune import TextualInversion
from sdlearn.models.architectures import SD15, SDXL
from sdlearn.models.lora import layers_of, parts_of
from sdlearn.models.lora_names import known_names, kohya_name
from sdlearn.models.registry import shipped_folder
from sdlearn.plan.blank import blank_model

RESNET = ("in_layers.2", "emb_layers.1", "out_layers.3")
ATTENTION = [f"attn{i}.to_{name}" for i in (1, 2) for name in ("q", "k", "v", "out.0")]
BLOCK = [*ATTENTION, "ff.net.0.proj", "ff.net.2"]
CLIP_ATTENTION = [f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")]


def resnet(place, shortcut):
    return [f"{place}.{name}" for name in (*RESNET, *["skip_connection"] * shortcut)]


def transformer(place, depth):
    blocks = [f"{place}.transformer_blocks.{i}.{name}" for i in range(depth) for name in BLOCK]
    return [f"{place}.proj_in", *blocks, f"{place}.proj_out"]


def sdxl_unet():
    """The layers of SDXL's U-Net, after Stability's `openaimodel.py`: blocks in one row."""
    names = ["input_blocks.0.0", "time_embed.0", "time_embed.2", "label_emb.0.0", "label_emb.0.2"]
    for place, depth in zip((1, 2, 4, 5, 7, 8), (0, 0, 2, 2, 10, 10), strict=True):
        names += resnet(f"input_blocks.{place}.0", shortcut=place in (4, 7))
        names += transformer(f"input_blocks.{place}.1", depth) if depth else []
    names += ["input_blocks.3.0.op", "input_blocks.6.0.op"]
    names += resnet("middle_block.0", shortcut=False) + resnet("middle_block.2", shortcut=False)
    names += transformer("middle_block.1", 10)
    for place in range(9):
        depth = (10, 2, 0)[place // 3]
        names += resnet(f"output_blocks.{place}.0", shortcut=True)
        names += transformer(f"output_blocks.{place}.1", depth) if depth else []
    return [*names, "output_blocks.2.2.conv", "output_blocks.5.2.conv", "out.2"]


def clip(prefix, layers, ends):
    return [
        f"{prefix}_text_model_encoder_layers_{i}_{end.replace('.', '_')}"
        for i in range(layers)
        for end in ends
    ]


def written(sd, ends=("",), text_ends=("",)):
    """Our names of the layers whose paths end so, but for the projection that nobody updates."""
    return [
        kohya_name(sd, part, path)
        for part, model in parts_of(sd).items()
        for path in layers_of(model)
        if path.endswith(tuple(ends if part == "unet" else text_ends)) and path != "text_projection"
    ]


@pytest.fixture(scope="module")
def sdxl():
    return blank_model(SDXL, torch.float32)


def test_sdxls_layers_have_the_names_that_sd_scripts_comfyui_and_onetrainer_know(sdxl):
    unet = [f"lora_unet_{name.replace('.', '_')}" for name in sdxl_unet()]
    clip_layers = [*CLIP_ATTENTION, "mlp.fc1", "mlp.fc2"]
    text = clip("lora_te1", 12, clip_layers) + clip("lora_te2", 32, clip_layers)
    every = written(sdxl)
    assert sorted(every) == sorted(unet + text)
    assert len(every) == 1058
    attention = written(sdxl, [f".{name}" for name in BLOCK], CLIP_ATTENTION)
    assert sum(name.startswith("lora_unet") for name in attention) == 700
    assert len(attention) == 876


def test_stable_diffusion_1s_layers_keep_diffusers_names():
    sd = blank_model(SD15, torch.float32)
    attention = written(sd, [f".{name}" for name in BLOCK], CLIP_ATTENTION)
    assert sum(name.startswith("lora_unet") for name in attention) == 160
    assert len(attention) == 208
    assert len(written(sd)) == 354
    one = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    assert f"lora_unet_{one}" in attention
    assert "lora_te_text_model_encoder_layers_11_self_attn_out_proj" in attention


def test_every_layer_of_a_locon_of_sdxl_is_known_by_stabilitys_name(sdxl):
    names = known_names(sdxl)
    for place in sdxl_unet():
        part, path = names[f"lora_unet_{place.replace('.', '_')}"]
        assert part == "unet"
        assert names[f"diffusion_model.{place}"] == (part, path)  # ComfyUI's LoraSave
        assert names[f"lora_unet_{path.replace('.', '_')}"] == (part, path)  # ours of before


def test_a_loras_file_says_what_a1111_forge_and_kohya_sort_it_by(tiny, tiny_xl, tmp_path):
    for sd, version, architecture in (
        (tiny, "sd_v1", "stable-diffusion-v1/lora"),
        (tiny_xl, "sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora"),
    ):
        folder = trained(sd, rank=3, alpha=6.0, prompt="a sks toy").save(tmp_path / sd.name / "toy")
        with safe_open(folder / "toy_comfyui_a1111.safetensors", "pt") as file:
            metadata = file.metadata()
        assert metadata["ss_base_model_version"] == version
        assert metadata["modelspec.architecture"] == architecture
        known = {"ss_v2": "False", "ss_network_dim": "3", "ss_network_alpha": "6.0"}
        known |= {"ss_output_name": "toy", "ss_network_module": "networks.lora"}
        known |= {"modelspec.sai_model_spec": "1.0.0", "modelspec.prediction_type": "epsilon"}
        known |= {"modelspec.title": "toy", "modelspec.trigger_phrase": "a sks toy"}
        known |= {"modelspec.resolution": f"{sd.image_size}x{sd.image_size}"}
        assert known.items() <= metadata.items()
        assert json.loads(metadata["ss_tag_frequency"]) == {"toy": {}}
        with safe_open(folder / DIFFUSERS, "pt") as file:
            assert file.metadata()["modelspec.architecture"] == architecture


def test_a_loras_hash_is_that_of_its_weights_and_not_of_its_header(tiny, tmp_path):
    import hashlib

    path = trained(tiny).save(tmp_path / "my-lora") / KOHYA
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    with safe_open(path, "pt") as file:
        assert file.metadata()["sshs_model_hash"] == hashlib.sha256(data[start:]).hexdigest()


def test_a_words_file_says_its_trigger(tiny, tmp_path):
    path = TextualInversion(tiny, placeholder_token="<toy>").save(tmp_path / "word")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/textual-inversion"
    assert metadata["modelspec.trigger_phrase"] == "<toy>"


@pytest.mark.parametrize("program", ["comfyui", "peft", "lycoris"])
def test_loras_of_other_savers_load_like_kohyas(program, tiny, tmp_path):
    method = trained(tiny)
    plain = load_file(method.save(tmp_path / "my-lora") / DIFFUSERS)
    renamed = {}
    for key, tensor in plain.items():
        path, side = key.removeprefix("unet.").rsplit(".lora.", 1)
        if program == "peft":
            end = {"down.weight": "lora_A.weight", "up.weight": "lora_B.weight"}[side]
            renamed[f"base_model.model.{path}.{end}"] = tensor
        elif program == "lycoris":
            renamed[f"lycoris_{path.replace('.', '_')}.lora_{side}"] = tensor
        else:
            names = {own: name for name, (_, own) in known_names(tiny).items() if "usion_m" in name}
            renamed[f"{names[path]}.lora_{side}"] = tensor
    save_file(renamed, tmp_path / "theirs.safetensors")
    loaded = tiny.with_artefact(tmp_path / "theirs.safetensors")
    assert torch.equal(draw(loaded.pipeline()), draw(method.sd.pipeline()))


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("lora_unet_a.hada_w1_a", "a LoHa"),
        ("lycoris_a.lokr_w1", "a LoKr"),
        ("oft_unet_a.oft_blocks", "an OFT"),
        ("lora_unet_a.dora_scale", "a DoRA"),
    ],
)
def test_what_is_no_plain_lora_is_called_by_its_name(key, kind, tiny, tmp_path):
    save_file({key: torch.ones(2, 2), "b.alpha": torch.ones(())}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=f"no plain LoRA but {kind}"):
        tiny.with_artefact(tmp_path / "a.safetensors")


def test_a_whole_model_is_no_word(tiny, tmp_path):
    weights = {f"model.diffusion_model.out.{i}.weight": torch.ones(2) for i in (0, 2)}
    save_file(weights, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="a whole model and no word: give it as the model"):
        tiny.with_artefact(tmp_path / "a.safetensors")


def test_a_lora_comes_with_its_words(tiny, tmp_path):
    lora = load_file(trained(tiny).save(tmp_path / "my-lora") / KOHYA)
    rows = torch.randn(2, 16)
    save_file(lora | {"bundle_emb.<pal>.string_to_param.*": rows}, tmp_path / "a.safetensors")
    loaded = tiny.with_artefact(tmp_path / "a.safetensors")
    ids = loaded.tokenizer.convert_tokens_to_ids(["<pal>", "<pal>_1"])
    assert torch.equal(loaded.text_encoder.get_input_embeddings().weight[ids], rows)


@pytest.mark.parametrize("key", ["emp_params", "emb_params"])
def test_a_word_without_its_name_is_called_by_its_file(key, tiny, tmp_path):
    save_file({key: torch.ones(1, 16)}, tmp_path / "pal.safetensors")
    assert "pal" in tiny.with_artefact(tmp_path / "pal.safetensors").tokenizer.get_added_vocab()


@pytest.mark.parametrize("word", ["<flora>", "<Explorador>", "<my-lora_cat>"])
def test_a_word_that_sounds_like_a_lora_is_a_word(word, tiny, tmp_path):
    TextualInversion(tiny, placeholder_token=word).save(tmp_path)
    assert word in tiny.with_artefact(tmp_path).tokenizer.get_added_vocab()


def test_a_folder_of_words_keeps_them_all_and_loads_them_all(tiny, tmp_path):
    for word in ("<cat>", "<dog>"):
        TextualInversion(tiny, placeholder_token=word).save(tmp_path)
    assert {"<cat>", "<dog>"} <= tiny.with_artefact(tmp_path).tokenizer.get_added_vocab().keys()


def test_a_renamed_folder_is_still_known_as_a_loras(tiny, tmp_path):
    trained(tiny).save(tmp_path / "first").rename(tmp_path / "final")
    TextualInversion(tiny, placeholder_token="<cat>").save(tmp_path / "final")
    names = {path.name for path in (tmp_path / "final").iterdir()}
    assert names == {"README.md", "cat.safetensors"}


def test_a_whole_models_tokenizer_has_the_files_that_older_programs_read(tmp_path):
    from transformers import CLIPTokenizer

    from sdlearn.models.clip_tokenizer import write_vocabulary

    ours = CLIPTokenizer.from_pretrained(shipped_folder("mini") / "tokenizer")
    write_vocabulary(ours, tmp_path)
    theirs = CLIPTokenizer.from_pretrained(tmp_path)
    for text in ("a smiling person, 笑顔の人", "  Ümlaut's  9"):
        assert theirs.tokenize(text) == ours.tokenize(text)
