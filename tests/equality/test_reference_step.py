"""Five steps of full fine-tuning, LoRA and prior preservation with min-SNR equal the scripts'.

A step of diffusers' train_text_to_image.py, train_text_to_image_lora.py and of the advanced
DreamBooth scripts is written out plainly here, with diffusers' scheduler, peft and torch alone, and
is fed the latents, noise, timesteps and captions that ours drew. Textual Inversion and DreamBooth,
for SDXL as well, are in `test_reference_steps.py`, Imagic in `test_imagic.py`.
"""

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from conftest import make_scheduler
from diffusers.training_utils import EMAModel, compute_snr
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from torch.nn import functional as F
from torch.testing import assert_close

from sdlearn.diffusion import NoiseSchedule
from sdlearn.finetune import DreamBooth, FitConfig, FullFineTuning, LoRA, fit, run
from sdlearn.finetune.parts import TrainedParts

CONFIG = FitConfig(max_train_steps=5, train_batch_size=2, learning_rate=1e-4, seed=3)
RATES = {"unet": 1e-4, "text_encoder": 2e-5}  # the second is ours: theirs have one


class Drawn(NamedTuple):
    """What our step drew."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    prompts: list[str]


@pytest.fixture
def drawn(monkeypatch):
    """What each of our steps draws."""
    steps: list[Drawn] = []
    prompts: list[list[str]] = []
    condition, add_noise = TrainedParts.condition, NoiseSchedule.add_noise

    def look_at_prompts(self, words, text_encoders):
        prompts.append(list(words))
        return condition(self, words, text_encoders)

    def look(self, latents, noise, timesteps):
        steps.append(Drawn(latents.clone(), noise.clone(), timesteps.clone(), prompts[-1]))
        return add_noise(self, latents, noise, timesteps)

    monkeypatch.setattr(TrainedParts, "condition", look_at_prompts)
    monkeypatch.setattr(NoiseSchedule, "add_noise", look)
    return steps


def encoded(sd, text_encoder, prompts):
    input_ids = sd.tokenizer(
        prompts, max_length=24, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    return text_encoder(input_ids, return_dict=False)[0]


def reference_loss(sd, unet, text_encoder, step, snr_gamma=None):
    """Each sample's loss, as train_text_to_image.py computes it."""
    noise_scheduler = sd.noise_scheduler
    noisy_latents = noise_scheduler.add_noise(step.latents, step.noise, step.timesteps)
    encoder_hidden_states = encoded(sd, text_encoder, step.prompts)
    if noise_scheduler.config.prediction_type == "epsilon":
        target = step.noise
    else:
        target = noise_scheduler.get_velocity(step.latents, step.noise, step.timesteps)
    model_pred = unet(noisy_latents, step.timesteps, encoder_hidden_states, return_dict=False)[0]
    loss = F.mse_loss(model_pred.float(), target.float(), reduction="none")
    loss = loss.mean(dim=list(range(1, len(loss.shape))))
    if snr_gamma is None:
        return loss
    snr = compute_snr(noise_scheduler, step.timesteps)
    weights = torch.stack([snr, snr_gamma * torch.ones_like(step.timesteps)], dim=1).min(dim=1)[0]
    if noise_scheduler.config.prediction_type == "epsilon":
        return loss * (weights / snr)
    return loss * (weights / (snr + 1))


def adamw(parts, **settings):
    groups = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": RATES[name]}
        for name, part in parts.items()
    ]
    parameters = [p for group in groups for p in group["params"]]
    return torch.optim.AdamW(groups, weight_decay=1e-2, **settings), parameters


def update(optimizer, parameters, loss):
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def all_close(ours: Any, theirs: Any, begin: Any) -> None:
    """Equal to 1e-6, where both moved fifty times as far or more."""
    for own, reference in zip(ours, theirs, strict=True):
        assert_close(own.detach(), reference.detach(), rtol=0, atol=1e-6)
    moved = [(own.detach() - start).abs().max() for own, start in zip(ours, begin, strict=True)]
    assert max(moved) > 5e-5


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_full_fine_tuning(prediction_type, tiny, pictures, drawn):
    """With min-SNR, a schedule and the average, as train_text_to_image.py has them."""
    tiny = replace(tiny, noise_scheduler=make_scheduler(prediction_type=prediction_type))
    settings = {"caption_dropout": 0.5, "aspect_ratio_buckets": False}
    method = FullFineTuning(tiny, **settings)
    config = replace(CONFIG, lr_scheduler="constant_with_warmup", lr_warmup_steps=2)
    config = replace(config, snr_gamma=5.0, use_ema=True, ema_decay=0.5)
    run(fit(method, pictures, config))

    unet = copy.deepcopy(tiny.unet).requires_grad_(True)
    optimizer, parameters = adamw({"unet": unet})
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 2))
    average = EMAModel(unet.parameters(), decay=0.5)
    for step in drawn:
        losses = reference_loss(tiny, unet, tiny.text_encoder, step, snr_gamma=5.0)
        update(optimizer, parameters, losses.mean())
        schedule.step()
        average.step(unet.parameters())
    average.copy_to(unet.parameters())
    ours, begin = list(method.sd.unet.parameters()), list(tiny.unet.parameters())
    all_close(ours, unet.parameters(), begin)
    assert len(drawn) == 5
    prompts = [prompt for step in drawn for prompt in step.prompts]
    assert "" in prompts
    assert set(prompts) - {""} <= {picture.text for picture in pictures}


