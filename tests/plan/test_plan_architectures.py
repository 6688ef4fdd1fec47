"""The shapes of models whose weights are not here."""

import subprocess
import sys

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sdlearn.models.architectures import ARCHITECTURES

PUBLISHED = {  # parameters in the published weights, counted from their files' headers
    "sd15": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sdxl": {
        "unet": 2_567_463_684,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "text_encoder_2": 694_659_840,
    },
}


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_part_has_as_many_parameters_as_the_published_weights(name):
    facts = ARCHITECTURES[name]
    with torch.device("meta"):
        parts = {
            "unet": UNet2DConditionModel(**facts.unet),
            "vae": AutoencoderKL(**facts.vae),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**facts.text_encoder)),
        }
        if facts.text_encoder_2:
            config = CLIPTextConfig(**facts.text_encoder_2)
            parts["text_encoder_2"] = CLIPTextModelWithProjection(config)
    assert {part: count(model) for part, model in parts.items()} == PUBLISHED[name]
    assert DDIMScheduler(**facts.scheduler).config.beta_schedule == "scaled_linear"


def test_the_shapes_can_be_read_without_torch():
    code = "import sys, sdlearn.models.architectures; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"
