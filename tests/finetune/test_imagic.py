"""Imagic's stages: what trains, what stays, and where the embeddings lead."""

import copy
from dataclasses import replace

import pytest
import torch
from runs import same
from torch.testing import assert_close

from sdlearn.finetune import FitConfig, Imagic, ImagicConfig, fit, run
from sdlearn.finetune.imagic.embedding import LEARNT, interpolate
from sdlearn.finetune.imagic.stages import EmbeddingStage
from sdlearn.models import load
from sdlearn.models.conditioning import Conditioning
from sdlearn.training.batches import draw_batch

PROMPT = "a photo of a red toy"
FAST = {"target_prompt": PROMPT, "num_inference_steps": 2, "etas": (0.0, 0.5, 1.0)}
FAST |= {"embedding_steps": 3, "unet_steps": 2}
FAST |= {"embedding_learning_rate": 1e-2, "unet_learning_rate": 1e-3}
ONE = FitConfig(train_batch_size=1)


@pytest.fixture(params=["tiny", "tiny_xl"])
def model(request):
    return request.getfixturevalue(request.param)


def parts(conditioning):
    found = [getattr(conditioning, name) for name in LEARNT]
    return [part for part in found if part is not None]


def weights(method):
    return [*method.sd.unet.parameters(), *parts(method.e_opt)]


def trained(sd, pictures, config=ONE, **settings):
    imagic = Imagic(sd, **(FAST | settings))
    losses = run(fit(imagic, pictures[:1], config))
    return imagic, losses


def test_a_warm_up_longer_than_a_stage_is_refused_before_the_first_step(tiny, pictures):
    """It was refused when stage A had trained, and named an option that Imagic has not."""
    config = FitConfig(lr_scheduler="constant_with_warmup", lr_warmup_steps=2)
    words = "lr_warmup_steps is 2, and the unet stage ends after 2: .* more unet_steps"
    with pytest.raises(ValueError, match=words):
        fit(Imagic(tiny, **FAST), pictures[:1], config)
    run(fit(Imagic(tiny, **(FAST | {"unet_steps": 0})), pictures[:1], config))


def test_each_stage_trains_its_part_and_the_given_model_keeps_every_bit(model, pictures):
    before = [copy.deepcopy(part.state_dict()) for part in model.models]
    imagic, losses = trained(model, pictures)
    assert len(losses) == 5
    assert len(parts(imagic.e_opt)) == (1 if model.text_encoders.keys() == {"text_encoder"} else 2)
    for e_opt, e_tgt in zip(parts(imagic.e_opt), parts(model.condition([PROMPT])), strict=True):
        assert not torch.equal(e_opt, e_tgt)
    assert same(parts(imagic.e_tgt), parts(model.condition([PROMPT])))
    base = dict(model.unet.named_parameters())
    moved = [n for n, p in imagic.sd.unet.named_parameters() if not torch.equal(p, base[n])]
    assert len(moved) > 0.9 * len(base)
    assert imagic.sd.vae is model.vae
    for part, state in zip(model.models, before, strict=True):
        assert all(torch.equal(part.state_dict()[key], value) for key, value in state.items())
        assert not any(p.requires_grad for p in part.parameters())


def test_the_u_net_is_frozen_in_stage_a_and_the_embedding_in_stage_b(tiny, pictures):
    imagic = Imagic(tiny, **FAST)
    for step in fit(imagic, pictures[:1], ONE):
        if step.stage == "embedding":
            assert imagic.sd.unet is tiny.unet
            learnt = imagic.e_opt
        else:
            assert same(parts(imagic.e_opt), parts(learnt))
    assert same(parts(imagic.unet_stage.embedding), parts(learnt))


def test_either_stage_can_be_left_out(tiny, pictures):
    only_a, losses = trained(tiny, pictures, unet_steps=0)
    assert len(losses) == 3
    assert only_a.sd.unet is tiny.unet
    both, _ = trained(tiny, pictures)
    assert same(parts(only_a.e_opt), parts(both.e_opt))
    only_b, losses = trained(tiny, pictures, embedding_steps=0)
    assert len(losses) == 2
    assert same(parts(only_b.e_opt), parts(only_b.e_tgt))


