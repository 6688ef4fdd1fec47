"""What a run writes beside its checkpoints: previews, and a log for people and for TensorBoard."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from runs import dreambooth, same, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sdlearn.data.png import read_generated
from sdlearn.finetune import DreamBooth, FitConfig, TextualInversion, fit, run
from sdlearn.training.checkpoint import checkpoints
from sdlearn.training.finite_check import FiniteCheck, Losses

CONFIG = FitConfig(
    max_train_steps=5,
    train_batch_size=1,
    learning_rate=1e-2,
    use_ema=True,
    ema_decay=0.5,
    logging_steps=2,
)
SHOW = {"preview_prompts": ("a photo of sks person", "a toy"), "preview_steps": 2}
SHOW |= {"preview_inference_steps": 2}


@pytest.mark.parametrize("make", [TextualInversion, dreambooth])
def test_a_run_with_previews_equals_one_without_bit_for_bit(make, loaded_tiny, pictures, tmp_path):
    plain, shown = make(loaded_tiny), make(loaded_tiny)
    losses = run(fit(plain, pictures, CONFIG))
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    assert run(fit(shown, pictures, replace(CONFIG, output_dir=tmp_path, **SHOW))) == losses
    assert torch.equal(torch.rand(2), expected)
    assert same(weights(shown), weights(plain))
    assert sorted(path.name for path in (tmp_path / "previews").iterdir()) == [
        f"step-{step:06d}-{number}.png" for step in (2, 4, 5) for number in (0, 1)
    ]


def draw(sd, prompt, seed):
    pipeline = sd.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(seed)
    settings = {"num_inference_steps": 2, "guidance_scale": 5.0, "generator": generator}
    return pipeline(prompt, **settings).images[0]


def test_previews_are_of_the_averaged_weights_and_say_how_they_were_drawn(
    loaded_tiny, pictures, tmp_path
):
    config = replace(CONFIG, output_dir=tmp_path, preview_steps=5, seed=7)
    method = dreambooth(loaded_tiny)
    run(fit(method, pictures, replace(config, **(SHOW | {"preview_steps": 9}))))
    for number, prompt in enumerate(SHOW["preview_prompts"]):
        path = tmp_path / "previews" / f"step-000005-{number}.png"
        with Image.open(path) as image:
            averaged = draw(method.sd, prompt, seed=7 + number)
            assert np.array_equal(np.array(image), np.array(averaged))
        made = read_generated(path)
        assert (made.prompt, made.seed, made.steps) == (prompt, 7 + number, 2)
        assert made.model.endswith("step 5")
    moved = dreambooth(loaded_tiny)
    for step in fit(moved, pictures, replace(CONFIG, seed=7)):
        if step.step == 5:
            assert draw(moved.sd, "a toy", seed=8).tobytes() != averaged.tobytes()


def test_previews_can_be_drawn_from_a_model_in_half_precision(tiny, pictures, tmp_path):
    tiny.to(dtype=torch.bfloat16)
    config = replace(CONFIG, max_train_steps=1, mixed_precision="bf16", output_dir=tmp_path)
    for make in (TextualInversion, lambda sd: DreamBooth(sd, with_prior_preservation=False)):
        where = tmp_path / str(make)
        run(fit(make(tiny), pictures, replace(config, output_dir=where, **SHOW)))
        assert len(list((where / "previews").iterdir())) == 2


def scalars(folder):
    events = EventAccumulator(str(folder)).Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in ("loss", "learning_rate", "seconds")
    }


def test_tensorboard_shows_what_the_log_says_and_no_step_twice(loaded_tiny, pictures, tmp_path):
    config = replace(CONFIG, tensorboard=True, output_dir=tmp_path, checkpointing_steps=3)
    steps = fit(TextualInversion(loaded_tiny), pictures, config)
    for step in steps:
        if step.step == 4:  # written to the log, but after the last checkpoint
            break
    steps.close()
    run(fit(TextualInversion(loaded_tiny), pictures, replace(config, resume=True)))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    shown = scalars(tmp_path / "tensorboard")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    for name, values in shown.items():
        assert values == [(line["step"], pytest.approx(line[name])) for line in lines]


def test_what_needs_a_folder_or_a_package_is_refused_without(
    loaded_tiny, pictures, tmp_path, monkeypatch
):
    with pytest.raises(ValueError, match="tensorboard needs an output_dir"):
        FitConfig(tensorboard=True)
    with pytest.raises(ValueError, match="preview_prompts needs an output_dir"):
        FitConfig(preview_prompts=("a person",))
    with pytest.raises(ValueError, match="preview_steps is 0"):
        FitConfig(preview_steps=0)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    config = FitConfig(tensorboard=True, output_dir=tmp_path)
    with pytest.raises(ValueError, match="pip install tensorboard"):
        fit(TextualInversion(loaded_tiny), pictures, config)


@pytest.mark.parametrize("steps", [1, 3])
def test_weights_that_an_update_broke_are_neither_kept_nor_the_end_of_a_run(
    steps, loaded_tiny, pictures, tmp_path
):
    """Once they were: a loss is finite that was taken before the update."""
    config = replace(CONFIG, learning_rate=1e30, checkpointing_steps=1, max_train_steps=steps)
    with pytest.raises(FloatingPointError, match=r"update of step 1 made .* learning_rate"):
        run(fit(dreambooth(loaded_tiny), pictures, config))
    with pytest.raises(FloatingPointError, match="no checkpoint is known to be good"):
        run(fit(dreambooth(loaded_tiny), pictures, replace(config, output_dir=tmp_path)))
    assert not checkpoints(tmp_path)


def test_an_error_names_the_last_checkpoint_that_is_known_to_be_good(
    loaded_tiny, pictures, tmp_path
):
    method = TextualInversion(loaded_tiny)
    plain_loss = method.loss
    method.loss = lambda batch, **models: (
        plain_loss(batch, **models) * (float("nan") if batch.number == 3 else 1)
    )
    config = replace(CONFIG, checkpointing_steps=1, output_dir=tmp_path)
    with pytest.raises(FloatingPointError, match="checkpoint-000002 is the last checkpoint known"):
        run(fit(method, pictures, config))
    assert [path.name[-1] for path in checkpoints(tmp_path)] == ["2", "3"]


@pytest.mark.parametrize("waits", [False, True])
def test_a_broken_loss_of_any_process_stops_all_of_them(waits):
    """Else the main process, whose own loss was fine, wrote a checkpoint of broken weights."""
    fine, broken = torch.tensor(0.5), torch.tensor(float("nan"))
    for own, words in [(fine, "of another process"), (broken, "picture 1, picture 3")]:
        watch = FiniteCheck(lambda index: f"picture {index}", waits=waits)
        watch.waiting = (8, Losses(own=own, mean=broken), [3, 1, 3])
        with pytest.raises(FloatingPointError, match=rf"step 8 is nan \(pictures: {words}\)"):
            watch.check_waiting()
    watch = FiniteCheck(str, waits)
    watch.check(1, Losses(own=fine, mean=fine), [0])
    if waits:
        watch.check(2, Losses(own=fine, mean=broken), [0])
    with pytest.raises(FloatingPointError, match="step 2"):
        watch.check(3 if waits else 2, Losses(own=fine, mean=broken), [0])
