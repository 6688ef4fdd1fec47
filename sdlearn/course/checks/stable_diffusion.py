"""Checks of chapter 5: the three parts, and what joins them."""

from __future__ import annotations

from typing import Any

import torch

from sdlearn.course.checks.answers import WrongAnswer, between, call, check, same, tensor
from sdlearn.course.checks.stand_ins import Autoencoder, WordMap


@check(points=1)
def guide(answer: Any) -> str:
    """`guide(noise_pred_uncond, noise_pred_text, guidance_scale)`: Ho and Salimans 2022, eq. 6."""
    uncond, text, scale = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3), between(6, 9)
    got = call(answer, noise_pred_uncond=uncond, noise_pred_text=text, guidance_scale=scale)
    slips = {
        "that goes away from the prompt: take the answer without it from the one with it": uncond
        + scale * (uncond - text),
        "start at the answer without the prompt; from the one with it you go one too far": text
        + scale * (text - uncond),
        "that is an average weighted by the scale: nothing goes beyond the prompt's answer": (
            uncond + scale * text
        )
        / (1 + scale),
        "the answer without the prompt is missing: at scale 0 it should be all that is left": scale
        * (text - uncond),
        "the scale is not used": text,
        "that is the answer without the prompt: the prompt does nothing": uncond,
        "that is the chapter's own scale: use `guidance_scale`, whatever it is": uncond
        + 5.0 * (text - uncond),
        "the two are the wrong way round: start at the answer without the prompt": text
        + scale * (uncond - text),
    }
    expected = uncond + scale * (text - uncond)
    same(tensor(got, tuple(uncond.shape), "the result"), expected, "the answer", slips)
    return "Two questions a step, one subtraction: that is all of guidance."


@check(points=2)
def to_picture(answer: Any) -> str:
    """`to_picture(latents, vae)`: scaled latents to bytes."""
    latents, factor = torch.randn(1, 4, 2, 2), between(0.3, 0.6)
    vae = Autoencoder(scaling_factor=factor)
    got = call(answer, latents=latents, vae=vae)
    if getattr(got, "shape", ()) == (3, 4, 4):
        raise WrongAnswer("the colours come last in a picture: permute to (H, W, 3)")
    result = tensor(got, (4, 4, 3), "the picture")
    pixels = vae.decode(latents / factor).sample[0]
    right, scaled = _bytes(pixels), _bytes(vae.decode(latents).sample[0])
    if str(got.dtype) not in ("torch.uint8", "uint8"):
        raise WrongAnswer(f"a picture has bytes, torch.uint8, and this has {got.dtype}")
    slips = {
        "take the scaling factor off first: the VAE was trained on codes without it": scaled,
        "the factor is multiplied instead of divided": _bytes(
            vae.decode(latents * factor).sample[0]
        ),
        "values beyond -1 and 1 wrap around as bytes: clamp them first": ((pixels + 1) * 127.5)
        .round()
        .long()
        .remainder(256)
        .permute(1, 2, 0),
        "that maps 0 to 1 and not -1 to 1 onto the bytes": (pixels.clamp(0, 1) * 255)
        .round()
        .permute(1, 2, 0),
    }
    if (result - right.double()).abs().max() > 1:  # rounding down is no mistake
        same(result, right, "the picture", slips)
    return "Divide, decode, clamp, scale: the same four things in every pipeline."


@check(points=1)
def loudest(answer: Any) -> str:
    """`loudest(maps)`: the token whose map has the largest mean in the middle of the picture."""
    words = [f"token{place}" for place in torch.randperm(6).tolist()]
    middle, whole, peak, single, *_ = words  # which is loudest where
    weights = {word: torch.rand(6, 8) / 10 for word in words}
    for word, value in ((middle, 0.6), (peak, 0.3), (single, 0.2)):
        weights[word][2:4, 3:5] += value
    weights[whole] += 0.4
    weights[peak][0, 0], weights[single][2, 3] = 2.0, 1.2
    got = call(answer, maps=[WordMap(word=word, weights=weights[word]) for word in words])
    if got == middle:
        return "The numbers say what the colours cannot: each map has a scale of its own."
    slips = {
        whole: "that token is loudest in the whole picture: take the middle alone",
        peak: "that token has the largest single value, and it is not in the middle",
        single: "that token has the largest single value in the middle: take the mean of the four",
        min(words, key=lambda word: float(weights[word][2:4, 3:5].mean())): (
            "that token is the quietest in the middle: take the largest mean"
        ),
    }
    if not isinstance(got, str) or got not in words:
        raise WrongAnswer(f"answer with one token's word, a text of {words}; this is {got!r:.60}")
    raise WrongAnswer(slips.get(got, f"{got} is not the loudest in the middle"))


def _bytes(pixels: torch.Tensor) -> torch.Tensor:
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
