"""Which settings a plan chooses, for what reasons, and what it refuses."""

from dataclasses import replace

import pytest

from sdlearn.finetune import FitConfig
from sdlearn.plan import PlanConfig
from sdlearn.plan.choose import MARGIN, Row, base_fit, choose, compare, find_row, most_sparing
from sdlearn.plan.machine import GB, Machine, gpu_of
from sdlearn.plan.needs import Memory, StageNeeds

TRAINED = 10**9


class Formula:
    """Stands in for the tracer: 3 GB of weights, 1 GB for each picture, a quarter recomputed."""

    def __init__(self, config: PlanConfig) -> None:
        self.config = config

    def is_known(self, fit: FitConfig) -> bool:
        return True

    def needs(self, fit: FitConfig) -> list[StageNeeds]:
        share = 0.25 if fit.gradient_checkpointing else 1.0
        memory = Memory(
            weights=3 * GB,
            gradients=4 * TRAINED,
            moments=2 * TRAINED if fit.use_8bit_adam else 8 * TRAINED,
            ema=0,
            activations=int(share * fit.train_batch_size * GB),
            caches=0,
            preparing=2 * GB,
        )
        work = 4e12 if fit.gradient_checkpointing else 3e12
        return [
            StageNeeds(
                name="formula",
                steps=10,
                sizes=(TRAINED,),
                memory=memory,
                flops=work * fit.train_batch_size * fit.gradient_accumulation_steps,
                preparing_flops=6e12,
                drawn_pixels=0,
            )
        ]


def machine(gigabytes: float, **changes) -> Machine:
    """A GPU with so much memory for a plan."""
    return replace(gpu_of(gigabytes / MARGIN), **changes)


def chosen(gigabytes: float, **options) -> FitConfig | None:
    config = PlanConfig(**options)
    gpu = machine(gigabytes)
    row = choose(Formula(config), gpu, base_fit("dreambooth", config, gpu))
    return row and row.fit


def savers(fit: FitConfig | None) -> tuple | None:
    if fit is None:
        return None
    return fit.gradient_checkpointing, fit.use_8bit_adam, fit.train_batch_size


@pytest.mark.parametrize(
    ("gigabytes", "expected"),
    [  # what is needed: 3 + 4 + 8 or 2 + activations + 0.6 + 5 % of gradients and activations
        (24.0, (False, False, 4)),
        (20.01, (False, False, 4)),
        (19.99, (False, True, 4)),
        (14.01, (False, True, 4)),
        (13.99, (False, True, 2)),
        (11.91, (False, True, 2)),
        (11.89, (False, True, 1)),
        (10.86, (False, True, 1)),
        (10.84, (True, True, 2)),
        (10.31, (True, True, 1)),
        (10.07, (True, True, 1)),
        (10.05, None),
    ],
)
def test_the_fastest_settings_that_fit_are_chosen(gigabytes, expected):
    assert savers(chosen(gigabytes)) == expected


