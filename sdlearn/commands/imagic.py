"""`sdlearn train imagic`: edit one picture by a prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from sdlearn.commands.output import prepare_output, refuse_among_pictures, save_or_keep
from sdlearn.commands.stopping import run_until_stopped
from sdlearn.data.folder import Picture, read_image, read_pictures
from sdlearn.data.png import save_generated
from sdlearn.finetune.config import ImagicConfig
from sdlearn.training.config import FitConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from sdlearn.finetune import Imagic
    from sdlearn.finetune.imagic.eta import EtaChoice


@dataclass(frozen=True, kw_only=True)
class TrainImagic:
    """Edit one picture by a prompt, and choose how far: the largest edit that keeps the picture.

    The output folder holds what was learnt, a sheet of all etas with the chosen one marked, and the
    pictures. `sdlearn generate` draws at the chosen eta or at another.
    """

    picture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PICTURE")]
    """the picture to edit: a file, or a folder that holds one"""
    output: Path  # folder for what is learnt; `sdlearn generate --load` takes it
    model: str = "mini"  # to start from: name (see `sdlearn info`), folder or hub id
    method: ImagicConfig
    fit: FitConfig = field(default_factory=lambda: FitConfig(train_batch_size=1))

    def run(self) -> None:
        """Check picture and output, then load the model, train, save, draw and choose."""
        picture = read_one_picture(self.picture)
        refuse_among_pictures(
            {"--output": self.output, "--output-dir": self.fit.output_dir},
            [] if picture.path is None else [picture.path.parent],
        )
        prepare_output(self.output, names=["sheet.png"])
        from accelerate import PartialState

        from sdlearn.finetune import Imagic, fit
        from sdlearn.models import load
        from sdlearn.training.accelerator import frozen_dtype

        sd = load(self.model, dtype=frozen_dtype(self.fit), in_place=True)
        imagic = Imagic(sd, self.method)
        run_until_stopped(fit(imagic, [picture], self.fit), self.fit.output_dir, None)
        if PartialState().is_main_process:  # of several processes one draws and writes
            self._finish(imagic, picture)

    def _finish(self, imagic: Imagic, picture: Picture) -> None:
        """Save, draw every eta, choose one, and say which and where."""
        from sdlearn.finetune.imagic.result import note_choice
        from sdlearn.finetune.provenance import show_on_card

        folder = save_or_keep(imagic, self.output)
        measures = judging(self.model, picture.image, self.method.target_prompt)
        choice, images = imagic.result.find_eta(picture.image, **measures)
        note_choice(folder, choice)
        self._save_pictures(imagic.base.name, picture.image, images, choice)
        show_on_card(folder, [(folder / "sheet.png", self.method.target_prompt)])
        print(f"eta {choice.eta:g}: {choice.reason}")
        print(folder)

    def _save_pictures(
        self, model: str, picture: Image.Image, images: Sequence[Image.Image], choice: EtaChoice
    ) -> None:
        from sdlearn.course.demo.sheet import save_sheet
        from sdlearn.course.imagic_sheet import draw_imagic_sheet

        for eta, image in zip(choice.etas, images, strict=True):
            save_generated(
                image,
                self.output / "pictures" / f"eta-{eta:.2f}.png",
                prompt=self.method.target_prompt,
                negative_prompt="",
                seed=self.method.noise_seed,
                model=f"{model} + {self.output.resolve().name} at eta {eta:g}",
                steps=self.method.num_inference_steps,
                guidance_scale=self.method.guidance_scale,
            )
        sheet = draw_imagic_sheet(picture, images, choice, self.method.target_prompt)
        save_sheet(sheet, self.output.expanduser() / "sheet.png")


def read_one_picture(path: Path) -> Picture:
    """Read a picture file, or the one picture of a folder.

    Raises FileNotFoundError for a path that is missing, and ValueError, naming the file, for what
    is no picture and a folder of several.
    """
    path = path.expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no picture {path}: check its name")
    if path.is_file():
        return Picture(image=read_image(path), path=path)
    pictures = read_pictures(path)
    if len(pictures) > 1:
        raise ValueError(f"{path} holds {len(pictures)} pictures, and Imagic edits one: name it")
    return pictures[0]


def judging(model: str, picture: Image.Image, target_prompt: str) -> dict[str, Any]:
    """Return the measures of `ImagicResult.find_eta` by a model's judges; none where it has none.

    Faithfulness is the cosine with the picture in self-supervised features, the edit's strength
    that with the prompt in CLIP's.
    """
    from sdlearn.evaluate import Judges

    try:
        judges = Judges.load(model)
    except FileNotFoundError:
        return {}
    reference = judges.image_embeds([picture])[0]  # (D,)
    target = judges.clip_text_embeds([target_prompt])[0]
    return {
        "faithfulness": lambda images: (judges.image_embeds(images) @ reference).tolist(),
        "edit_strength": lambda images: (judges.clip_image_embeds(images) @ target).tolist(),
    }
