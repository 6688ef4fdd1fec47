"""diffusers' tests of its example scripts, asked of `sdlearn train`.

Theirs (huggingface/diffusers, examples/*/test_*.py) run a script for a few steps and see which
files are there. Each test here names those it stands for, and asks for what is in the files too.
Their tests of DeepFloyd IF have no counterpart, as it is no Stable Diffusion; of Imagic they have
none.
"""

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from runs import draw
from safetensors.torch import load_file
from transformers import CLIPTextModel

from sdlearn import cli
from sdlearn.data import write_pictures
from sdlearn.training.checkpoint import checkpoints

PRIOR = ["--num-class-images", "2", "--class-inference-steps", "1", "--class-batch-size", "1"]
BOTH = ["--train-text-encoder"]
METHODS = {
    "textual inversion": ["textual-inversion", "--placeholder-token", "<toy>"],
    "dreambooth": ["dreambooth", *PRIOR, *BOTH],
    "dreambooth, lora": ["dreambooth", *PRIOR, *BOTH, "--lora-rank", "2"],
    "lora": ["lora", "--rank", "2"],
    "full": ["full", "--lr-scheduler", "constant", "--lr-warmup-steps", "0"],  # averaged by default
}


@pytest.fixture
def folder(pictures, tmp_path):
    write_pictures(tmp_path / "pictures", pictures)
    return tmp_path / "pictures"


@pytest.fixture
def train(folder, tiny_folder, tmp_path):
    """Run `sdlearn train` for some steps, and return what it has written."""

    def run(words, name, steps=2, *options, model=tiny_folder):
        output = tmp_path / name
        where = [folder, "--model", model, "--output", output, "--max-train-steps", steps]
        settings = ["--train-batch-size", "1", "--learning-rate", "0.01", *options]
        command = ["train", words[0], *where, *words[1:], *settings]
        assert cli.main([str(word) for word in command]) == 0
        return output

    return run


def in_run(folder, *options):
    """Keep checkpoints every 2 steps."""
    return ["--output-dir", folder, "--checkpointing-steps", 2, *options]


def steps_of(folder):
    return [int(path.name.removeprefix("checkpoint-")) for path in checkpoints(folder)]


def weights_of(folder):
    """All tensors of an artefact, by file and key."""
    return {
        (str(path.relative_to(folder)), key): tensor
        for path in sorted(folder.rglob("*.safetensors"))
        for key, tensor in load_file(path).items()
    }


def equal(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[key], second[key]) for key in first)


def test_a_word_of_two_vectors_is_one_tensor_that_draws_something_else(train, tiny_folder):
    """test_textual_inversion: there is a file. The A1111 web UI takes those of one tensor only."""
    folder = train([*METHODS["textual inversion"], "--num-vectors", "2"], "word")
    [tensor] = load_file(folder / "toy.safetensors").values()
    assert tensor.shape == (2, 16)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    before = pipeline.text_encoder.get_input_embeddings().weight.detach().clone()
    pipeline.load_textual_inversion(folder, weight_name="toy.safetensors")
    after = pipeline.text_encoder.get_input_embeddings().weight
    assert torch.equal(after[: len(before)], before)
    learnt, untrained = (
        draw(pipeline, f"a photo of {word}") for word in ("<toy>", "person person")
    )
    assert not torch.equal(learnt, untrained)


@pytest.mark.parametrize("method", METHODS)
def test_the_newest_checkpoints_stay_and_a_resumed_run_equals_a_straight_one(
    method, train, tmp_path
):
    """The tests of checkpointing and checkpoints_total_limit, of every script.

    Theirs let a finished run go on by a step, and expect that. Here resuming it changes nothing.
    """
    words, run = METHODS[method], tmp_path / "run"
    limit = ["--checkpoints-total-limit", 2]
    train(words, "six", 6, *in_run(run, *limit))
    assert steps_of(run) == [4, 6]
    resumed = weights_of(train(words, "eight/it", 8, *in_run(run, *limit, "--resume")))
    assert steps_of(run) == [6, 8]
    assert equal(resumed, weights_of(train(words, "straight/it", 8)))
    files = {path: path.read_bytes() for path in run.rglob("*.safetensors")}
    assert equal(resumed, weights_of(train(words, "again/it", 8, *in_run(run, *limit, "--resume"))))
    assert {path: path.read_bytes() for path in run.rglob("*.safetensors")} == files


