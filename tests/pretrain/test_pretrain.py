"""The recipe at toy size: it makes a model folder, resumes exactly, and survives kills."""

import math
from pathlib import Path

import pytest
import torch
from conftest import TOY
from safetensors.torch import load_file

from sdlearn.data.world.attributes import Shot, pictures
from sdlearn.data.world.captions import japanese_words
from sdlearn.data.world.render import spots
from sdlearn.diffusion import NoiseSchedule
from sdlearn.pretrain.config import PretrainConfig
from sdlearn.pretrain.dataset import other_views, world_dataset
from sdlearn.pretrain.detail import seen_weights, subject_weights
from sdlearn.pretrain.judges import instance_discrimination_loss, same_subject
from sdlearn.pretrain.recipe import pretrain
from sdlearn.pretrain.stage import Training, learning_rate_at, train
from sdlearn.pretrain.tokenizer import train_tokenizer
from sdlearn.pretrain.unet import build_noise_scheduler, recipe_weights
from sdlearn.pretrain.vae import crop


def test_the_recipe_makes_a_folder_that_the_plain_pipeline_opens(toy_folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(toy_folder)
    image = pipeline("a person", num_inference_steps=1, output_type="pil").images[0]
    assert image.size == (32, 32)
    card = (toy_folder / "README.md").read_text()
    assert "| unet | 2 |" in card
    assert "held" in card
    for judge in ("clip", "image-encoder", "reader"):
        assert list((toy_folder / "judges" / judge).glob("*.safetensors"))


def test_text_encoder_keys_are_those_older_tools_read(toy_folder: Path) -> None:
    """transformers 5.6 dropped `text_model.`; ComfyUI and older transformers need it."""
    weights = load_file(toy_folder / "text_encoder" / "model.safetensors")
    assert all(key.startswith("text_model.") for key in weights)
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())


def _toy_training(steps: int) -> Training:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 4)

    def losses(step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"loss": (model(torch.randn(8, 4, generator=generator)) - 1).square().mean()}

    return Training(name="toy", model=model, losses=losses, ema_decay=0.9, steps=steps)


class _Killed(Exception):
    pass


def _train_killed_at(work: Path, kills: list[int], every: int) -> dict[str, torch.Tensor]:
    config = PretrainConfig(work=work, checkpoint_seconds=0.0 if every == 1 else 1e9)
    for kill in [*kills, None]:
        training = _toy_training(40)
        plain = training.losses

        def losses(step, generator, kill=kill, plain=plain):  # type: ignore[no-untyped-def]
            if step == kill:
                raise _Killed
            return plain(step, generator)

        training.losses = losses
        try:
            train(training, config)
        except _Killed:
            continue
    return training.model.state_dict()


def test_a_stage_killed_many_times_ends_like_one_that_never_was(tmp_path: Path) -> None:
    straight = _train_killed_at(tmp_path / "a", [], every=1000)
    killed = _train_killed_at(tmp_path / "b", [3, 4, 17, 17, 30, 39], every=1)
    for name, value in straight.items():
        assert torch.equal(value, killed[name])


def test_finished_stages_are_not_trained_again(toy_folder: Path) -> None:
    work = toy_folder.parent / "work"
    before = (work / "unet-done" / "unet" / "config.json").stat().st_mtime_ns
    pretrain(PretrainConfig(work=work, output=toy_folder, **TOY))
    assert (work / "unet-done" / "unet" / "config.json").stat().st_mtime_ns == before


def test_no_text_is_unknown_to_the_tokenizer_and_colours_stay_apart(tmp_path: Path) -> None:
    english = ["a smiling person with purple hair on a red background"] * 3
    tokenizer = train_tokenizer(english, japanese_words(), 200, tmp_path / "tokenizer")
    for text in ("qwerty ωß漢字 😀", "紫のボブヘアで丸眼鏡をかけた笑顔の人、赤い服"):
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids[1:-1]).replace(" ", "") == text.replace(" ", "")
        assert tokenizer.unk_token_id not in ids[1:-1]
    assert "紫の" in [tokenizer.decode([i]) for i in tokenizer("紫のボブヘアで").input_ids]


def test_instance_discrimination_is_chance_level_for_equal_views() -> None:
    loss = instance_discrimination_loss(torch.ones(6, 5), torch.eye(3, dtype=torch.bool))
    torch.testing.assert_close(loss, torch.log(torch.tensor(5.0)))


