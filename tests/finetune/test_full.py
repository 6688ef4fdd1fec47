import copy
from collections import Counter
from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from runs import draw, same, weights
from torch.testing import assert_close

from sdlearn.data import LazyFolder, Picture, write_pictures
from sdlearn.finetune import FitConfig, FullConfig, FullFineTuning, fit, run
from sdlearn.finetune.latent_source import Captions
from sdlearn.models import load
from sdlearn.training.batches import ProcessRank

FAST = FitConfig(max_train_steps=2, train_batch_size=2, learning_rate=1e-3)
ALL = {"lr_scheduler": "cosine", "lr_warmup_steps": 2, "use_ema": True, "ema_decay": 0.5}
ALL |= {"random_flip": True, "snr_gamma": 5.0}


def trained(sd, pictures, config=FAST, **settings):
    method = FullFineTuning(sd, **settings)
    run(fit(method, pictures, config))
    return method


def drawn_captions(config, texts, number=1000):
    captions = Captions(config)
    generators = [torch.Generator().manual_seed(seed) for seed in range(number)]
    return [captions.draw(texts, generator) for generator in generators]


@pytest.fixture
def shapes(pictures):
    """Pictures of three shapes, six of each."""
    sizes = [(48, 48), (72, 40), (40, 72)]
    return [
        replace(pictures[i % 4], image=pictures[i % 4].image.resize(sizes[i % 3]))
        for i in range(18)
    ]


@pytest.mark.parametrize("train_text_encoder", [False, True])
def test_what_is_asked_for_trains_and_the_given_model_stays(train_text_encoder, tiny, pictures):
    before = [copy.deepcopy(model.state_dict()) for model in tiny.models]
    method = trained(tiny, pictures, train_text_encoder=train_text_encoder)
    assert not same(method.sd.unet.parameters(), tiny.unet.parameters())
    moved = not same(method.sd.text_encoder.parameters(), tiny.text_encoder.parameters())
    assert moved == train_text_encoder
    for model, state in zip(tiny.models, before, strict=True):
        assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


def test_the_text_encoder_has_its_own_learning_rate(tiny):
    method = FullFineTuning(tiny, train_text_encoder=True, text_encoder_learning_rate=1e-7)
    assert [group["lr"] for group in method.parameter_groups(1e-5)] == [1e-5, 1e-7]
    method = FullFineTuning(tiny, train_text_encoder=True)
    assert method.parameter_groups(1e-5)[1]["lr"] == pytest.approx(2e-6)


def test_straight_steps_equal_stopped_and_resumed_ones_bit_for_bit(loaded_tiny, shapes, tmp_path):
    config = replace(FAST, max_train_steps=5, **ALL)
    straight = FullFineTuning(loaded_tiny)
    losses = run(fit(straight, shapes, config))
    config = replace(config, output_dir=tmp_path, checkpointing_steps=3)
    stopped = fit(FullFineTuning(loaded_tiny), shapes, config)
    for step in stopped:
        if step.step == 4:
            break
    stopped.close()
    resumed = FullFineTuning(loaded_tiny)
    assert run(fit(resumed, shapes, replace(config, resume=True))) == losses[3:]
    assert same(weights(resumed), weights(straight))


def test_accumulating_two_batches_equals_one_of_twice_the_size(loaded_tiny, shapes):
    whole = replace(FAST, max_train_steps=3, train_batch_size=4, **ALL)
    halves = replace(whole, train_batch_size=2, gradient_accumulation_steps=2)
    first, second = FullFineTuning(loaded_tiny), FullFineTuning(loaded_tiny)
    assert_close(run(fit(first, shapes, whole)), run(fit(second, shapes, halves)))
    for one, other in zip(weights(first), weights(second), strict=True):
        assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_two_processes_take_what_one_with_twice_the_batch_takes(loaded_tiny, shapes):
    method = FullFineTuning(loaded_tiny)
    method.prepare(shapes, replace(FAST, train_batch_size=4))
    one = method.make_batches(shapes, replace(FAST, train_batch_size=4), ProcessRank())
    two = [
        method.make_batches(shapes, FAST, ProcessRank(process=process, processes=2))
        for process in (0, 1)
    ]
    for step in range(9):
        halves = [two[process].batch(2 * step + process) for process in (0, 1)]
        whole = one.batch(step)
        assert whole.indices == [i for half in halves for i in half.indices]
        drawn = [torch.rand(1, generator=g) for half in halves for g in half.generators]
        assert drawn == [torch.rand(1, generator=g) for g in whole.generators]
        assert len({shapes[i].image.size for i in whole.indices}) == 1


@pytest.mark.parametrize("kept", ["", "on disk"])
def test_cached_latents_train_as_those_that_are_made_at_each_step(
    kept, loaded_tiny, shapes, tmp_path
):
    write_pictures(tmp_path / "pictures", shapes)
    config = replace(FAST, max_train_steps=3, **ALL)
    cached = FullFineTuning(loaded_tiny)
    losses = run(fit(cached, shapes, config))
    folder = LazyFolder(tmp_path / "pictures")
    cache_dir = tmp_path / "cache" if kept else None
    for pictures in (folder, folder) if kept else (shapes, folder):
        fresh = FullFineTuning(loaded_tiny, cache_latents=False, cache_dir=cache_dir)
        assert_close(run(fit(fresh, pictures, config)), losses, rtol=1e-4, atol=1e-5)
    assert any(tmp_path.glob("cache/*/*/*.safetensors")) == bool(kept)


