"""Checks of chapter 5: the three parts, and what joins them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.course.checks.answers import WrongAnswer, call, check, same, tensor

if TYPE_CHECKING:
    from sdlearn.course.attention import WordMap


@check(points=1)
def guide(answer: Any) -> str:
    """`guide(noise_pred_uncond, noise_pred_text, guidance_scale)`: Ho and Salimans 2022, eq. 6."""
    uncond, text, scale = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3), 5.0
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
    }
    expected = uncond + scale * (text - uncond)
    same(tensor(got, tuple(uncond.shape), "the result"), expected, "the answer", slips)
    return "Two questions a step, one subtraction: that is all of guidance."


@check(points=2)
def to_picture(answer: Any) -> str:
    """`to_picture(latents, vae)`: scaled latents to bytes."""
    latents = torch.randn(1, 4, 2, 2)
    vae = SimpleNamespace(config=SimpleNamespace(scaling_factor=0.5), decode=_decode)
    got = call(answer, latents=latents, vae=vae)
    if isinstance(got, torch.Tensor) and got.shape == (3, 4, 4):
        raise WrongAnswer("the colours come last in a picture: permute to (H, W, 3)")
    result = tensor(got, (4, 4, 3), "the picture")
    pixels = _decode(latents / 0.5).sample[0]
    right, scaled = _bytes(pixels), _bytes(_decode(latents).sample[0])
    if got.dtype != torch.uint8:
        raise WrongAnswer(f"a picture has bytes, torch.uint8, and this has {got.dtype}")
    slips = {
        "take the scaling factor off first: the VAE was trained on codes without it": scaled,
        "the factor is multiplied instead of divided": _bytes(_decode(latents * 0.5).sample[0]),
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
def loudest(answer: Any, maps: Sequence[WordMap]) -> str:
    """Name the token whose map is largest in the middle of the picture."""
    means = [float(_middle(m.weights).mean()) for m in maps]
    right = maps[means.index(max(means))].word
    if answer == right:
        return f"The middle of the picture listens to “{right}” most."
    if answer not in [m.word for m in maps]:
        raise WrongAnswer(
            f"{answer!r} is no token of the prompt: they are {[m.word for m in maps]}"
        )
    edge = [float(m.weights.mean()) for m in maps]
    if answer == maps[edge.index(max(edge))].word:
        raise WrongAnswer(f"“{answer}” is loudest in the whole picture: take the middle alone")
    raise WrongAnswer(f"“{answer}” is not the loudest in the middle")


def _middle(weights: torch.Tensor) -> torch.Tensor:
    h, w = weights.shape
    return weights[h // 2 - 1 : h // 2 + 1, w // 2 - 1 : w // 2 + 1]


def _decode(latents: torch.Tensor) -> Any:
    """A stand-in for a VAE: three channels, twice the size, and values beyond -1 and 1."""
    return SimpleNamespace(sample=latents[:, :3].repeat_interleave(2, 2).repeat_interleave(2, 3))


def _bytes(pixels: torch.Tensor) -> torch.Tensor:
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
