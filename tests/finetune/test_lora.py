"""LoRA: only the updates train, and the model they stand beside stays as it is."""

import copy

import pytest
import torch
from peft import LoraConfig
from runs import draw, weights
from torch.testing import assert_close

from sdlearn.diffusion import NoiseSchedule
from sdlearn.finetune import FitConfig, LoRA, fit, run
from sdlearn.models.lora import TRAINED, adapted_layers, adapter_weights, new_adapter, parts_of
from sdlearn.training.batches import draw_batch

FAST = FitConfig(max_train_steps=3, train_batch_size=2, learning_rate=1e-2)


@pytest.fixture(params=["tiny", "tiny_xl"])
def sd(request):
    return request.getfixturevalue(request.param)


class HandWritten(torch.nn.Module):
    """A linear layer with a low-rank update: W x + alpha / r B A x (arXiv:2106.09685, eq. 3)."""

    def __init__(self, base, down, alpha):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = torch.nn.Parameter(down)
        self.up = torch.nn.Parameter(torch.zeros(base.out_features, len(down)))
        self.scale = alpha / len(down)

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.down.T @ self.up.T)


def train_for_five_steps(model, x, target):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(5):
        torch.nn.functional.mse_loss(model(x), target).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model(x)


def test_a_layer_written_by_hand_trains_as_pefts_does():
    generator = torch.Generator().manual_seed(3)
    base = torch.nn.Sequential(torch.nn.Linear(6, 5)).requires_grad_(False)
    x, target = torch.randn(8, 6, generator=generator), torch.randn(8, 5, generator=generator)
    theirs = new_adapter(base, LoraConfig(r=2, lora_alpha=3.0, target_modules=["0"]))
    for weight in adapter_weights(theirs, TRAINED):
        weight.requires_grad_(True)
    layer = adapted_layers(theirs)["0"]
    ours = HandWritten(base[0], layer.lora_A[TRAINED].weight.detach().clone(), alpha=3.0)
    assert torch.equal(ours(x), base(x))
    assert_close(train_for_five_steps(ours, x, target), train_for_five_steps(theirs, x, target))
    assert_close(ours.down, layer.lora_A[TRAINED].weight)
    assert_close(ours.up, layer.lora_B[TRAINED].weight)
    assert ours.up.abs().max() > 0.01


def test_new_updates_change_nothing_bit_for_bit(sd):
    method = LoRA(sd, train_text_encoder=True, dropout=0.5, init="kaiming")
    assert torch.equal(draw(method.sd.pipeline()), draw(sd.pipeline()))
    downs = weights(method)[::2]
    assert all(down.abs().max() > 0 for down in downs)


def test_dropout_is_of_the_updates_and_only_while_they_train(tiny):
    method = LoRA(tiny, dropout=0.5)
    with torch.no_grad():
        for weight in method.parameter_groups(1.0)[0]["params"]:
            weight.fill_(0.1)
    inputs = torch.ones(1, 4, 8, 8), 5, torch.ones(1, 24, 16)
    torch.manual_seed(0)
    drawn = [method.sd.unet(*inputs).sample for _ in range(2)]
    assert torch.equal(*drawn)
    method.sd.unet.train()
    assert not torch.equal(drawn[0], method.sd.unet(*inputs).sample)


@pytest.mark.parametrize("train_text_encoder", [False, True])
def test_only_updates_train_and_the_model_they_share_weights_with_stays_as_it_is(
    train_text_encoder, sd, pictures
):
    before = [copy.deepcopy(model.state_dict()) for model in sd.models]
    modules = [[type(m) for m in model.modules()] for model in sd.models]
    picture = draw(sd.pipeline())
    method = LoRA(sd, train_text_encoder=train_text_encoder)
    updates = weights(method)
    assert {u.dtype for u in updates} == {torch.float32}
    for _ in fit(method, pictures, FAST):
        assert torch.equal(draw(sd.pipeline()), picture)
    assert not any(torch.equal(old, new) for old, new in zip(updates, weights(method), strict=True))
    assert not torch.equal(draw(method.sd.pipeline()), picture)
    for model, state, kinds in zip(sd.models, before, modules, strict=True):
        assert [type(m) for m in model.modules()] == kinds
        assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())
    bases = {p.data_ptr() for model in sd.models for p in model.parameters()}
    for name, part in parts_of(method.sd).items():
        rest = [p for key, p in part.named_parameters() if "lora_" not in key]
        assert {p.data_ptr() for p in rest} <= bases
        assert not any(p.requires_grad for p in rest)
        adapted = name == "unet" or train_text_encoder
        assert (len(rest) < len(list(part.parameters()))) == adapted


