"""The measurements of mini as a table that says what passes, and what falls short by how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ATTRIBUTE_BARS = {  # shares that the reader is to see of what English prompts ask
    "style": 0.97,
    "background": 0.95,
    "hair_color": 0.85,
    "clothes_color": 0.85,
    "expression": 0.75,
    "glasses": 0.75,
}
LANGUAGE_GAP = 0.05  # by which Japanese may see less than English
PSNR_BAR = 28.0  # dB
SECONDS_BAR = 3.0  # one picture
UNET_SHARE_BAR = 0.85


def as_table(figures: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Two tables in Markdown: the parts, and what the reader sees of what was asked."""
    number = config["number"]
    margin = 98 / number**0.5  # 95 % interval of a share of one half
    return "\n".join(
        [
            "| measure | reached | bar | |",
            "| --- | --- | --- | --- |",
            *_part_rows(figures, config),
            "",
            f"{number} prompts of held-out attribute combinations in each language, seeds 0 to "
            f"{number - 1}, {config['steps']} steps, guidance {config['guidance_scale']:g}. How "
            "often the attribute reader sees what was asked:",
            "",
            "| asked | prompts | English | Japanese | real pictures | blind guess | bar | English "
            "| Japanese |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *(_attribute_row(name, row) for name, row in figures["attributes"].items()),
            "",
            f"Real pictures: {figures['real_pictures']} of held-out combinations, read by the same "
            "reader; no drawn picture can be expected to do better. Blind guess: always the value "
            "that is asked most often. The bar for Japanese is English less "
            f"{100 * LANGUAGE_GAP:.0f} points. Shares of {number} pictures are uncertain by up to "
            f"{margin:.0f} points (95 %), more where fewer were asked.",
        ]
    )


def _part_rows(figures: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    speed, copies, psnr = figures["speed"], figures["near_copies"], figures["psnr"]
    retrieval, among = figures["retrieval"], figures["retrieval_among"]
    drawn = f"one picture, {config['steps']} steps, guidance {config['guidance_scale']:g}"
    unet_margin = 100 * (speed["unet_share"] - UNET_SHARE_BAR)
    rows = [
        (
            f"VAE reconstruction, PSNR on {figures['real_pictures']} held-out pictures",
            f"{psnr:.2f} dB",
            f"{PSNR_BAR:g} dB",
            verdict(psnr - PSNR_BAR, "dB"),
        ),
        (
            f"judges' CLIP: a held-out caption found among {among}, English / Japanese",
            f"{_percent(retrieval['en'])} / {_percent(retrieval['ja'])}",
            f"chance {_percent(1 / among)}",
            "",
        ),
        (
            f"near-copies among {copies['drawn']} drawn pictures, of {copies['training']} training "
            "pictures with other attributes",
            f"{round(copies['share'] * copies['drawn'])} ({_percent(copies['share'])})",
            "real pictures 1 %",
            "",
        ),
        (
            f"{drawn}, {figures['processor']}",
            f"{speed['seconds']:.2f} s",
            f"{SECONDS_BAR:g} s",
            verdict(SECONDS_BAR - speed["seconds"], "s"),
        ),
        (
            "of that, U-Net alone",
            _percent(speed["unet_share"]),
            _percent(UNET_SHARE_BAR),
            verdict(unet_margin, "points"),
        ),
    ]
    return [f"| {' | '.join(row)} |" for row in rows]


def _attribute_row(name: str, row: Mapping[str, float]) -> str:
    bar = ATTRIBUTE_BARS.get(name)
    cells = [
        name.replace("_", " "),
        str(row["prompts"]),
        *(_percent(row[column]) for column in ("en", "ja", "real", "guess")),
        "" if bar is None else _percent(bar),
        "" if bar is None else verdict(100 * (row["en"] - bar), "points"),
        verdict(100 * (row["ja"] - row["en"] + LANGUAGE_GAP), "points"),
    ]
    return f"| {' | '.join(cells)} |"


def verdict(margin: float, unit: str) -> str:
    """ "passes", or by how much it falls short; `margin` is what it is over the bar, in `unit`."""
    return "passes" if margin > -1e-9 else f"**short by {-margin:.2g} {unit}**"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace(".0 %", " %")
