"""`sdlearn plan`, from a method's name to a command to type."""

import shlex
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import tyro
from plan_shapes import TINY
from tqdm import tqdm

from sdlearn import cli
from sdlearn.commands.plan import LEFT_OPEN, add_explicit_booleans
from sdlearn.finetune import FitConfig
from sdlearn.models.architectures import ARCHITECTURES
from sdlearn.plan import Plan, PlanConfig, describe, plan, train_command
from sdlearn.plan.advice import smaller
from sdlearn.plan.blank import blank_model
from sdlearn.plan.machine import GB, Machine, gpu_of
from sdlearn.plan.needs import Tracer
from sdlearn.plan.stages import stages
from sdlearn.plan.table import memory_table
from sdlearn.training.accelerator import check_optimizer, make_accelerator


@pytest.fixture(autouse=True)
def tiny_and_unmeasured(monkeypatch):
    """ "tiny" is a model's name; no seconds go to measuring; loading anything is a failure."""
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)
    monkeypatch.setattr("sdlearn.plan.planning.measure_speed", lambda machine, *rest: machine)
    for kind in ("diffusers.ModelMixin", "transformers.PreTrainedModel"):
        monkeypatch.setattr(f"{kind}.from_pretrained", lambda *_, **__: pytest.fail("loaded"))


@pytest.fixture
def without_table(monkeypatch):
    """Do not work out what the other settings would take, to be quick."""
    monkeypatch.setattr("sdlearn.plan.planning.compare", lambda *rest: [])


def made(method: str, **options) -> Plan:
    return plan(method, model="tiny", **options)


# Of rank 4 on SD 1.5: attention as in diffusers' script, and the two layers behind it, of 9 and 5
# times the width, in blocks whose widths add up to 12 480.
LORA_4 = 797_184 + 4 * (9 + 5) * 12_480


def trained(method: str, model: str, **options) -> int:
    sd = blank_model(ARCHITECTURES[model], torch.float32)
    stage, _ = next(stages(method, sd, PlanConfig(**options)))
    return sum(p.numel() for group in stage.parameter_groups(1.0) for p in group["params"])


@pytest.mark.parametrize(
    ("method", "model", "options", "expected"),
    [
        ("full", "sd15", {}, 859_520_964),
        ("dreambooth", "sd15", {"train_text_encoder": True}, 859_520_964 + 123_060_480),
        ("dreambooth", "sd15", {"lora_rank": 4}, LORA_4),
        ("lora", "sd15", {"lora_rank": 8}, 2 * LORA_4),
        ("textual-inversion", "sd15", {"num_vectors": 3}, 3 * 768),
        ("textual-inversion", "sdxl", {}, 768 + 1280),
        ("imagic", "sd15", {}, 77 * 768),  # stage A
        ("full", "sdxl", {}, 2_567_463_684),
    ],
)
def test_what_trains_is_counted_exactly(method, model, options, expected):
    assert trained(method, model, **options) == expected


@pytest.mark.parametrize("method", ["full", "lora"])
def test_no_saver_is_ever_predicted_to_take_more(method):
    tracer, plain = Tracer(method, TINY, PlanConfig(), on_cuda=True), FitConfig(train_batch_size=2)
    base = total(tracer, plain)
    assert total(tracer, plain, gradient_checkpointing=True) < base
    assert total(tracer, plain, use_8bit_adam=True) <= base  # small tensors stay in 32 bits
    assert total(tracer, plain, train_batch_size=1) < base
    assert total(tracer, plain, use_ema=True) > base


def total(tracer: Tracer, fit: FitConfig, **changes) -> int:
    (stage,) = tracer.needs(replace(fit, **changes))
    return stage.memory.total