def test_captions_that_are_encoded_at_each_step_train_as_cached_ones(
    loaded_tiny, pictures, monkeypatch
):
    losses = run(fit(FullFineTuning(loaded_tiny, caption_dropout=0.5), pictures, FAST))
    monkeypatch.setattr("sdlearn.finetune.full.MOST_CACHED_CAPTIONS", 0)
    method = FullFineTuning(loaded_tiny, caption_dropout=0.5)
    assert_close(run(fit(method, pictures, FAST)), losses)
    assert list(method.parts.captions.rows) == [""]


def test_captions_are_left_out_at_the_given_rate_and_come_from_every_template():
    config = FullConfig(captions=("{text}", "{text_ja}"), caption_dropout=0.2)
    counts = Counter(drawn_captions(config, ["red", "赤"]))
    assert counts[""] == pytest.approx(200, abs=45)
    assert counts["red"] == pytest.approx(400, abs=60)
    assert set(drawn_captions(replace(config, caption_dropout=0), ["red"], 50)) == {"red"}
    assert set(drawn_captions(replace(config, caption_dropout=1), ["red"], 50)) == {""}


def test_without_a_caption_the_loss_is_that_of_the_empty_prompt(loaded_tiny, pictures):
    nameless = [replace(picture, text="x") for picture in pictures]
    losses = [
        run(fit(FullFineTuning(loaded_tiny, caption_dropout=1.0), given, FAST))
        for given in (pictures, nameless)
    ]
    assert losses[0] == losses[1]
    assert losses[0] != run(fit(FullFineTuning(loaded_tiny, caption_dropout=0.0), pictures, FAST))


def test_tags_are_cleaned_once_and_varied_at_each_step():
    config = FullConfig(caption_style="tags", caption_dropout=0, tag_dropout=0.5, keep_tags=1)
    picture = Picture(image=Image.new("RGB", (9, 9)), text=r"1girl,long_hair,hat_\(a\),1girl")
    (caption,) = Captions(config).of(picture)
    assert caption == "1girl, long hair, hat (a)"
    drawn = Counter(drawn_captions(config, [caption]))
    assert set(drawn) == {
        "1girl",
        "1girl, long hair",
        "1girl, hat (a)",
        "1girl, long hair, hat (a)",
        "1girl, hat (a), long hair",
    }
    plain = replace(config, shuffle_tags=False, tag_dropout=0)
    assert set(drawn_captions(plain, [caption])) == {caption}


def test_offset_noise_shifts_whole_channels_and_is_off_by_default(loaded_tiny, pictures):
    plain = run(fit(FullFineTuning(loaded_tiny), pictures, FAST))
    assert run(fit(FullFineTuning(loaded_tiny, noise_offset=0.0), pictures, FAST)) == plain
    assert run(fit(FullFineTuning(loaded_tiny, noise_offset=0.5), pictures, FAST)) != plain


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_saved_opens_again_and_draws_the_same(whole, tiny, tiny_folder, pictures, tmp_path):
    method = trained(tiny, pictures, train_text_encoder=True, save_whole_model=whole)
    folder = method.save(tmp_path / "learnt")
    picture = draw(method.sd.pipeline(), "a red person")
    assert torch.equal(draw(tiny.with_artefact(folder).pipeline(), "a red person"), picture)
    assert not torch.equal(draw(tiny.pipeline(), "a red person"), picture)
    assert (folder / "vae").exists() == whole
    if whole:
        assert torch.equal(draw(load(folder).pipeline(), "a red person"), picture)
        theirs = StableDiffusionPipeline.from_pretrained(folder)
        assert type(theirs.scheduler) is type(tiny.noise_scheduler)  # and no sampler of ours


def test_sdxl_is_told_the_sizes_of_pictures_of_every_shape(tiny_xl, shapes):
    method = trained(tiny_xl, shapes, train_text_encoder=True)
    told = method.source.moments.time_ids
    assert told[1].tolist() == [40, 72, 0, 1, 24, 40]  # scaled to 24 x 43
    assert method.trained().keys() == {"unet", "text_encoder", "text_encoder_2"}


def test_what_cannot_work_is_refused_before_anything_is_computed(tiny, pictures, monkeypatch):
    bare = [Picture(image=picture.image) for picture in pictures]
    with pytest.raises(ValueError, match=r'has no "text".*no words at all'):
        fit(FullFineTuning(tiny), bare)
    with pytest.raises(ValueError, match='has no "text_ja"'):
        fit(FullFineTuning(tiny, captions=("{text}", "{text_ja}")), pictures)
    with pytest.raises(ValueError, match="multiple of 8"):
        fit(FullFineTuning(tiny), pictures, FitConfig(resolution=30))
    monkeypatch.setattr("sdlearn.finetune.latent_source.MOST_CACHED_BYTES", 1000)
    with pytest.raises(ValueError, match="set cache_latents off"):
        fit(FullFineTuning(tiny), pictures)
    with pytest.raises(ValueError, match=r"caption_dropout is 1\.5"):
        FullConfig(caption_dropout=1.5)
    with pytest.raises(ValueError, match="captions has an empty one"):
        FullConfig(captions=("{text}", " "))
    with pytest.raises(ValueError, match="text_encoder_learning_rate is 0"):
        FullConfig(text_encoder_learning_rate=0)
