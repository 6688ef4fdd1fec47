"""Custom Diffusion trains the cross-attention's keys and values, and nothing else."""

import pytest
import torch

from sdlearn.finetune import CustomDiffusion, FitConfig, fit, run
from sdlearn.models.artefact import with_artefact

FAST = {"with_prior_preservation": False}


def test_exactly_the_keys_and_values_of_the_cross_attention_move(tiny, pictures, tmp_path):
    before = {name: weight.clone() for name, weight in tiny.unet.named_parameters()}
    method = CustomDiffusion(tiny, **FAST)
    run(fit(method, pictures, FitConfig(max_train_steps=2, learning_rate=1e-2)))
    after = dict(method.sd.unet.named_parameters())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if ".attn2.to_k." in name or ".attn2.to_v." in name}
    loaded = with_artefact(tiny, method.save(tmp_path / "learnt")).unet
    assert all(torch.equal(weight, after[name]) for name, weight in loaded.named_parameters())


def test_what_trains_besides_is_refused(tiny):
    for setting in ({"lora_rank": 2}, {"train_text_encoder": True}):
        with pytest.raises(ValueError, match="trains keys and values alone: leave out lora_rank"):
            CustomDiffusion(tiny, **setting)