def test_stage_a_lowers_the_loss_of_reconstruction(tiny, pictures):
    """The loss on a fixed grid of noises and timesteps, which training did not see."""

    def grid_loss(embedding):
        stage = EmbeddingStage(tiny, PROMPT, embedding)
        stage.prepare(pictures[:1], ONE)
        with torch.no_grad():
            batch = draw_batch(0, count=1, size=64, seed=99)
            return float(stage.loss(batch, lambda count: embedding[[0] * count]))

    rate = {"embedding_learning_rate": 0.1}
    imagic = Imagic(tiny, **(FAST | {"embedding_steps": 15, "unet_steps": 0, **rate}))
    run(fit(imagic, pictures[:1], FitConfig(train_batch_size=4)))
    before, after = (grid_loss(e) for e in (imagic.e_tgt, imagic.e_opt))
    assert after < 0.97 * before


def test_the_step_equals_a_literal_transcription_of_the_papers(tiny, pictures):
    """Five steps of Adam on the embedding, then five on the U-Net, from the same numbers."""
    steps = {"embedding_steps": 5, "unet_steps": 5, "unet_learning_rate": 5e-5}
    config = FitConfig(train_batch_size=1, max_grad_norm=0, seed=3)
    imagic, _ = trained(tiny, pictures, config, **steps)

    unet, embedding = copy.deepcopy(tiny.unet), tiny.encode_prompt([PROMPT]).requires_grad_(True)
    moments = imagic.embedding_stage.moments
    for trains, rate in (([embedding], 1e-2), (list(unet.parameters()), 5e-5)):
        unet.requires_grad_(rate == 5e-5)
        embedding.requires_grad_(rate == 1e-2)
        optimizer = torch.optim.Adam(trains, lr=rate)
        for number in range(5):
            generator = draw_batch(number, count=1, size=1, seed=3).generators[0]
            latents = moments.latents([0], [generator])
            timestep = torch.randint(1000, (1,), generator=generator)
            noise = torch.randn((4, 8, 8), generator=generator).unsqueeze(0)
            noisy_latents = tiny.noise_scheduler.add_noise(latents, noise, timestep)
            model_pred = unet(noisy_latents, timestep, embedding).sample
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model_pred, noise).backward()
            optimizer.step()
    assert_close(imagic.e_opt.encoder_hidden_states, embedding.detach(), rtol=0, atol=1e-6)
    for ours, theirs in zip(imagic.sd.unet.parameters(), unet.parameters(), strict=True):
        assert_close(ours.detach(), theirs.detach(), rtol=0, atol=1e-6)


def test_steps_count_on_from_one_stage_to_the_next(tiny, pictures):
    steps = list(fit(Imagic(tiny, **FAST), pictures[:1], FitConfig(train_batch_size=2)))
    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    assert [step.stage for step in steps] == ["embedding"] * 3 + ["unet"] * 2
    assert [step.max_train_steps for step in steps] == [5] * 5
    assert [step.epoch for step in steps] == [2, 4, 6, 8, 10]
    assert [step.learning_rate for step in steps] == [1e-2] * 3 + [1e-3] * 2


def test_steps_and_rates_are_the_models_own_unless_given(tiny, pictures):
    own = {"train_steps": {"imagic-embedding": 2}, "learning_rates": {"imagic-embedding": 0.5}}
    imagic = Imagic(replace(tiny, **own), target_prompt=PROMPT)
    assert imagic.steps == {"embedding": 2, "unet": 1500}
    imagic = Imagic(replace(tiny, **own), target_prompt=PROMPT, unet_steps=1)
    assert [step.learning_rate for step in fit(imagic, pictures[:1], ONE)] == [0.5, 0.5, 5e-7]
    mini = load("mini", device="cpu")
    assert Imagic(mini, target_prompt=PROMPT).steps == {"embedding": 150, "unet": 250}


def test_a_second_run_starts_anew_and_equals_the_first(tiny, pictures):
    imagic, losses = trained(tiny, pictures)
    first = [w.detach().clone() for w in weights(imagic)]
    torch.manual_seed(5)
    assert run(fit(imagic, pictures[:1], ONE)) == losses
    assert same(weights(imagic), first)
    assert trained(tiny, pictures, replace(ONE, seed=1))[1] != losses


