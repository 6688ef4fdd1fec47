"""What a plan predicts, beside what training really takes."""

import itertools
from dataclasses import replace

import pytest
import torch
from plan_shapes import REDUCED
from torch.profiler import ProfilerActivity, profile

from sdlearn.finetune import FitConfig, fit
from sdlearn.models.architectures import SD15, Architecture
from sdlearn.plan import PlanConfig
from sdlearn.plan.blank import blank_model, find_architecture
from sdlearn.plan.needs import StageNeeds, Tracer
from sdlearn.plan.stages import placeholders, stages

METHODS = [
    ("full", {}),
    ("full", {"train_text_encoder": True, "use_ema": True}),
    ("textual-inversion", {"num_vectors": 2}),
    ("dreambooth", {}),
    ("dreambooth", {"with_prior_preservation": False}),
    ("dreambooth", {"train_text_encoder": True}),
    ("dreambooth", {"lora_rank": 4}),
    ("lora", {}),
    ("lora", {"train_text_encoder": True}),
    ("imagic", {}),
    ("imagic", {"lora_rank": 4}),
]
QUICK = [METHODS[1], METHODS[6]]
SETTINGS = [
    {"gradient_checkpointing": True},
    {"gradient_accumulation_steps": 2},
    {"mixed_precision": "bf16"},
    {"mixed_precision": "bf16", "gradient_checkpointing": True},
]


def predicted(shape: Architecture, method: str, options: dict, fit_config: FitConfig):
    config = PlanConfig(pictures=1, **options)
    return Tracer(method, shape, config, on_cuda=False).needs(fit_config)


def total(stage: StageNeeds) -> int:
    """Bytes of tensors; class pictures are given and not drawn in these tests."""
    preparing = 0 if stage.drawn_pixels else stage.memory.preparing
    return replace(stage.memory, preparing=preparing).total


def measured(shape: Architecture, method: str, options: dict, fit_config: FitConfig) -> int:
    """Bytes of tensors at the peak of training, counted by torch's profiler."""
    sd = blank_model(shape, torch.float32, device="cpu")
    given = sum(p.nbytes for model in sd.models for p in [*model.parameters(), *model.buffers()])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        for stage, _ in stages(method, sd, PlanConfig(**options)):
            for _ in fit(stage, placeholders(1), fit_config):
                pass
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns())
    alive = list(itertools.accumulate(change.nbytes() for change in changes))
    return given + max(alive)


def check(shape: Architecture, method: str, options: dict, within: float, **settings) -> None:
    fit_config = FitConfig(
        max_train_steps=2, train_batch_size=2, use_ema=options.get("use_ema", False), **settings
    )
    stage_needs = predicted(shape, method, options, fit_config)
    expected = max(map(total, stage_needs))
    assert expected == pytest.approx(measured(shape, method, options, fit_config), rel=within)


@pytest.mark.parametrize(("method", "options"), QUICK)
def test_memory_is_what_a_reduced_sd15_takes(method, options):
    check(REDUCED, method, options, within=0.05)


def test_memory_with_savers_is_what_a_reduced_sd15_takes():
    check(REDUCED, "textual-inversion", {}, within=0.05, **SETTINGS[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_memory_of_every_method_is_what_a_reduced_sd15_takes(method, options):
    check(REDUCED, method, options, within=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("method", ["full", "textual-inversion", "lora"])
def test_memory_under_every_saver_is_what_a_reduced_sd15_takes(method, settings):
    check(REDUCED, method, {}, within=0.05, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), METHODS)
def test_memory_of_every_method_is_what_mini_takes(method, options):
    check(find_architecture("mini"), method, options, within=0.05)


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("method", ["textual-inversion", "lora", "full"])
def test_memory_on_a_gpu_is_what_sd15_takes(method, recompute):
    free, _ = torch.cuda.mem_get_info()
    fit_config = FitConfig(
        max_train_steps=2,
        train_batch_size=1,
        mixed_precision="bf16",
        gradient_checkpointing=recompute,
    )
    config = PlanConfig(model="sd15", pictures=1)
    (needs,) = Tracer(method, SD15, config, on_cuda=True).needs(fit_config)
    if needs.memory.total > 0.8 * free:
        pytest.skip("needs a larger GPU")
    sd = blank_model(SD15, torch.bfloat16, device="cuda")
    (stage, _), *_ = stages(method, sd, config)
    del sd
    torch.cuda.reset_peak_memory_stats()
    for _ in fit(stage, placeholders(1), fit_config):
        pass
    assert needs.memory.total == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.15)