@pytest.mark.parametrize("method", ["dreambooth", "imagic"])
def test_training_through_lora_takes_less_than_training_all_weights(method):
    configs = PlanConfig(), PlanConfig(lora_rank=4)
    whole, lora = (Tracer(method, TINY, c, on_cuda=False).needs(FitConfig()) for c in configs)
    assert lora[-1].memory.total < whole[-1].memory.total


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("full", {"pictures": 20_000_000, "resolution": 64, "train_text_encoder": True}),
        ("textual-inversion", {"num_vectors": 2, "max_train_steps": 30}),
        ("dreambooth", {"with_prior_preservation": False, "gpu_memory": 1.2}),
        ("dreambooth", {"lora_rank": 8, "train_batch_size": 2, "mixed_precision": "fp16"}),
        ("imagic", {"lora_rank": 2}),
        ("lora", {"lora_rank": 16, "gradient_checkpointing": True}),
    ],
)
def test_the_command_that_is_named_trains_with_what_was_planned(method, options, without_table):
    planned = made(method, **{"gpu_memory": 8.0, **options})
    words = shlex.split(train_command(planned))
    command = tyro.cli(
        cli.Command,
        args=words[1:],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    ).command
    assert words[:3] == ["sdlearn", "train", method]
    assert command.fit == planned.best.fit
    assert command.model == "tiny"
    names = {"lora_rank": "rank"} if method == "lora" else {}
    for name in ("lora_rank", "num_vectors", "with_prior_preservation", "train_text_encoder"):
        if name in options:
            assert getattr(command.method, names.get(name, name)) == options[name]
    if method == "full":
        assert command.method.cache_latents is False  # that many do not go into memory


def test_the_table_adds_up_and_marks_what_is_chosen():
    planned = made("full", gpu_memory=8.0)
    head, *rows = [line.split() for line in memory_table(planned)[2:]]
    assert head[3:] == ["weights", "gradients", "moments", "EMA", *head[7:]]
    for row in rows:
        parts = [int(cell) for cell in row[3:11]]
        assert sum(parts[:-1]) == pytest.approx(parts[-1], abs=4)
    assert [row[0] for row in rows if row[-1] == "chosen"] == ["bf16"]


def test_a_plan_that_fits_at_once_is_worked_out_in_a_single_run(monkeypatch):
    """Every combination of precision and saver was run for the table: a minute for SDXL."""
    runs, trace = [], Tracer._trace
    monkeypatch.setattr(Tracer, "_trace", lambda *given: (runs.append(given), trace(*given))[1])
    planned = made("lora", gpu_memory=8.0)
    assert len(runs) == 1
    assert next(row.fit for row in planned.rows if row.fits) == planned.best.fit


def test_what_does_not_fit_is_refused_with_what_would(capsys, without_table):
    arguments = ["plan", "dreambooth", "--model", "tiny", "--resolution", "512"]
    assert cli.main([*arguments, "--gpu-memory", "0.9", "--train-batch-size", "1"]) == 2
    printed = capsys.readouterr()
    assert "The least: bf16" in printed.out
    assert "sdlearn train" not in printed.out
    words = printed.err.splitlines()[-1].split(": ", 1)[1]  # below a slow machine's bars
    assert words.startswith("dreambooth with tiny needs ")
    assert "a GPU of 0.9 GB has 900 MB for it: " in words
    assert "take --no-with-prior-preservation, or --resolution 384, or a GPU of 8 GB" in words


def test_advice_is_only_what_does_fit(without_table):
    refusal = made("full", gpu_memory=0.61, train_batch_size=1, use_ema=False).refusal
    assert refusal.endswith("has 610 MB for it: take a GPU of 8 GB")


def test_a_full_disk_is_refused(monkeypatch, tmp_path, without_table):
    left = type("Usage", (), {"free": 10**6})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: left)
    planned = made("full", output=tmp_path / "not" / "there")
    assert f"the disk of {tmp_path} has 1.0 MB left" in planned.refusal


def test_disk_holds_what_is_learnt_and_a_checkpoint_more_than_are_kept(without_table):
    planned = made("full", use_ema=False)
    number = sum(planned.best.largest.sizes)
    assert planned.artefact == 4 * number
    assert planned.checkpoint == 12 * number
    assert planned.disk == 4 * number + 3 * 12 * number
    assert replace(planned, method="lora").artefact == 2 * 4 * number  # two formats
    drawn = replace(planned.best.largest, drawn_pixels=100 * 64**2)
    drawing = replace(planned, best=replace(planned.best, stages=(drawn,)))
    assert drawing.disk - planned.disk == int(0.6 * 3 * 100 * 64**2)