@pytest.mark.parametrize("stop_at", [2, 3, 4])
def test_a_run_stopped_in_either_stage_goes_on_bit_for_bit(stop_at, tiny, pictures, tmp_path):
    straight, losses = trained(tiny, pictures)
    config = replace(ONE, output_dir=tmp_path, checkpointing_steps=1)
    steps = fit(Imagic(tiny, **FAST), pictures[:1], config)
    for step in steps:
        if step.step == stop_at:
            break
    steps.close()
    torch.manual_seed(99)
    resumed, rest = trained(tiny, pictures, replace(config, resume=True))
    assert rest == losses[stop_at:]
    assert same(weights(resumed), weights(straight))
    assert {path.name for path in tmp_path.iterdir()} == {"embedding", "unet"}
    again, none = trained(tiny, pictures, replace(config, resume=True))
    assert none == []
    assert same(weights(again), weights(straight))


def test_stage_b_does_not_go_on_from_another_embedding(tiny, pictures, tmp_path):
    config = replace(ONE, output_dir=tmp_path)
    trained(tiny, pictures, config)
    assert len(trained(tiny, pictures, replace(config, resume=True), unet_steps=3)[1]) == 1
    with pytest.raises(ValueError, match=r"unet.* other settings .*embedding was checksum"):
        trained(tiny, pictures, replace(config, resume=True), embedding_steps=4)


@pytest.mark.parametrize("seed", [0, 1])
def test_eta_0_and_1_are_the_two_embeddings_exactly(seed):
    torch.manual_seed(seed)
    e_tgt = Conditioning(torch.randn(1, 24, 16) * 100, torch.randn(1, 8))
    e_opt = Conditioning(torch.randn(1, 24, 16) / 100, torch.randn(1, 8))
    for eta, expected in ((0.0, e_opt), (1.0, e_tgt)):
        assert same(parts(interpolate(e_tgt, e_opt, eta)), parts(expected))
    for eta in (0.25, 0.7, 1.2, -0.1):
        for mixed, a, b in zip(
            parts(interpolate(e_tgt, e_opt, eta)), parts(e_tgt), parts(e_opt), strict=True
        ):
            assert_close(mixed, eta * a + (1 - eta) * b, rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match="eta is nan"):
        interpolate(e_tgt, e_opt, float("nan"))


def test_at_eta_1_a_model_without_stage_b_draws_the_prompt(model, pictures):
    imagic, _ = trained(model, pictures, unet_steps=0)
    ours = imagic.result.draw([1.0], seed=7, output_type="pt")[0]
    settings = {"num_inference_steps": 2, "guidance_scale": 5.0, "output_type": "pt"}
    generator = torch.Generator().manual_seed(7)
    theirs = model.pipeline()(PROMPT, generator=generator, **settings).images[0]
    assert torch.equal(ours, theirs)
    assert not torch.equal(imagic.result.draw([0.0], seed=7, output_type="pt")[0], ours)


def test_the_texts_of_what_cannot_be(tiny, pictures):
    with pytest.raises(TypeError, match="target_prompt"):
        Imagic(tiny)
    for settings, words in [
        ({"target_prompt": " "}, "target_prompt is empty"),
        ({"embedding_steps": 0, "unet_steps": 0}, "are both 0"),
        ({"unet_steps": -1}, "unet_steps is -1"),
        ({"unet_learning_rate": 0.0}, "unet_learning_rate is 0.0"),
        ({"keep": 0.0}, "keep is 0.0"),
        ({"etas": (0.5, 1.0)}, "do not rise from 0"),
        ({"etas": (0.0, float("nan"))}, "do not rise from 0"),
        ({"etas": (0.0, 0.5, float("inf"))}, "do not rise from 0"),
        ({"guidance_scale": float("inf")}, "guidance_scale is inf: give a finite number"),
    ]:
        with pytest.raises(ValueError, match=words):
            ImagicConfig(**(FAST | settings))
    imagic = Imagic(tiny, **FAST)
    for given, config, words in [
        (pictures[:2], ONE, "one picture and was given 2"),
        ([], ONE, "one picture and was given 0"),
        (pictures[:1], replace(ONE, resolution=30), "30 pixels do not fit"),
        (pictures[:1], replace(ONE, max_train_steps=7), "set embedding_steps and unet_steps"),
        (pictures[:1], replace(ONE, learning_rate=1.0), "set embedding_learning_rate and unet_l"),
    ]:
        with pytest.raises(ValueError, match=words):
            fit(imagic, given, config)
    with pytest.raises(ValueError, match="one picture and was given 4"):
        fit(EmbeddingStage(tiny, PROMPT, imagic.e_tgt), pictures, ONE)
