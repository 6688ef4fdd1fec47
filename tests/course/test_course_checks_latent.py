"""The checks of chapter 4: right answers pass, and each typical slip is told by its sentence."""

import math

import pytest
import torch

from sdlearn.course import checks


def decibels(back, pixel_values, peak=2.0):
    mse = (back.clamp(-1, 1) - pixel_values).square().mean()
    return 10 * torch.log10(peak**2 / mse)


def divergence(mean, std):
    return 0.5 * (mean**2 + std**2 - 1) - std.log()


RIGHT = {
    "psnr": decibels,
    "kl": divergence,
    "scaling_factor": lambda latents: 1 / latents.std(),
    "attention_pairs": lambda height, width, factor: (height // factor * (width // factor)) ** 2,
}
WRONG = [
    ("psnr", "the range is 2 wide", lambda back, pixel_values: decibels(back, pixel_values, 1.0)),
    (
        "psnr",
        "range is squared",
        lambda back, pixel_values: decibels(back, pixel_values, math.sqrt(2)),
    ),
    (
        "psnr",
        "clamp what came back",
        lambda back, pixel_values: 10 * torch.log10(4 / (back - pixel_values).square().mean()),
    ),
    ("psnr", "factor 10 is missing", lambda back, pixel_values: decibels(back, pixel_values) / 10),
    ("psnr", "base 10", lambda back, pixel_values: decibels(back, pixel_values) * math.log(10)),
    (
        "psnr",
        "ratio before it is squared",
        lambda back, pixel_values: 2 * decibels(back, pixel_values),
    ),
    ("psnr", "under the fraction line", lambda back, pixel_values: -decibels(back, pixel_values)),
    (
        "psnr",
        "not of the error itself",
        lambda back, pixel_values: (
            10 * torch.log10(4 / (back.clamp(-1, 1) - pixel_values).abs().mean())
        ),
    ),
    ("psnr", "must take the arguments back, pixel_values", lambda x: 30.0),
    ("psnr", "is right, and yours is", lambda back, pixel_values: 30.0),
    ("kl", "half of it all", lambda mean, std: 2 * divergence(mean, std)),
    ("kl", "squared$", lambda mean, std: 0.5 * (mean**2 + std - 1) - std.log()),
    (
        "kl",
        "logarithm is of the variance",
        lambda mean, std: 0.5 * (mean**2 + std**2 - 1 - std.log()),
    ),
    ("kl", "goes off", lambda mean, std: 0.5 * (mean**2 + std**2 - 1) + std.log()),
    ("kl", "without the -1", lambda mean, std: divergence(mean, std) + 0.5),
    ("kl", "to either side", lambda mean, std: 0.5 * (mean + std**2 - 1) - std.log()),
    ("kl", r"should have shape \(1, 4, 3, 3\)", lambda mean, std: divergence(mean, std).mean()),
    ("scaling_factor", "that is the spread", lambda latents: latents.std()),
    ("scaling_factor", "take its root", lambda latents: 1 / latents.var()),
    ("scaling_factor", "one picture's alone", lambda latents: 1 / latents[0].std()),
    ("scaling_factor", "their different means", lambda latents: 1 / latents.std((0, 2, 3)).mean()),
    ("scaling_factor", "the largest value", lambda latents: 1 / latents.abs().max()),
    ("scaling_factor", "one number for all", lambda latents: 1 / latents.std((0, 2, 3))),
    (
        "attention_pairs",
        "so square it",
        lambda height, width, factor: height // factor * (width // factor),
    ),
    ("attention_pairs", "without the VAE", lambda height, width, factor: (height * width) ** 2),
    (
        "attention_pairs",
        "both sides, height and width",
        lambda height, width, factor: (height * width // factor) ** 2,
    ),
    (
        "attention_pairs",
        "channels do not count",
        lambda height, width, factor: (4 * (height // factor) * (width // factor)) ** 2,
    ),
    ("attention_pairs", "may differ", lambda height, width, factor: (height // factor) ** 4),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_about_latents_passes(name):
    assert getattr(checks, name)(RIGHT[name]).name == name


@pytest.mark.parametrize(("name", "why", "answer"), WRONG)
def test_a_wrong_answer_about_latents_is_told_why(name, why, answer):
    with pytest.raises(checks.WrongAnswer, match=why):
        getattr(checks, name)(answer)


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_about_latents_is_still_to_be_answered(name):
    def stub(**arguments):
        raise NotImplementedError("your code here")

    with pytest.raises(NotImplementedError):
        getattr(checks, name)(stub)