@pytest.mark.parametrize("method", METHODS)
def test_a_lower_limit_removes_several_checkpoints_at_once(method, train, tmp_path):
    """checkpoints_total_limit_removes_multiple_checkpoints, of every script."""
    words, run = METHODS[method], tmp_path / "run"
    train(words, "six", 6, *in_run(run, "--checkpoints-total-limit", "None"))
    assert steps_of(run) == [2, 4, 6]
    train(words, "eight/it", 8, *in_run(run, "--checkpoints-total-limit", 2, "--resume"))
    assert steps_of(run) == [6, 8]


def test_dreambooths_result_and_its_checkpoints_open_in_diffusers(train, tiny_folder, tmp_path):
    """test_dreambooth and test_dreambooth_checkpointing: the result and checkpoint-2 draw.

    A checkpoint becomes a folder that diffusers reads by resuming it with no step left.
    """
    run = tmp_path / "run"
    pictures = []
    for steps, more in ((4, ["--checkpoints-total-limit", "None"]), (2, ["--resume"])):
        if steps == 2:
            later = run / "checkpoint-000004"
            later.rename(tmp_path / later.name)
        folder = train(METHODS["dreambooth"], f"after {steps}", steps, *in_run(run, *more))
        pipeline = StableDiffusionPipeline.from_pretrained(
            tiny_folder,
            unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
            text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
            safety_checker=None,
        )
        pictures.append(draw(pipeline))
    straight = weights_of(train(METHODS["dreambooth"], "straight", 2))
    assert equal(weights_of(tmp_path / "after 2"), straight)
    assert not torch.equal(*pictures)


@pytest.mark.parametrize("average", ["--use-ema", "--no-use-ema"])
def test_a_whole_fine_tuned_model_opens_in_diffusers(average, train, tmp_path):
    """test_text_to_image and its checkpointing, with and without use_ema."""
    words = [*METHODS["full"], "--save-whole-model", average, "--ema-decay", "0.5"]
    folder = train(words, "whole", 3)
    assert (folder / "unet" / "diffusion_pytorch_model.safetensors").is_file()
    assert (folder / "scheduler" / "scheduler_config.json").is_file()
    picture = draw(StableDiffusionPipeline.from_pretrained(folder, safety_checker=None))
    assert picture.isfinite().all()
    others = [*METHODS["full"], "--use-ema" if "no" in average else "--no-use-ema"]
    unets = [
        load_file(p / "unet" / "diffusion_pytorch_model.safetensors")
        for p in (folder, train([*others, "--ema-decay", "0.5"], "other", 3))
    ]
    assert not equal(*unets)


@pytest.mark.parametrize("model", ["tiny_folder", "tiny_xl_folder"])
@pytest.mark.parametrize("method", ["lora", "dreambooth, lora"])
def test_every_key_of_a_lora_says_the_model_it_belongs_to(method, model, train, request):
    """test_dreambooth_lora, test_text_to_image_lora, those of SDXL, and _with_text_encoder."""
    base = request.getfixturevalue(model)
    words = [*METHODS[method], *(BOTH if method == "lora" else [])]
    folder = train(words, "with", model=base)
    keys = load_file(folder / "pytorch_lora_weights.safetensors").keys()
    encoders = {"text_encoder"} | ({"text_encoder_2"} if "xl" in model else set())
    assert {key.split(".")[0] for key in keys} == {"unet", *encoders}
    assert all(".lora" in key for key in keys)
    without = train([word for word in words if word not in BOTH], "without", model=base)
    keys = load_file(without / "pytorch_lora_weights.safetensors").keys()
    assert {key.split(".")[0] for key in keys} == {"unet"}