def test_full_fine_tuning_with_its_text_encoder(tiny, pictures, drawn):
    method = FullFineTuning(tiny, train_text_encoder=True, aspect_ratio_buckets=False)
    # a large epsilon: the bias of a key has no gradient but rounding errors, which Adam scales up
    run(fit(method, pictures, replace(CONFIG, adam_epsilon=1e-4)))
    parts = {"unet": copy.deepcopy(tiny.unet), "text_encoder": copy.deepcopy(tiny.text_encoder)}
    for part in parts.values():
        part.requires_grad_(True)
    optimizer, parameters = adamw(parts, eps=1e-4)
    begin = [p.detach().clone() for p in parameters]
    for step in drawn:
        update(optimizer, parameters, reference_loss(tiny, *parts.values(), step).mean())
    ours = [p for part in method.trained().values() for p in part.parameters()]
    all_close(ours, parameters, begin)


@pytest.mark.parametrize("train_text_encoder", [False, True])
def test_lora(train_text_encoder, tiny, pictures, drawn):
    settings = {"rank": 3, "alpha": 6.0, "train_text_encoder": train_text_encoder}
    method = LoRA(tiny, **settings)
    start = {name: get_peft_model_state_dict(part) for name, part in method.trained().items()}
    start = copy.deepcopy(start)
    run(fit(method, pictures, replace(CONFIG, adam_epsilon=1e-6)))

    parts = {"unet": copy.deepcopy(tiny.unet), "text_encoder": copy.deepcopy(tiny.text_encoder)}
    targets = {
        "unet": ["to_k", "to_q", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"],
        "text_encoder": ["q_proj", "k_proj", "v_proj", "out_proj"],
    }
    for name, part in parts.items():
        part.requires_grad_(False)
        if name in start:
            part.add_adapter(LoraConfig(r=3, lora_alpha=6.0, target_modules=targets[name]))
            set_peft_model_state_dict(part, start[name])
    optimizer, parameters = adamw({name: parts[name] for name in start}, eps=1e-6)
    for step in drawn:
        update(optimizer, parameters, reference_loss(tiny, *parts.values(), step).mean())
    for name, part in method.trained().items():
        ours, theirs = get_peft_model_state_dict(part), get_peft_model_state_dict(parts[name])
        assert ours.keys() == theirs.keys()
        begin = [start[name][key] for key in ours]
        all_close(list(ours.values()), [theirs[key] for key in ours], begin)


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_dreambooth_with_prior_preservation_and_min_snr(lora_rank, tiny, pictures, drawn):
    """As the two advanced scripts do it; the others' weights are of 2B samples for B losses."""
    method = DreamBooth(
        tiny,
        instance_prompt="a photo of sks person",
        class_prompt="a photo of a person",
        own_class_pictures=pictures[1:],
        prior_loss_weight=0.5,
        lora_rank=lora_rank,
    )
    unet = copy.deepcopy(method.sd.unet)
    run(fit(method, pictures, replace(CONFIG, snr_gamma=5.0, adam_epsilon=1e-6)))
    optimizer, parameters = adamw({"unet": unet}, eps=1e-6)
    begin = [p.detach().clone() for p in parameters]
    for step in drawn:
        assert step.prompts == ["a photo of sks person"] * 2 + ["a photo of a person"] * 2
        losses = reference_loss(tiny, unet, tiny.text_encoder, step, snr_gamma=5.0)
        instance, prior = torch.chunk(losses, 2, dim=0)
        update(optimizer, parameters, instance.mean() + 0.5 * prior.mean())
    ours = [p for p in method.sd.unet.parameters() if p.requires_grad]
    all_close(ours, parameters, begin)