def test_caches_grow_with_the_pictures_and_captions():
    tracers = [Tracer("lora", TINY, PlanConfig(pictures=n), on_cuda=False) for n in (10, 110)]
    few, many = (tracer.needs(FitConfig())[0].memory.caches for tracer in tracers)
    each = 4 * (2 * 4 * 16**2) + 4 * 77 * 64  # moments and caption states
    assert (many - few) / 100 == pytest.approx(each, rel=0.15)  # small tensors round up


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lora", "--num-vectors", "2"], "--num-vectors says nothing to lora"),
        (["imagic", "--max-train-steps", "9"], "--max-train-steps says nothing to imagic"),
        (["full", "--gpu-memory", "0"], "--gpu-memory is 0.0: give the GPU's GB"),
        (["full", "--pictures", "0"], "--pictures is 0: give at least 1"),
        (["full", "--gpu-memory", "0.1"], "take 600 MB: give a larger --gpu-memory"),
        (["lora", "--train-batch-size", "720720"], "720720: give at most 8192"),
        (["lora", "--model", "tiny", "--lora-rank", "65"], "rank of at most 64, so give no more"),
        (["full", "--model", "nothing"], 'the shape of "nothing" is not known'),
        (["full", "--model", "tiny", "--resolution", "101"], "101 pixels do not fit"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_words(arguments, words, capsys):
    assert cli.main(["plan", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can do both")
@pytest.mark.parametrize(
    ("options", "fit"),
    [
        (["--mixed-precision", "fp16"], FitConfig(mixed_precision="fp16")),
        (["--use-8bit-adam", "True"], FitConfig(use_8bit_adam=True)),
    ],
)
def test_what_training_refuses_on_a_processor_is_refused_in_its_words(
    options, fit, monkeypatch, capsys
):
    processor = Machine(name="a processor", on_cuda=False, memory=64 * GB)
    monkeypatch.setattr("sdlearn.plan.planning.this_machine", lambda: processor)
    with pytest.raises(ValueError, match=r"on a CPU|on CUDA GPUs only") as refused:
        check_optimizer(fit, make_accelerator(fit).device)
    assert cli.main(["plan", "lora", "--model", "tiny", *options]) == 2
    assert capsys.readouterr() == ("", f"sdlearn: {refused.value}\n")


@pytest.mark.parametrize("method", ["full", "dreambooth", "imagic"])
def test_a_refusal_names_options_as_a_plan_takes_them(method):
    asked = PlanConfig(model="tiny", use_ema=None if method == "full" else True)
    advice = {
        words: other
        for words, other_method, other in smaller(method, asked, TINY, gpu_of(8))
        if other_method == method and words.startswith("--")
    }
    assert "--no-use-ema" in advice
    for words, other in advice.items():
        typed = add_explicit_booleans(["plan", *words.split()])[1:]
        assert tyro.cli(PlanConfig, args=typed, default=asked) == other


@pytest.mark.parametrize("name", LEFT_OPEN)
def test_a_plan_takes_the_flags_of_train_and_values_as_well(name):
    """`--no-use-ema`, as `sdlearn train` has it, was refused."""
    for words in ([f"--{name}"], [f"--{name}", "--pictures", "3"], [f"--{name}", "True"]):
        assert add_explicit_booleans(["plan", "full", *words])[2:4] == [f"--{name}", "True"]
    assert add_explicit_booleans(["plan", "full", f"--no-{name}"])[2:] == [f"--{name}", "False"]
    assert add_explicit_booleans(["plan", "full", f"--{name}", "None"])[2:] == [f"--{name}", "None"]
    assert add_explicit_booleans(["train", "full", f"--no-{name}"]) == [
        "train",
        "full",
        f"--no-{name}",
    ]


def test_a_bar_counts_what_is_tried(monkeypatch, capsys, without_table):
    at_once = {"delay": 0, "mininterval": 0}
    monkeypatch.setattr("sdlearn.plan.planning.tqdm", lambda **words: tqdm(**words | at_once))
    made("lora", gpu_memory=8)
    assert "Planning: 1try" in capsys.readouterr().err


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="give a folder in diffusers' format"):
        plan("full", model=str(tmp_path))


def test_a_model_folder_is_planned_for_by_its_configurations_alone(
    tiny_folder, tmp_path, without_table
):
    for path in tiny_folder.rglob("*config.json"):
        target = tmp_path / path.relative_to(tiny_folder)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    planned = plan("full", model=str(tmp_path))
    assert planned.best.fits
    assert "Type, with your own folder for PICTURES:" in describe(planned)


def test_the_options_can_be_read_without_torch():
    code = "import sys, sdlearn.plan, sdlearn.commands.plan; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


def test_gigabytes_of_a_gpu_are_what_is_left_to_use():
    assert gpu_of(12).memory == 12 * GB
