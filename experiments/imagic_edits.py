"""One edit of Imagic: a picture, a change, and what each of its stages makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from experiments.bench import Bench, Unit, sheet
from sdlearn.data.captions import caption
from sdlearn.data.characters import draw_character
from sdlearn.evaluate.compare import Cost, drive
from sdlearn.finetune import Imagic, choose_eta, fit

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.data.folder import Picture
    from sdlearn.finetune.imagic.result import ImagicResult

ETAS = tuple(i / 10 for i in range(11))
ALL, WITHOUT_B, WITHOUT_A = "all stages", "without B", "without A"
MEASURES = ("faithfulness", "edit_strength", "seen")


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A picture, and the one attribute of it that is to become another."""

    style: str
    seed: int
    attribute: str
    before: str
    after: str

    @property
    def name(self) -> str:
        """Such as "micah-3-hair_color-pink"."""
        return f"{self.style}-{self.seed}-{self.attribute}-{self.after}"

    @property
    def target_prompt(self) -> str:
        """What is to be seen: the class, the change and the drawing style."""
        return caption({"style": self.style, self.attribute: self.after})

    def picture(self) -> Picture:
        """The picture to edit."""
        before: dict[str, Any] = {self.attribute: self.before}
        return draw_character(self.style, self.seed, 1, **before)[0]


def _edit(style: str, seed: int, attribute: str, before: str, after: str) -> Edit:
    return Edit(style=style, seed=seed, attribute=attribute, before=before, after=after)


EDITS = (
    _edit("micah", 3, "hair_color", "brown", "pink"),
    _edit("open-peeps", 5, "glasses", "none", "sunglasses"),
    _edit("personas", 2, "background", "blue", "yellow"),
    _edit("critters", 1, "body_color", "green", "purple"),
    _edit("toon-head", 4, "expression", "smiling", "surprised"),
    _edit("voxel-art", 6, "hair_color", "black", "red"),
    _edit("micah", 8, "glasses", "none", "round"),
    _edit("personas", 5, "clothes_color", "red", "green"),
)


def run_edit(bench: Bench, edit: Edit) -> Unit:
    """An edit with all stages and with each left out, two units together.

    For `ALL`, `WITHOUT_B` and `WITHOUT_A` there is a row an eta: the `MEASURES` of each seed.
    """
    key = f"imagic/{edit.name}"
    both = bench.work.unit(key, lambda: _both_stages(bench, edit, key))
    key += "-without-a"
    return {**both, **bench.work.unit(key, lambda: _without_a(bench, edit, key))}


def _both_stages(bench: Bench, edit: Edit, key: str) -> Unit:
    """Train both stages, and draw with and without the second."""
    picture = edit.picture()
    result, cost = _train(bench, Imagic(bench.sd, target_prompt=edit.target_prompt), picture)
    drawn = {
        ALL: _draw(bench, result, ETAS),
        WITHOUT_B: _draw(bench, replace(result, sd=result.base), ETAS),
    }
    rows = [[picture.image], *([images[0] for images in row] for row in drawn.values())]
    sheet(rows, bench.work.picture(key))
    measured = {
        stages: [_measure(bench, images, picture, edit) for images in row]
        for stages, row in drawn.items()
    }
    choice = choose_eta(
        ETAS,
        [_average(at["faithfulness"]) for at in measured[ALL]],
        [_average(at["edit_strength"]) for at in measured[ALL]],
        unrelated=_average(measured[WITHOUT_B][-1]["faithfulness"]),
    )
    return {
        "edit": edit.name,
        "target_prompt": edit.target_prompt,
        "eta": choice.eta,
        "reason": choice.reason,
        "cost": asdict(cost),
        **measured,
    }


def _without_a(bench: Bench, edit: Edit, key: str) -> Unit:
    """Train the second stage alone, under the prompt itself: every eta draws the same then."""
    picture = edit.picture()
    imagic = Imagic(bench.sd, target_prompt=edit.target_prompt, embedding_steps=0)
    [images] = _draw(bench, _train(bench, imagic, picture)[0], ETAS[:1])
    sheet([[picture.image, *images]], bench.work.picture(key))
    return {WITHOUT_A: [_measure(bench, images, picture, edit)] * len(ETAS)}


def _train(bench: Bench, imagic: Imagic, picture: Picture) -> tuple[ImagicResult, Cost]:
    """Train the stages that are asked for, with a progress bar, and measure what that takes."""
    steps = sum(imagic.steps.values())
    cost = drive(fit(imagic, [picture]), steps, imagic, desc="imagic")
    numbers = imagic.e_opt.encoder_hidden_states.numel() if imagic.steps["embedding"] else 0
    numbers += sum(p.numel() for p in imagic.sd.unet.parameters())
    return imagic.result, replace(cost, parameters=numbers)


def _draw(bench: Bench, result: ImagicResult, etas: Sequence[float]) -> list[list[Image.Image]]:
    """For each eta a picture a seed."""
    settings = {
        "num_inference_steps": bench.size.sampler_steps,
        "guidance_scale": bench.size.guidance_scale,
    }
    seeds = range(bench.size.seeds)
    by_seed = [result.draw(etas, seed=seed, **settings) for seed in seeds]
    return [list(images) for images in zip(*by_seed, strict=True)]


def _measure(
    bench: Bench, images: Sequence[Image.Image], picture: Picture, edit: Edit
) -> dict[str, list[float]]:
    judges = bench.judges
    reference = judges.image_embeds([picture.image])[0]
    wanted = judges.clip_text_embeds([edit.target_prompt])[0]
    return {
        "faithfulness": (judges.image_embeds(images) @ reference).tolist(),
        "edit_strength": (judges.clip_image_embeds(images) @ wanted).tolist(),
        "seen": [float(r[edit.attribute] == edit.after) for r in judges.read(images)],
    }


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)
