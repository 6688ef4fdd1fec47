"""Mini, as it ships: complete, small, open to every tool, and drawing what it is asked."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sdlearn.data.vocabulary import BACKGROUNDS
from sdlearn.models import load
from sdlearn.models.registry import shipped_folder

MEGABYTE = 1_000_000
PLAIN = """
import sys, torch
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained(sys.argv[1])
pipeline.set_progress_bar_config(disable=True)
generator = torch.Generator().manual_seed(1)
image = pipeline("a person, on a blue background", num_inference_steps=8, generator=generator)
image.images[0].save(sys.argv[2])
assert not any(name.split(".")[0] == "sdlearn" for name in sys.modules)
"""


@pytest.fixture(scope="module")
def folder() -> Path:
    return shipped_folder("mini")


def test_a_process_without_sdlearn_opens_it_and_draws(folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    command = [sys.executable, "-c", PLAIN, str(folder), str(picture)]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    from PIL import Image

    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape == (load("mini").image_size,) * 2 + (3,)
    corner = pixels[:3, :3].reshape(-1, 3).mean(axis=0)
    assert corner[2] > corner[0] + 40  # blue, whatever else went wrong


def test_it_is_small_and_stored_in_half_precision(folder: Path) -> None:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert sum(sizes) <= 40 * MEGABYTE
    for path in folder.rglob("*.safetensors"):
        kinds = {tensor.dtype for tensor in load_file(path).values() if tensor.is_floating_point()}
        assert kinds == {torch.float16}, path


def test_older_tools_find_the_text_encoder_keys(folder: Path) -> None:
    keys = load_file(folder / "text_encoder" / "model.safetensors")
    assert all(key.startswith("text_model.") for key in keys)


def test_no_part_says_where_it_lay_when_it_was_made(folder: Path) -> None:
    for path in folder.rglob("config.json"):
        assert not json.loads(path.read_text()).get("_name_or_path"), path


def test_every_part_is_a_standard_class(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    parts = {name: value[1] for name, value in index.items() if isinstance(value, list)}
    assert parts["tokenizer"] == "CLIPTokenizer"
    assert parts["text_encoder"] == "CLIPTextModel"
    assert parts["vae"] == "AutoencoderKL"
    assert parts["unet"] == "UNet2DConditionModel"


def test_the_card_holds_the_figures_that_were_measured(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    measured = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
    assert measured["table"].strip() in card
    assert "license: cc-by-4.0" in card


@pytest.mark.parametrize("language", ["en", "ja"])
def test_it_draws_the_background_that_is_asked_for(language: str) -> None:
    pipeline = load("mini").pipeline()
    pipeline.set_progress_bar_config(disable=True)
    prompts = {
        name: f"a person, on a {name} background" if language == "en" else f"人、{color.ja}背景"
        for name, color in BACKGROUNDS.items()
    }
    generators = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
    images = pipeline(list(prompts.values()), num_inference_steps=12, generator=generators).images
    palette = np.array([list(bytes.fromhex(color.hex[1:])) for color in BACKGROUNDS.values()])
    right = 0
    for name, image in zip(prompts, images, strict=True):
        corner = np.asarray(image)[:3, :3].reshape(-1, 3).mean(axis=0)
        nearest = list(BACKGROUNDS)[np.abs(palette - corner).sum(axis=1).argmin()]
        right += nearest == name
    assert right >= 8  # of ten; chance is one