@pytest.mark.parametrize("gigabytes", [9.0, 11.0, 14.0, 26.0, 60.0, 300.0])
@pytest.mark.parametrize("pictures", [60, 5040, 8192])
def test_a_batch_of_many_divisors_is_cut_into_the_fewest_parts_by_a_few_tries(gigabytes, pictures):
    config, gpu = PlanConfig(train_batch_size=pictures), machine(gigabytes)
    fit, tracer = base_fit("dreambooth", config, gpu), Formula(config)
    tried = []
    tracer.needs = lambda fit: (tried.append(fit), Formula.needs(tracer, fit))[1]
    row = choose(tracer, gpu, fit)
    assert len(tried) < 40
    assert max(fit.train_batch_size for fit in tried) <= max(64, pictures // 7)
    one_by_one = (
        replace(
            fit,
            train_batch_size=pictures // parts,
            gradient_accumulation_steps=parts,
            gradient_checkpointing=recompute,
            use_8bit_adam=eight,
        )
        for recompute in (False, True)
        for parts in range(1, pictures + 1)
        if pictures % parts == 0
        for eight in (False, True)
    )
    fits = (way for way in one_by_one if find_row(Formula(config), gpu, way).fits)
    assert (row and row.fit) == next(fits, None)


@pytest.mark.parametrize("pictures", [4, 8192])
def test_what_cannot_fit_at_any_batch_is_given_up_after_one_try(pictures):
    config, gpu = PlanConfig(train_batch_size=pictures), machine(9.5)  # 9.6 are always there
    tracer, tried = Formula(config), []
    tracer.needs = lambda fit: (tried.append(fit), Formula.needs(tracer, fit))[1]
    assert choose(tracer, gpu, base_fit("dreambooth", config, gpu)) is None
    assert len(tried) == 1


def test_a_batch_in_parts_is_as_many_pictures_a_step():
    fit = chosen(13.99)
    assert fit.train_batch_size * fit.gradient_accumulation_steps == FitConfig().train_batch_size


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_checkpointing": True},
        {"use_8bit_adam": False},
        {"gradient_checkpointing": False, "use_8bit_adam": True},
        {"mixed_precision": "fp16"},
        {"use_ema": True},
        {"resolution": 256},
    ],
)
def test_what_is_asked_for_is_never_overruled(options):
    fit = chosen(30.0, **options)
    assert {name: getattr(fit, name) for name in options} == options
    if options == {"use_8bit_adam": False}:
        assert chosen(14.0, **options) is None


def test_precision_is_half_on_a_gpu_and_full_on_a_processor():
    config = PlanConfig()
    processor = Machine(name="a processor", on_cuda=False, memory=GB)
    assert base_fit("lora", config, processor).mixed_precision == "no"
    assert base_fit("lora", config, gpu_of(8)).mixed_precision == "bf16"
    old = replace(gpu_of(8), has_bf16=False)
    assert base_fit("lora", config, old).mixed_precision == "fp16"


def test_8_bit_moments_are_chosen_only_where_they_can_be_had():
    config, gpu = PlanConfig(), machine(19.99, has_8bit_adam=False)
    tracer, fit = Formula(config), base_fit("full", config, gpu)
    assert savers(choose(tracer, gpu, fit).fit) == (False, False, 2)
    assert not any(row.fit.use_8bit_adam for row in compare(tracer, gpu, fit))


def test_the_comparison_has_every_saver_that_is_known_once_at_one_precision_and_batch():
    config, gpu = PlanConfig(), gpu_of(12)
    fit = base_fit("full", config, gpu)
    rows = compare(Formula(config), gpu, fit)
    shown = {
        (r.fit.mixed_precision, r.fit.gradient_checkpointing, r.fit.use_8bit_adam) for r in rows
    }
    assert len(rows) == len(shown) == 4
    assert {(row.fit.train_batch_size, row.fit.mixed_precision) for row in rows} == {(4, "bf16")}
    tracer = Formula(config)
    tracer.is_known = lambda fit: not fit.gradient_checkpointing
    assert compare(tracer, gpu, fit) == rows[:2]


def test_the_least_is_less_than_every_other_way():
    config, gpu = PlanConfig(), gpu_of(4)
    row = most_sparing(Formula(config), gpu, base_fit("full", config, gpu))
    assert savers(row.fit) == (True, True, 1)
    assert row.needed == pytest.approx(10.06 * GB, rel=0.001)
    assert not row.fits


def test_what_preparing_takes_counts_where_it_is_more_than_a_step():
    memory = Memory(weights=3, gradients=1, moments=2, ema=1, activations=1, caches=2, preparing=9)
    assert memory.total == 3 + 1 + 2 + 9
    assert replace(memory, preparing=2).total == 3 + 1 + 2 + 1 + 2 + 1


def test_time_is_work_over_speed_and_an_update_for_every_number_that_trains():
    config = PlanConfig()
    gpu = replace(gpu_of(24), speeds={"bf16": 1e12}, update_seconds=2e-10)
    fit = base_fit("full", config, gpu)
    row = Row(fit=fit, stages=tuple(Formula(config).needs(fit)), machine=gpu)
    assert row.step_seconds(row.largest) == pytest.approx(12.0 + 0.2)  # 4 pictures of 3 s
    assert row.seconds == pytest.approx(6.0 + 10 * 12.2)
    assert replace(row, machine=gpu_of(24)).seconds is None