def test_five_steps_equal_those_of_diffusers_script(tiny, pictures):
    config = FitConfig(max_train_steps=5, train_batch_size=2, learning_rate=1e-2, seed=3)
    attention = ("to_k", "to_q", "to_v", "to_out.0")  # the script's
    method = LoRA(tiny, rank=2, alpha=3.0, target_modules=attention)
    start = weights(method)
    run(fit(method, pictures, config))

    unet = copy.deepcopy(tiny.unet)
    unet.add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=list(attention)))
    lora_layers = [p for p in unet.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter, value in zip(lora_layers, start, strict=True):
            parameter.copy_(value)
    optimizer = torch.optim.AdamW(lora_layers, lr=1e-2, weight_decay=1e-2, eps=1e-8)
    for step in range(5):
        batch = draw_batch(step, count=4, size=2, seed=3)
        latents = method.moments.latents(batch.indices, batch.generators)
        timesteps = torch.stack([torch.randint(1000, (), generator=g) for g in batch.generators])
        noise = torch.stack([torch.randn((4, 8, 8), generator=g) for g in batch.generators])
        noisy_latents = tiny.noise_scheduler.add_noise(latents, noise, timesteps)
        input_ids = tiny.tokenize([pictures[i].text for i in batch.indices])
        encoder_hidden_states = tiny.text_encoder(input_ids)[0]
        model_pred = unet(noisy_latents, timesteps, encoder_hidden_states).sample
        torch.nn.functional.mse_loss(model_pred.float(), noise).backward()
        torch.nn.utils.clip_grad_norm_(lora_layers, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert_close(weights(method), [p.detach() for p in lora_layers], rtol=1e-4, atol=1e-6)


def test_text_encoders_have_a_learning_rate_of_their_own(sd):
    method = LoRA(sd, train_text_encoder=True, text_encoder_learning_rate=3e-6)
    rates = [group["lr"] for group in method.parameter_groups(1e-3)]
    assert rates == [1e-3, *[3e-6] * len(sd.text_encoders)]


def test_captions_are_encoded_once_where_no_text_encoder_trains(tiny, pictures, monkeypatch):
    encoded = []
    encode = type(tiny).encode
    monkeypatch.setattr(
        type(tiny), "encode", lambda self, ids, **te: encoded.append(ids) or encode(self, ids, **te)
    )
    run(fit(LoRA(tiny), pictures, FAST))
    assert len(encoded) == 5  # four captions and the empty one
    run(fit(LoRA(tiny, train_text_encoder=True), pictures, FAST))
    assert len(encoded) == 5 + 3  # once a step


def test_captions_are_left_out_at_the_rate_asked_for(tiny, pictures, monkeypatch):
    method = LoRA(tiny, caption_dropout=0.3)
    method.prepare(pictures, FitConfig())
    seen = []
    monkeypatch.setattr(
        "sdlearn.finetune.denoising.denoising_losses",
        lambda unet, latents, conditioning, *rest, **more: (
            seen.extend(conditioning.encoder_hidden_states) or torch.zeros(len(latents))
        ),
    )
    for number in range(60):
        method.loss(draw_batch(number, count=4, size=8, seed=1), unet=method.sd.unet)
    empty = tiny.condition([""]).encoder_hidden_states[0]
    dropped = sum(torch.equal(states, empty) for states in seen)
    assert len(seen) == 480
    assert abs(dropped / 480 - 0.3) < 0.06  # three standard deviations


def test_without_dropout_a_sample_is_noised_as_in_every_method(tiny, pictures):
    method = LoRA(tiny)
    method.prepare(pictures, FitConfig())
    loss = method.loss(draw_batch(2, count=4, size=1, seed=4), unet=tiny.unet)
    batch = draw_batch(2, count=4, size=1, seed=4)
    latents = method.moments.latents(batch.indices, batch.generators)
    timestep = torch.randint(1000, (1,), generator=batch.generators[0])
    noise = torch.randn((4, 8, 8), generator=batch.generators[0]).unsqueeze(0)
    noisy = NoiseSchedule.from_scheduler(tiny.noise_scheduler).add_noise(latents, noise, timestep)
    states = tiny.encode_prompt([pictures[batch.indices[0]].text])
    expected = torch.nn.functional.mse_loss(tiny.unet(noisy, timestep, states).sample, noise)
    assert_close(loss, expected)
