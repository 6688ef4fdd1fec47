"""LoRAs in a model: by their scales, several at once, merged in and taken out again."""

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft.tuners.lora import LoraLayer
from runs import draw
from safetensors.torch import load_file, save_file
from test_lora_files import DIFFUSERS, trained
from torch.testing import assert_close

from sdlearn.finetune import DreamBooth, FitConfig, LoRA, TextualInversion, fit
from sdlearn.models import merged, unmerged
from sdlearn.models.lora import parts_of, read_adapter
from sdlearn.models.lora_files import kohya_tensors


def weights(sd):
    """All weights of the adapted parts, but for the adapters, by name."""
    return {
        f"{part}.{name.replace('.base_layer', '')}": value
        for part, model in parts_of(sd).items()
        for name, value in model.state_dict().items()
        if "lora_" not in name
    }


def deltas(method):
    """What an adapter adds to each weight, multiplied out."""
    return {
        f"{part}.{path}.weight": update.alpha / update.rank * (update.up @ update.down)
        for part, updates in read_adapter(method.sd).items()
        for path, update in updates.items()
    }


@pytest.fixture
def two(tiny, tmp_path):
    """Two LoRAs, of other ranks, alphas and layers, and where they are."""
    first = trained(tiny, rank=2, alpha=3.0, train_text_encoder=True)
    second = trained(tiny, rank=3, alpha=1.0, target_modules=("to_q", "ff.net.2"), init="kaiming")
    return (first, first.save(tmp_path / "first")), (second, second.save(tmp_path / "second"))


def test_two_loras_add_up_by_their_scales(tiny, two):
    (first, first_folder), (second, second_folder) = two
    mixed = tiny.with_artefact(first_folder, 0.7).with_artefact(
        second_folder / "second_comfyui_a1111.safetensors", 1.5
    )
    expected = weights(tiny)
    for method, scale in ((first, 0.7), (second, 1.5)):
        for name, delta in deltas(method).items():
            expected[name] = expected[name] + scale * delta
    assert_close(weights(merged(mixed)), expected)
    plain = copy.deepcopy(tiny).pipeline()
    plain.load_lora_weights(first_folder, weight_name=DIFFUSERS, adapter_name="first")
    plain.load_lora_weights(second_folder, weight_name=DIFFUSERS, adapter_name="second")
    plain.set_adapters(["first", "second"], [0.7, 1.5])
    assert_close(draw(mixed.pipeline()), draw(plain), rtol=0, atol=1e-5)


def test_ranks_and_alphas_of_a_layers_own_are_heeded(tiny, tmp_path):
    """diffusers 0.42 takes the commonest alpha for all attention layers of a kohya file."""
    most, some = trained(tiny, rank=2), trained(tiny, rank=5, alpha=3.0)
    tensors = kohya_tensors(read_adapter(most.sd), most.sd)
    other = kohya_tensors(read_adapter(some.sd), some.sd)
    tensors |= {key: value for key, value in other.items() if "mid_block" in key}
    save_file(tensors, tmp_path / "own.safetensors")
    expected = weights(tiny)
    for name, delta in deltas(most).items():
        own = deltas(some)[name] if "mid_block" in name else delta
        expected[name] = expected[name] + own
    assert_close(weights(merged(tiny.with_artefact(tmp_path / "own.safetensors"))), expected)


def test_a_lora_at_scale_zero_changes_nothing_bit_for_bit(tiny, two):
    (_, folder), _ = two
    assert torch.equal(draw(tiny.with_artefact(folder, 0.0).pipeline()), draw(tiny.pipeline()))


