"""What saves memory and time on the way: the same updates, and nothing left changed behind."""

import copy
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from runs import dreambooth, same, weights

from sdlearn.finetune import FitConfig, TextualInversion, fit, run
from sdlearn.training.accelerator import check_optimizer, float32_products
from sdlearn.training.checkpoint import checkpoints

CONFIG = FitConfig(max_train_steps=2, train_batch_size=2, learning_rate=1e-3)


def recomputing(model):
    return [name for name, m in model.named_modules() if getattr(m, "gradient_checkpointing", 0)]


def count_queries(sd):
    """Count how often each attention of text encoder and U-Net computes its queries."""
    counts = {}
    for name, module in (*sd.text_encoder.named_modules(), *sd.unet.named_modules()):
        if name.endswith(("q_proj", "to_q")):
            counts[name] = 0
            module.register_forward_hook(
                lambda *_, name=name: counts.update({name: counts[name] + 1})
            )
    return counts


@pytest.mark.parametrize("make", [TextualInversion, dreambooth])
def test_recomputed_activations_give_the_same_updates_bit_for_bit(make, tiny, pictures):
    for module in tiny.unet.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    plain, saving = make(copy.deepcopy(tiny)), make(tiny)
    once, twice = count_queries(plain.sd), count_queries(saving.sd)
    losses = run(fit(plain, pictures, CONFIG))
    assert run(fit(saving, pictures, replace(CONFIG, gradient_checkpointing=True))) == losses
    assert same(weights(saving), weights(plain))
    assert set(once.values()) == {2}
    assert set(twice.values()) == {4}


@pytest.mark.parametrize("make", [TextualInversion, dreambooth])
def test_the_given_model_recomputes_as_before_afterwards(make, tiny, pictures):
    config = replace(CONFIG, gradient_checkpointing=True)
    run(fit(make(tiny), pictures, config))
    stopped = fit(make(tiny), pictures, config)
    next(stopped)
    stopped.close()
    assert not recomputing(tiny.unet)
    assert not recomputing(tiny.text_encoder)
    tiny.unet.enable_gradient_checkpointing()
    own = recomputing(tiny.unet)
    run(fit(TextualInversion(tiny), pictures, config))
    assert own
    assert recomputing(tiny.unet) == own


def test_a_run_may_go_on_with_other_savers(loaded_tiny, pictures, tmp_path):
    straight = dreambooth(loaded_tiny)
    run(fit(straight, pictures, CONFIG))
    config = replace(CONFIG, output_dir=tmp_path, checkpointing_steps=1)
    next(fit(dreambooth(loaded_tiny), pictures, config))
    resumed = dreambooth(loaded_tiny)
    run(fit(resumed, pictures, replace(config, resume=True, gradient_checkpointing=True)))
    assert same(weights(resumed), weights(straight))


def test_8_bit_adam_is_refused_in_words_where_it_cannot_be(loaded_tiny, pictures, monkeypatch):
    config = replace(CONFIG, use_8bit_adam=True)
    with pytest.raises(ValueError, match=r"use_8bit_adam works on CUDA GPUs only.*cpu"):
        fit(TextualInversion(loaded_tiny), pictures, config)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ValueError, match="pip install bitsandbytes"):
        check_optimizer(config, torch.device("cuda"))


class CoarseAdam(torch.optim.AdamW):
    """Keeps a count and bytes as bitsandbytes' AdamW8bit does, on the CPU."""

    def step(self, closure=None):
        super().step(closure)
        for state in self.state.values():
            state["count"] = state.get("count", 0) + 1
            coarse = (state["exp_avg"] * 1e4).to(torch.uint8)
            state["state1"] = coarse ^ state.get("state1", 0)  # no such thing for other types

    def state_dict(self):
        packed = super().state_dict()  # bitsandbytes hides its tensors one level deeper
        packed["state"] = {key: {"hidden": value} for key, value in packed["state"].items()}
        return packed

    def load_state_dict(self, state_dict):
        for index, parameter in enumerate(self.param_groups[0]["params"]):
            self.state[parameter] |= state_dict["state"].get(index, {})


def test_8_bit_adam_trains_with_all_settings_and_resumes(
    loaded_tiny, pictures, tmp_path, monkeypatch
):
    made = []

    def make(groups, **settings):
        made.append(CoarseAdam(groups, **settings))
        return made[-1]

    module = SimpleNamespace(optim=SimpleNamespace(AdamW8bit=make), __spec__=None)
    monkeypatch.setitem(sys.modules, "bitsandbytes", module)
    monkeypatch.setattr("sdlearn.training.settings.check_optimizer", lambda *a: None)
    config = replace(CONFIG, use_8bit_adam=True, adam_beta1=0.8, adam_weight_decay=0.5)
    straight = TextualInversion(loaded_tiny)
    run(fit(straight, pictures, config))
    assert made[0].defaults["betas"] == (0.8, 0.999)
    assert made[0].defaults["weight_decay"] == 0.5
    config = replace(config, output_dir=tmp_path, checkpointing_steps=1)
    next(fit(TextualInversion(loaded_tiny), pictures, config))
    assert checkpoints(tmp_path)
    resumed = TextualInversion(loaded_tiny)
    run(fit(resumed, pictures, replace(config, resume=True)))
    assert same(weights(resumed), weights(straight))
    kept, other = (next(iter(optimizer.state.values())) for optimizer in (made[0], made[-1]))
    assert other["count"] == kept["count"] == 2
    assert other["state1"].dtype == torch.uint8
    assert torch.equal(other["state1"], kept["state1"])


def test_tf32_is_on_for_a_gpus_products_only_while_they_run():
    def precision(allow_tf32, device):
        with float32_products(allow_tf32, torch.device(device)):
            return torch.get_float32_matmul_precision()

    before = torch.get_float32_matmul_precision()
    assert precision(True, "cuda") == "high"
    assert precision(False, "cuda") == precision(True, "cpu") == before
    with pytest.raises(KeyError), float32_products(True, torch.device("cuda")):
        raise KeyError
    assert torch.get_float32_matmul_precision() == before