def test_pictures_of_one_subject_are_not_to_be_told_apart() -> None:
    """Of six views of three subjects two are one cat: each of theirs has two others to avoid."""
    same = torch.eye(3, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    loss = instance_discrimination_loss(torch.ones(6, 5), same)
    expected = torch.log(torch.tensor([3.0, 3.0, 5.0])).mean()
    torch.testing.assert_close(loss, expected)


def test_a_thing_is_the_same_in_two_pictures_and_a_person_is_not() -> None:
    cat = {"noun": "cat", "style": "noto", "color": "blue"}
    person = {"noun": "person", "style": "micah", "hair_color": "red"}
    shots = [
        Shot(0, cat | {"scene": "beach"}, 0),
        Shot(1, cat | {"scene": "space"}, 1),
        Shot(2, {"noun": "cat", "style": "noto"}, 2),
        Shot(3, person, 3),
        Shot(4, person, 4),
    ]
    expected = torch.eye(5, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = True
    assert torch.equal(same_subject(shots), expected)


def test_a_model_is_trained_further_with_its_own_parts(toy_folder: Path, tmp_path: Path) -> None:
    settings = TOY | {"start": toy_folder, "work": tmp_path / "work", "output": tmp_path / "mini"}
    further = pretrain(PretrainConfig(**settings))
    for part, same in (("vae", True), ("text_encoder", False), ("unet", False)):
        one, other = (
            load_file(next((folder / part).glob("*.safetensors")))
            for folder in (toy_folder, further)
        )
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one) is same, part


def test_a_frozen_text_encoder_stays_as_clip_left_it(toy_folder: Path, tmp_path: Path) -> None:
    settings = TOY | {"start": toy_folder, "work": tmp_path / "work", "output": tmp_path / "mini"}
    further = pretrain(PretrainConfig(**settings | {"train_text_encoder": False}))
    one, other = (
        load_file(folder / "text_encoder" / "model.safetensors") for folder in (toy_folder, further)
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_noisiest_timesteps_weigh_as_much_as_at_the_floor() -> None:
    """Else backgrounds follow the noise: their colour shows through it until the last steps."""
    schedule = NoiseSchedule.from_scheduler(build_noise_scheduler())
    config = PretrainConfig()
    timesteps = torch.arange(1000)
    snr = schedule.snr(timesteps)
    shares = recipe_weights(schedule, timesteps, config) * snr  # weights of the error in x_0
    expected = snr.clamp(config.snr_floor, config.snr_gamma)
    torch.testing.assert_close(shares, expected)


def test_latents_weigh_more_where_a_subject_stands() -> None:
    shots = pictures(40)
    weights = subject_weights(shots, 16, detail_weight=1.0)
    torch.testing.assert_close(weights.mean(dim=(1, 2)), torch.ones(40))
    assert weights.min().item() == pytest.approx(0.5)
    for weight, shot in zip(weights, shots, strict=True):
        for spot in spots(shot.attributes, shot.seed):
            x, y = (min(max(int(v // 8), 0), 15) for v in (spot.x, spot.y))
            assert weight[y, x] == weight.max()


def test_where_all_is_noise_every_latent_weighs_the_same() -> None:
    weights = subject_weights(pictures(2), 16, detail_weight=1.0)
    noisy, clean = seen_weights(weights, torch.tensor([0.0, 1e6]))
    torch.testing.assert_close(noisy, torch.ones(16, 16))
    torch.testing.assert_close(clean, weights[1], rtol=1e-4, atol=1e-4)


def test_crops_are_parts_of_their_pictures_on_a_grid_of_four() -> None:
    rows = torch.arange(32.0).view(1, 1, 32, 1).expand(4, 3, 32, 32)
    parts = crop(rows, 16, torch.Generator().manual_seed(0))
    assert parts.shape == (4, 3, 16, 16)
    tops = parts[:, 0, 0, 0]
    assert (tops % 4 == 0).all()
    assert torch.equal(parts[:, 0, :, 0] - tops[:, None], torch.arange(16.0).expand(4, 16))


def test_learning_rate_warms_up_and_ends_low() -> None:
    assert learning_rate_at(0.01) == pytest.approx(0.5)
    assert learning_rate_at(0.02) == pytest.approx(1.0)
    assert learning_rate_at(1.0) == pytest.approx(0.02)


def test_pictures_rendered_once_are_opened_again(tmp_path: Path) -> None:
    config = PretrainConfig(work=tmp_path, **TOY)
    first = world_dataset(config)
    path = next(tmp_path.glob("pictures-train-*.npy"))
    before = path.stat().st_mtime_ns
    assert (world_dataset(config).pixels == first.pixels).all()
    assert path.stat().st_mtime_ns == before


def test_the_second_views_show_the_same_subjects(tmp_path: Path) -> None:
    config = PretrainConfig(work=tmp_path, **TOY)
    one, other = world_dataset(config), other_views(config)
    assert [shot.who for shot in one.shots] == [shot.who for shot in other.shots]
    assert not (one.pixels == other.pixels).all()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"image_size": 50}, "multiple of 16"),
        ({"pictures": 3}, "too few"),
        ({"vae_crop": 10}, "multiple of 4"),
        ({"vae_crop": 64}, "no larger than the pictures' 32 pixels"),
        ({"detail_weight": -1.0}, "0 or more"),
        ({"stages": ("x",)}, "exist"),
        ({"vae_batch": 0}, "vae_batch is 0: give at least 1"),
        ({"unet_steps": 0}, "unet_steps is 0: give at least 1"),
        ({"vae_channels": (8, 0, 16)}, "vae_channels is 0: give at least 1"),
        ({"vae_learning_rate": math.nan}, "vae_learning_rate is nan: give a number above 0"),
        ({"unet_learning_rate": math.inf}, "unet_learning_rate is inf: give a number above 0"),
        ({"vae_minutes": -1.0}, "vae_minutes is -1.0: give a number above 0"),
        ({"japanese": 1.5}, "japanese is 1.5: give a share from 0 to 1"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0: give a number from 0 to below 1"),
        ({"device": "cuda:99"}, "device cuda:99 is not here: choose from auto, cpu"),
        ({"device": "toaster"}, "device toaster is not here: choose from auto, cpu"),
    ],
)
def test_bad_settings_are_refused_before_work(setting: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        pretrain(PretrainConfig(work=tmp_path / "w", output=tmp_path / "o", **(TOY | setting)))
    assert not (tmp_path / "w").exists()
