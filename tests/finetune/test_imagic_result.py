"""What Imagic saves, loads and draws, and how it chooses eta."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from runs import same
from safetensors.torch import load_file, save_file
from test_imagic import FAST, ONE, PROMPT, parts, trained

from sdlearn.finetune import Imagic, ImagicResult, fit, load_imagic
from sdlearn.finetune.imagic.result import is_imagic, note_choice
from sdlearn.models import with_artefact

ETAS = [0.0, 0.3, 1.0]


def drawn(result, **settings):
    return [image.tobytes() for image in result.draw(ETAS, **settings)]


@pytest.fixture(params=["tiny", "tiny_xl"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    "settings", [{}, {"unet_steps": 0}, {"embedding_steps": 0, "lora_rank": 2}]
)
def test_what_is_saved_draws_the_same_pictures_at_every_eta(settings, model, pictures, tmp_path):
    imagic, _ = trained(model, pictures, **settings)
    folder = imagic.save(tmp_path / "edit")
    loaded = load_imagic(model, folder)
    assert isinstance(loaded, ImagicResult)
    assert drawn(loaded) == drawn(imagic.result)
    assert len(set(drawn(loaded))) == (1 if "embedding_steps" in settings else 3)
    assert same(parts(loaded.e_tgt), parts(imagic.e_tgt))
    assert same(parts(loaded.e_opt), parts(imagic.e_opt))
    assert loaded.config == imagic.config
    assert loaded.eta is None
    lora, left_out = "lora_rank" in settings, "unet_steps" in settings
    assert (folder / "unet" / "config.json").is_file() == (not lora and not left_out)
    assert (folder / "lora" / "pytorch_lora_weights.safetensors").is_file() == lora


def test_the_folder_says_what_it_is_made_of(tiny, pictures, tmp_path):
    imagic, _ = trained(tiny, pictures)
    folder = imagic.save(tmp_path / "edit")
    record = json.loads((folder / "artefact.json").read_text())
    assert record["method"] == "imagic"
    assert record["config"]["target_prompt"] == PROMPT
    assert record["size"] == 32
    tensors = load_file(folder / "embeddings.safetensors")
    assert tensors.keys() == {"e_tgt.encoder_hidden_states", "e_opt.encoder_hidden_states"}
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    assert same(list(unet.parameters()), list(imagic.sd.unet.parameters()))
    assert same(
        list(with_artefact(tiny, folder).unet.parameters()), list(imagic.sd.unet.parameters())
    )
    choice, _ = imagic.result.find_eta(pictures[0].image)
    note_choice(folder, choice)
    assert load_imagic(tiny, folder).eta == choice.eta
    assert json.loads((folder / "artefact.json").read_text())["chosen"]["reason"] == choice.reason


def test_a_folder_used_again_holds_nothing_of_the_edit_before(tiny, pictures, tmp_path):
    (tmp_path / "sheet.png").write_bytes(b"")
    kinds: list = [{"lora_rank": 2}, {}, {"lora_rank": 2}, {"unet_steps": 0}]
    for settings in kinds:
        imagic, _ = trained(tiny, pictures, **settings)
        imagic.save(tmp_path)
        result, loaded = imagic.result, load_imagic(tiny, tmp_path)
        assert loaded.draw([0.3])[0].tobytes() == result.draw([0.3])[0].tobytes()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"README.md", "artefact.json", "embeddings.safetensors", "sheet.png"}


def test_a_record_that_is_not_whole_is_told_in_a_sentence(tiny, pictures, tmp_path):
    imagic, _ = trained(tiny, pictures)
    folder = imagic.save(tmp_path)
    whole = json.loads((folder / "artefact.json").read_text())
    for name in ("config", "size", "has_unet"):
        broken = {key: value for key, value in whole.items() if key != name}
        (folder / "artefact.json").write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=f"does not say how the edit was made.*{name}"):
            load_imagic(tiny, folder)
    (folder / "artefact.json").unlink()
    with pytest.raises(ValueError, match="is missing or does not say"):
        load_imagic(tiny, folder)


def test_more_steps_than_a_sampler_takes_are_refused_before_training(tiny, pictures):
    imagic = Imagic(tiny, target_prompt="a toy", num_inference_steps=1000)
    with pytest.raises(ValueError, match="1000 sampler steps are too many"):
        fit(imagic, pictures[:1])
    with pytest.raises(ValueError, match="1000 sampler steps are too many"):
        imagic.result.draw([0.5])


def test_lora_trains_updates_beside_the_given_u_net(tiny, pictures):
    before = [p.detach().clone() for p in tiny.unet.parameters()]
    imagic, losses = trained(tiny, pictures, lora_rank=2)
    assert len(losses) == 5
    assert same(tiny.unet.parameters(), before)
    own = {p.data_ptr() for p in tiny.unet.parameters()}
    (group,) = imagic.unet_stage.parameter_groups(1.0)
    assert not own & {p.data_ptr() for p in group["params"]}
    assert own <= {p.data_ptr() for p in imagic.sd.unet.parameters()}
    assert any(
        p.abs().sum() > 0 for name, p in imagic.sd.unet.named_parameters() if "lora_B" in name
    )
    default = Imagic(tiny, target_prompt=PROMPT, embedding_steps=0, unet_steps=1, lora_rank=2)
    assert [step.learning_rate for step in fit(default, pictures[:1], ONE)] == [1e-4]


def test_all_etas_start_from_one_noise_and_the_seed_says_which(tiny, pictures):
    result = trained(tiny, pictures)[0].result
    assert drawn(result) == drawn(result, seed=0)
    assert drawn(result) != drawn(result, seed=1)
    one_embedding = trained(tiny, pictures, embedding_steps=0)[0].result
    assert len(set(drawn(one_embedding))) == 1  # only the noise could differ
    alone = [result.draw([eta])[0].tobytes() for eta in ETAS]
    assert alone == drawn(result)
    torch.manual_seed(4)
    state = torch.get_rng_state()
    assert drawn(result) == alone
    assert torch.equal(torch.get_rng_state(), state)


def test_pictures_are_drawn_at_the_size_of_training(tiny, pictures, tmp_path):
    imagic, _ = trained(tiny, pictures, replace(ONE, resolution=48))
    assert imagic.result.draw([0.5])[0].size == (48, 48)
    assert load_imagic(tiny, imagic.save(tmp_path)).draw([0.5])[0].size == (48, 48)


def test_drawing_between_steps_shows_what_was_learnt_by_then(tiny, pictures):
    imagic = Imagic(tiny, **FAST)
    seen = [drawn(imagic.result)]
    for _ in fit(imagic, pictures[:1], ONE):
        seen.append(drawn(imagic.result))
    assert len({pictures_at[0] for pictures_at in seen}) == 6
    assert seen[0][2] == seen[1][2] == seen[3][2]  # at eta 1, stage A changes nothing
    quiet, _ = trained(tiny, pictures)
    assert drawn(quiet.result) == seen[-1]


def test_eta_is_found_by_the_measures_that_are_given(tiny, pictures):
    result = trained(tiny, pictures, etas=(0.0, 0.2, 0.4, 0.6, 1.0))[0].result
    curves = {"faithful": [0.9, 0.9, 0.8, 0.3, 0.1], "edit": [0.1, 0.5, 0.4, 0.9, 1.0]}
    seen = []

    def faithfulness(images):
        seen.append([image.tobytes() for image in images])
        return curves["faithful"] if len(images) == 5 else [0.1]

    choice, images = result.find_eta(pictures[0].image, faithfulness)
    assert choice.eta == 0.4
    assert [image.tobytes() for image in images] == seen[0]
    unrelated = tiny.pipeline()(
        PROMPT,
        num_inference_steps=2,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(0),
    ).images
    assert [image.tobytes() for image in unrelated] == seen[1]
    assert seen[0] == [image.tobytes() for image in result.draw(result.config.etas)]
    choice, _ = result.find_eta(pictures[0].image, faithfulness, lambda images: curves["edit"])
    assert choice.eta == 0.2
    assert choice.edit_strength == tuple(curves["edit"])


def test_what_cannot_be_loaded_is_refused_in_words(tiny, tiny_xl, pictures, tmp_path):
    assert not is_imagic(tmp_path)
    with pytest.raises(FileNotFoundError, match="sdlearn train imagic"):
        load_imagic(tiny, tmp_path)
    imagic, _ = trained(tiny, pictures)
    folder = imagic.save(tmp_path / "edit")
    assert is_imagic(folder)
    with pytest.raises(ValueError, match="16 wide and this model takes 40"):
        load_imagic(tiny_xl, folder)
    save_file({"e_opt.text_embeds": torch.zeros(1)}, folder / "embeddings.safetensors")
    with pytest.raises(ValueError, match="holds no e_tgt"):
        load_imagic(tiny, folder)
    (folder / "embeddings.safetensors").unlink()
    assert is_imagic(folder)  # and never drawn as if it were a U-Net alone
    with pytest.raises(FileNotFoundError, match=r"has no embeddings\.safetensors"):
        load_imagic(tiny, folder)