@pytest.mark.parametrize("model", ["tiny", "tiny_xl"])
def test_merged_weights_draw_what_the_adapter_draws(model, request, tmp_path):
    sd = request.getfixturevalue(model)
    before = {name: value.clone() for name, value in weights(sd).items()}
    method = trained(
        sd, alpha=2.0, train_text_encoder=True, target_modules=("to_q", "conv1", "proj_in")
    )
    whole = merged(method.sd)
    assert_close(draw(whole.pipeline()), draw(method.sd.pipeline()), rtol=0, atol=1e-5)
    for part, part_model in parts_of(whole).items():
        assert not any(isinstance(m, LoraLayer) for m in part_model.modules())
        assert part_model.state_dict().keys() == getattr(sd, part).state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in weights(sd).items())
    assert all(torch.equal(value, before[name]) for name, value in weights(method.sd).items())

    whole.unet.save_pretrained(tmp_path / "unet")
    read = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    for ours, theirs in zip(read.parameters(), whole.unet.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_unmerging_gives_the_base_back(tiny, two):
    (_, first), (_, second) = two
    whole = merged(tiny.with_artefact(first, 0.7).with_artefact(second))
    back = unmerged(unmerged(whole, first, 0.7), second)
    assert (weights(whole)["unet.conv_in.weight"] == weights(tiny)["unet.conv_in.weight"]).all()
    name = next(iter(deltas(two[0][0])))
    assert (weights(whole)[name] - weights(tiny)[name]).abs().max() > 0.01
    assert_close(weights(back), weights(tiny), rtol=0, atol=1e-5)


def test_merging_shares_what_no_lora_updates_and_one_without_any_is_the_same(tiny, two):
    (_, folder), _ = two
    whole = merged(tiny.with_artefact(folder))
    assert whole.unet.conv_in.weight is tiny.unet.conv_in.weight
    assert merged(tiny).unet is tiny.unet


def test_loading_while_a_run_goes_on_leaves_what_trains_training(tiny, pictures, two):
    """peft freezes all that it finds in a model, and the weights are shared."""
    (_, folder), _ = two
    config = FitConfig(max_train_steps=3, train_batch_size=1, mixed_precision="bf16")
    quiet = DreamBooth(tiny, with_prior_preservation=False, train_text_encoder=True)
    busy = DreamBooth(tiny, with_prior_preservation=False, train_text_encoder=True)
    losses = [float(step.loss) for step in fit(quiet, pictures, config)]
    seen = []
    for step in fit(busy, pictures, config):
        seen.append(float(step.loss))
        with_lora = busy.sd.with_artefact(folder)
        assert not torch.equal(draw(with_lora.pipeline()), draw(busy.sd.pipeline()))
        assert not any(hasattr(model, "peft_config") for model in parts_of(busy.sd).values())
    assert seen == losses
    for ours, theirs in zip(busy.sd.unet.parameters(), quiet.sd.unet.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_lora_goes_with_a_learned_word_in_either_order(tiny, tmp_path, two):
    (_, folder), _ = two
    word = TextualInversion(tiny, placeholder_token="<toy>").save(tmp_path / "toy.safetensors")
    prompt = "a photo of <toy>"
    one, other = tiny.with_artefact(folder), tiny.with_artefact(word)
    picture = draw(one.with_artefact(word).pipeline(), prompt)
    assert torch.equal(picture, draw(other.with_artefact(folder).pipeline(), prompt))
    assert not torch.equal(picture, draw(one.pipeline(), prompt))


def test_what_would_take_the_place_of_a_lora_is_refused(tiny, tmp_path, two):
    (_, folder), _ = two
    whole = DreamBooth(tiny).save(tmp_path / "whole")
    with pytest.raises(ValueError, match="would take the place of a LoRA: load it before"):
        tiny.with_artefact(folder).with_artefact(whole)
    assert tiny.with_artefact(whole).with_artefact(folder)


def test_only_loras_have_a_scale(tiny, tmp_path):
    word = TextualInversion(tiny).save(tmp_path)
    with pytest.raises(ValueError, match="only a LoRA has a scale: leave it at 1"):
        tiny.with_artefact(word, 0.5)


def test_a_lora_trains_beside_one_that_was_loaded_but_not_on_one_that_trains(tiny, two, tmp_path):
    (_, folder), _ = two
    loaded = tiny.with_artefact(folder)
    method = trained(loaded, rank=2)
    saved = method.save(tmp_path / "beside")
    assert len(load_file(saved / DIFFUSERS)) == 80  # its own layers, and only those
    again = loaded.with_artefact(saved)
    assert_close(draw(again.pipeline()), draw(method.sd.pipeline()), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="holds a LoRA that trains"):
        LoRA(method.sd)


def test_half_precision_models_take_updates_in_their_own_dtype(tiny, two):
    (_, folder), _ = two
    tiny.to(dtype=torch.bfloat16)
    loaded = tiny.with_artefact(folder)
    assert {p.dtype for p in loaded.unet.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in merged(loaded).unet.parameters()} == {torch.bfloat16}


def broken(tensors, change):
    first = next(key for key in tensors if "lora.down" in key)
    if change == "half":
        del tensors[first]
    elif change == "kind":
        tensors[first.replace("lora.down.weight", "lora_magnitude_vector")] = torch.zeros(2)
    elif change == "layer":
        tensors[first.replace("unet.", "unet.no.")] = tensors.pop(first)
    else:
        tensors[first] = torch.zeros(4, 5)
    return tensors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("half", "not whole: .* has only its up"),
        ("kind", "lora_magnitude_vector., which is no plain LoRA"),
        ("layer", "updates .unet.no.*which .* has not: load the model it was made for"),
        ("size", r"@ \(4, 5\), and its weight here is .*: load the model it was made for"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_words(change, words, tiny, tmp_path):
    folder = trained(tiny).save(tmp_path / "my-lora")
    save_file(broken(load_file(folder / DIFFUSERS), change), tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=words):
        tiny.with_artefact(tmp_path / "bad.safetensors")


def test_a_lora_of_another_model_is_refused_and_leaves_the_model_alone(tiny, tiny_xl, tmp_path):
    folder = trained(tiny).save(tmp_path / "my-lora")
    with pytest.raises(ValueError, match="load the model it was made for"):
        tiny_xl.with_artefact(folder)
    assert not any(hasattr(model, "peft_config") for model in parts_of(tiny_xl).values())
