"""Checks of chapter 2: noise in, noise out."""

from __future__ import annotations

from typing import Any

import torch

from sdlearn.course.checks.answers import WrongAnswer, between, call, check, number, same, tensor
from sdlearn.models.architectures import SCHEDULER

SHAPE = (3, 2, 4, 4)


@check(points=1)
def add_noise(answer: Any) -> str:
    """`add_noise(latents, noise, alpha_bar)`, alpha_bar (B,): Ho et al. 2020, eq. 4."""
    latents, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    alpha_bar = torch.tensor([between(0.8, 0.95), between(0.4, 0.6), between(0.03, 0.1)])
    a = alpha_bar.view(-1, 1, 1, 1)
    got = call(answer, latents=latents, noise=noise, alpha_bar=alpha_bar)
    slips = {
        "take the square root of alpha_bar: it shares out the variance, and a standard deviation "
        "is its root": a * latents + (1 - a) * noise,
        "the two are the wrong way round: alpha_bar is what is left of the picture": (1 - a).sqrt()
        * latents
        + a.sqrt() * noise,
        "the noise needs sqrt(1 - alpha_bar), not 1 - sqrt(alpha_bar)": a.sqrt() * latents
        + (1 - a.sqrt()) * noise,
        "the picture needs its factor sqrt(alpha_bar) too, or the variance grows": latents
        + (1 - a).sqrt() * noise,
        "every picture has its own alpha_bar: you used the first one's for all": a[0].sqrt()
        * latents
        + (1 - a[0]).sqrt() * noise,
    }
    same(
        tensor(got, SHAPE, "the result"), a.sqrt() * latents + (1 - a).sqrt() * noise, "x_t", slips
    )
    return "One formula, and any timestep is reached in a single step."


@check(points=1)
def predict_original(answer: Any) -> str:
    """`predict_original(noisy_latents, model_pred, alpha_bar)`: eq. 4 solved for the picture."""
    latents, noise, alpha_bar = (
        torch.randn(SHAPE),
        torch.randn(SHAPE),
        torch.tensor(between(0.2, 0.4)),
    )
    noisy = alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise
    got = call(answer, noisy_latents=noisy, model_pred=noise, alpha_bar=alpha_bar)
    slips = {
        "divide by sqrt(alpha_bar) at the end: the picture was made smaller by it": noisy
        - (1 - alpha_bar).sqrt() * noise,
        "the noise was scaled by sqrt(1 - alpha_bar) when it went in, so take off that much": (
            noisy - noise
        )
        / alpha_bar.sqrt(),
        "divide by sqrt(alpha_bar), not by alpha_bar": (noisy - (1 - alpha_bar).sqrt() * noise)
        / alpha_bar,
        "the sign: the noise was added, so take it off": (noisy + (1 - alpha_bar).sqrt() * noise)
        / alpha_bar.sqrt(),
        "that multiplies by sqrt(alpha_bar): the picture was made smaller, so divide": (
            noisy - (1 - alpha_bar).sqrt() * noise
        )
        * alpha_bar.sqrt(),
        "sqrt(1 - alpha_bar) is the noise's factor: sqrt(alpha_bar) is not": (
            noisy - alpha_bar.sqrt() * noise
        )
        / (1 - alpha_bar).sqrt(),
    }
    same(tensor(got, SHAPE, "the result"), latents, "the picture", slips)
    return "Knowing the noise is knowing the picture: that is why predicting one is enough."


@check(points=2)
def ddim_step(answer: Any) -> str:
    """`ddim_step(noisy_latents, model_pred, alpha_bar, alpha_bar_prev)`.

    Source: Song et al. 2020, arXiv:2010.02502, eq. 12, without fresh noise.
    """
    noisy, pred = torch.randn(SHAPE), torch.randn(SHAPE)
    a, b = torch.tensor(between(0.2, 0.4)), torch.tensor(between(0.6, 0.8))
    original = (noisy - (1 - a).sqrt() * pred) / a.sqrt()
    got = call(answer, noisy_latents=noisy, model_pred=pred, alpha_bar=a, alpha_bar_prev=b)
    slips = {
        "that is the picture with no noise left: put the predicted noise back, at the new level, "
        "or one step would have to be perfect": original,
        "the step goes nowhere: use alpha_bar_prev for the new level": a.sqrt() * original
        + (1 - a).sqrt() * pred,
        "the noise should be put back at sqrt(1 - alpha_bar_prev), not at the old level": b.sqrt()
        * original
        + (1 - a).sqrt() * pred,
    }
    expected = b.sqrt() * original + (1 - b).sqrt() * pred
    same(tensor(got, SHAPE, "the result"), expected, "the step", slips)
    return "Two formulas, used in turn: look through the noise, then add a little less of it again."


@check(points=1)
def half_gone(answer: Any) -> str:
    """The first timestep at which the noise in Stable Diffusion outweighs the picture."""
    roots = torch.linspace(
        SCHEDULER["beta_start"] ** 0.5,
        SCHEDULER["beta_end"] ** 0.5,
        SCHEDULER["num_train_timesteps"],
    )
    alpha_bar = torch.cumprod(1 - roots**2, dim=0)  # (T,)
    right = int((alpha_bar < 0.5).nonzero()[0])
    got = number(answer, "half_gone")
    if got == right:
        return f"From timestep {right} on there is more noise than picture."
    if abs(got - int((alpha_bar.sqrt() < 0.5).nonzero()[0])) <= 1:
        raise WrongAnswer("compare variances: alpha_bar with 1 - alpha_bar, without the root")
    if abs(got - right) <= 1:
        raise WrongAnswer("that is one off: timesteps count from 0, and the first is asked for")
    side = "still more picture than noise" if got < right else "more noise already long before"
    raise WrongAnswer(f"at timestep {got:g} there is {side}")
