"""Five steps of ours equal five of diffusers' scripts, given the same latents, noise and ids.

What a step of theirs does is written out here, apart from its known errors: weight decay on the
learned word, and SDXL's prompt pooled at the word instead of at its end.
"""

import copy

import pytest
import torch
from diffusers import DDPMScheduler
from torch.nn import functional as F
from torch.testing import assert_close

from sdlearn.finetune import DreamBooth, FitConfig, TextualInversion, fit, run
from sdlearn.training.batches import draw_batch

TOKEN = "<my-character>"
TIME_IDS = torch.tensor(
    [[48.0, 48.0, 0.0, 0.0, 32.0, 32.0]]
)  # pictures of 48 pixels, trained at 32
SETTINGS = {"max_train_steps": 5, "train_batch_size": 2, "seed": 3}


@pytest.fixture(params=["tiny", "tiny_xl"])
def sd(request):
    return request.getfixturevalue(request.param)


def encoder_inputs(text_encoders, input_ids):
    """What the scripts give to the U-Net: for SDXL the last but one states, and the pooled ones."""
    if len(text_encoders) == 1:
        return {"encoder_hidden_states": text_encoders[0](input_ids[0])[0]}
    states = []
    for text_encoder, ids in zip(text_encoders, input_ids, strict=True):
        prompt_embeds = text_encoder(ids, output_hidden_states=True)
        pooled_prompt_embeds = prompt_embeds[0]
        states.append(prompt_embeds.hidden_states[-2])
    time_ids = TIME_IDS.repeat(len(ids), 1)
    return {
        "encoder_hidden_states": torch.cat(states, dim=-1),
        "added_cond_kwargs": {"text_embeds": pooled_prompt_embeds, "time_ids": time_ids},
    }


def tokenized(tokenizers, prompts):
    return [
        tokenizer(
            prompts, padding="max_length", max_length=24, truncation=True, return_tensors="pt"
        ).input_ids
        for tokenizer in tokenizers
    ]


def noised(sd, latents, generators):
    timesteps = torch.stack([torch.randint(1000, (), generator=g) for g in generators])
    noise = torch.stack([torch.randn((4, 8, 8), generator=g) for g in generators])
    noise_scheduler = DDPMScheduler.from_config(sd.noise_scheduler.config)  # SDXL's is Euler's
    return noise_scheduler.add_noise(latents, noise, timesteps), timesteps, noise


def test_textual_inversion(sd, pictures):
    template = "a photo of a {}"
    method = TextualInversion(sd, num_vectors=1, templates=(template,))
    start = [rows.rows.detach().clone() for rows in method.new_rows]
    run(fit(method, pictures, FitConfig(learning_rate=1e-2, max_grad_norm=0, **SETTINGS)))

    tokenizers = [copy.deepcopy(tokenizer) for tokenizer in sd.tokenizers.values()]
    text_encoders = [copy.deepcopy(encoder) for encoder in sd.text_encoders.values()]
    tables = []
    for tokenizer, text_encoder, rows in zip(tokenizers, text_encoders, start, strict=True):
        tokenizer.add_tokens([TOKEN])
        text_encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        table = text_encoder.get_input_embeddings().weight
        table.data[-1:] = rows
        tables.append(table.requires_grad_(True))
    originals = [table.detach().clone() for table in tables]
    optimizer = torch.optim.AdamW(tables, lr=1e-2, weight_decay=0.0)
    for step in range(5):
        batch = draw_batch(step, count=4, size=2, seed=3)
        latents = method.moments.latents(batch.indices, batch.generators)
        for generator in batch.generators:
            torch.randint(1, (), generator=generator)  # which template
        noisy_latents, timesteps, noise = noised(sd, latents, batch.generators)
        input_ids = tokenized(tokenizers, [template.format(TOKEN)] * 2)
        inputs = encoder_inputs(text_encoders, input_ids)
        model_pred = sd.unet(noisy_latents, timesteps, **inputs).sample
        F.mse_loss(model_pred.float(), noise.float(), reduction="mean").backward()
        optimizer.step()
        optimizer.zero_grad()
        for table, original in zip(tables, originals, strict=True):
            table.data[:-1] = original[:-1]
    for rows, table, begin in zip(method.new_rows, tables, start, strict=True):
        assert_close(rows.rows.detach(), table[-1:].detach(), rtol=0, atol=1e-6)
        assert (rows.rows - begin).abs().min() > 1e-3


@pytest.mark.parametrize("train_text_encoder", [False, True])
def test_dreambooth_with_prior_preservation(train_text_encoder, sd, pictures):
    prompts = ("a photo of sks person", "a photo of a person")
    method = DreamBooth(
        sd,
        instance_prompt=prompts[0],
        class_prompt=prompts[1],
        own_class_pictures=pictures[1:],
        train_text_encoder=train_text_encoder,
        text_encoder_learning_rate=1e-4 if train_text_encoder else None,
        prior_loss_weight=0.5,
    )
    # a large epsilon: Adam's first steps divide rounding errors of small gradients by themselves
    config = FitConfig(learning_rate=1e-4, adam_epsilon=1e-4, **SETTINGS)
    run(fit(method, pictures, config))

    unet = copy.deepcopy(sd.unet).requires_grad_(True)
    text_encoders = [copy.deepcopy(encoder) for encoder in sd.text_encoders.values()]
    trained = [unet, *text_encoders] if train_text_encoder else [unet]
    params_to_optimize = [p for m in trained for p in m.requires_grad_(True).parameters()]
    optimizer = torch.optim.AdamW(params_to_optimize, lr=1e-4, weight_decay=1e-2, eps=1e-4)
    for step in range(5):
        instance = draw_batch(step, count=4, size=2, seed=3)
        class_ = instance.beside(3, 2)
        indices = [*instance.indices, *(4 + i for i in class_.indices)]
        generators = [*instance.generators, *class_.generators]
        latents = method.moments.latents(indices, generators)
        noisy_latents, timesteps, noise = noised(sd, latents, generators)
        input_ids = tokenized(sd.tokenizers.values(), [prompts[0]] * 2 + [prompts[1]] * 2)
        inputs = encoder_inputs(text_encoders, input_ids)
        model_pred = unet(noisy_latents, timesteps, **inputs).sample
        model_pred, model_pred_prior = torch.chunk(model_pred, 2, dim=0)
        target, target_prior = torch.chunk(noise, 2, dim=0)
        loss = F.mse_loss(model_pred.float(), target.float(), reduction="mean")
        prior_loss = F.mse_loss(model_pred_prior.float(), target_prior.float(), reduction="mean")
        (loss + 0.5 * prior_loss).backward()
        torch.nn.utils.clip_grad_norm_(params_to_optimize, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    ours = [p for model in method.trained().values() for p in model.parameters()]
    for own, reference in zip(ours, params_to_optimize, strict=True):
        assert_close(own.detach(), reference.detach(), rtol=0, atol=1e-6)
