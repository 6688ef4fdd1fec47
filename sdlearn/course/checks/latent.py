"""Checks of chapter 4: what the autoencoder loses, how wide its latents are, what they save."""

from __future__ import annotations

import math
from typing import Any

import torch

from sdlearn.course.checks.answers import WrongAnswer, call, check, number, same, tensor, whole


@check(points=1)
def psnr(answer: Any) -> str:
    """`psnr(back, pixel_values)`: decibels, of one picture in [-1, 1]."""
    pixel_values = torch.rand(3, 8, 8) * 2 - 1
    back = pixel_values + 0.2 * torch.randn(3, 8, 8)
    cut, error = back.clamp(-1, 1), (back.clamp(-1, 1) - pixel_values).square().mean()
    uncut = (back - pixel_values).square().mean()
    right = 10 * math.log10(4 / error)
    got = number(call(answer, back=back, pixel_values=pixel_values), "the result")
    same(
        got,
        right,
        "the result",
        {
            "from -1 to 1 the range is 2 wide, so the peak squared is 4": 10
            * math.log10(1 / error),
            "the range is squared as well: 2 squared is 4": 10 * math.log10(2 / error),
            "a picture holds nothing beyond -1 and 1: clamp what came back": 10
            * math.log10(4 / uncut),
            "take the logarithm to base 10": 10 * math.log(4 / error),
            "a bel is ten decibels: the factor 10 is missing": right / 10,
            "the factor 20 is for the ratio before it is squared": 2 * right,
            "the error belongs under the fraction line: less error, more decibels": -right,
            "take the mean of the squared error, not of the error itself": 10
            * math.log10(4 / (cut - pixel_values).abs().mean()),
        },
    )
    return "Six decibels more mean half the error: a logarithm, so do not read it as a percentage."


@check(points=1)
def kl(answer: Any) -> str:
    """`kl(mean, std)`: of a normal distribution from the standard one, value by value."""
    mean, std = torch.randn(1, 4, 3, 3), torch.rand(1, 4, 3, 3) + 0.2
    right = 0.5 * (mean**2 + std**2 - 1) - std.log()
    slips = {
        "half of it all is missing": 2 * right,
        "the variance is the standard deviation squared": 0.5 * (mean**2 + std - 1) - std.log(),
        "the logarithm is of the variance, or of the standard deviation without the half": 0.5
        * (mean**2 + std**2 - 1 - std.log()),
        "the logarithm goes off: a smaller spread is farther away": 0.5 * (mean**2 + std**2 - 1)
        + std.log(),
        "without the -1 even the standard normal distribution is away from itself": right + 0.5,
        "the mean is squared: to either side it costs the same": 0.5 * (mean + std**2 - 1)
        - std.log(),
    }
    got = call(answer, mean=mean, std=std)
    same(tensor(got, tuple(mean.shape), "the result"), right, "the divergence", slips)
    return "Zero only where the mean is 0 and the standard deviation 1."


@check(points=1)
def scaling_factor(answer: Any) -> str:
    """`scaling_factor(latents)`: one number, after which the latents have unit spread."""
    latents = 3 * torch.randn(8, 4, 4, 4) + torch.tensor([2.0, -1.0, 0.0, 1.0]).view(1, 4, 1, 1)
    given = call(answer, latents=latents)
    if math.prod(getattr(given, "shape", ())) > 1:
        raise WrongAnswer(f"one number for all channels, and this is {tuple(given.shape)}")
    spread = float(latents.std())
    same(
        number(given, "the factor"),
        1 / spread,
        "the factor",
        {
            "that is the spread: multiplied by the factor it must become 1": spread,
            "that is one over the variance: take its root": 1 / spread**2,
            "take the standard deviation of all values, not one picture's alone": 1
            / float(latents[0].std()),
            "a mean over the channels' own spreads leaves their different means out": 1
            / float(latents.std((0, 2, 3)).mean()),
            "that is the largest value: the spread is the standard deviation": 1
            / float(latents.abs().max()),
            "that is the root of the mean square: take each value's distance from the mean": 1
            / float(latents.square().mean().sqrt()),
        },
        tolerance=1e-3,  # whoever divides by N or by N - 1
    )
    return "One number, measured once, written into the model's configuration."


@check(points=1)
def attention_pairs(answer: Any) -> str:
    """`attention_pairs(height, width, factor)`: pairs of places in the latents of a picture."""
    fresh = (16 * whole(9, 20), 16 * whole(21, 40), 16)
    for height, width, factor in ((512, 512, 8), (768, 512, 8), (64, 96, 4), fresh):
        got = call(answer, height=height, width=width, factor=factor)
        places = (height // factor) * (width // factor)
        same(
            number(got, "the number of pairs"),
            places**2,
            "the number of pairs",
            {
                "that is the number of places: each looks at every other, so square it": places,
                "that is without the VAE: divide both sides by its factor": (height * width) ** 2,
                "the factor shortens both sides, height and width": (height * width // factor) ** 2,
                "a place is looked at as a whole: the channels do not count": (4 * places) ** 2,
                "height and width may differ: a side squared twice is right for squares only": (
                    height // factor
                )
                ** 4,
                "every place looks at itself as well": places * (places - 1),
                "a looks at b and b at a: two pairs, so do not halve": places * (places - 1) / 2,
            },
            tolerance=0,
        )
    return "A factor of 8 on a side saves 64 times the places and 4096 times the pairs."
