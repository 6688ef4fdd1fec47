"""`sdlearn generate`: draw pictures from a prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from sdlearn.data.png import file_hash, read_generated, save_generated
from sdlearn.models.registry import public_name
from sdlearn.models.samplers import SamplerName
from sdlearn.models.writing import check_utf8, prepare_file, prepare_folder

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.finetune import ImagicResult
    from sdlearn.models import StableDiffusion

LARGEST_SIDE = 2048  # pixels
MOST_PICTURES = 1_000_000
SIDE_STEP = 8  # pixels; latents are 8 times smaller than pictures


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Draw pictures from a prompt, in English or Japanese.

    Pictures are PNG files that carry their prompt, seed, model and "made by AI".
    """

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """what to draw"""
    negative_prompt: str = ""  # what to steer away from
    seed: int = 0  # of the first picture; the next ones take seed + 1, seed + 2, ...
    number: int = 1  # pictures
    size: str = ""
    """pixels: 128 for a square, 96x128 for height and width; '' is the model's own size"""
    steps: int = 20  # sampler steps a picture
    sampler: SamplerName = "dpm++"  # how the noise is taken out; ddpm wants 50 steps or more
    guidance_scale: float = 5.0  # how strongly the prompt pulls; 1 is no guidance
    model: str = "mini"  # name (see `sdlearn info`), folder or hub id
    load: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """what `sdlearn train` made, to draw with; may be given several times"""
    scale: Annotated[tuple[float, ...], tyro.conf.UseAppendAction] = ()
    """how strongly each LoRA loaded counts: one for each --load, 1 where left out altogether"""
    eta: float | None = None
    """where to draw an edit of `sdlearn train imagic`: 0 is its picture, 1 its prompt; the chosen
    one unless given"""
    output: Path = Path("outputs")  # folder, or a file that ends in .png for one picture

    def run(self) -> None:
        """Check everything that can be checked, then load the model and draw."""
        self._check()
        paths = self._output_paths()
        from tqdm import tqdm

        from sdlearn.finetune.imagic.result import is_imagic, load_imagic
        from sdlearn.models import load
        from sdlearn.models.samplers import check_steps

        sd, drawing = load(self.model), self
        check_steps(self.steps, sd.noise_scheduler, self.sampler)
        edit = next((path for path in self.load if is_imagic(path)), None)
        if edit is None:
            images = self._draw(self._model(sd))
        else:
            result = load_imagic(sd, edit)
            drawing = self._of_edit(result)
            images = drawing._draw_edit(result)
        for seed, path, image in zip(self._seeds(), paths, images, strict=True):
            tqdm.write(str(drawing._save(image, path, seed)))  # above the progress bar

    def _model(self, sd: StableDiffusion) -> StableDiffusion:
        """The model with what is loaded in it."""
        if self.eta is not None:
            raise ValueError("--eta is for what `sdlearn train imagic` made: name that by --load")
        from sdlearn.models import with_artefacts

        sd = with_artefacts(sd, self._loaded())
        for side in self._sides():
            sd.check_size(side)
        return sd

    def _check(self) -> None:
        for name in ("number", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}: give at least 1")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"--seed is {self.seed}: give a whole number from 0 to 2^63 - 1")
        check_utf8(self.prompt + self.negative_prompt, "the prompt")
        if self.number > MOST_PICTURES:
            raise ValueError(f"--number is {self.number}: give at most {MOST_PICTURES}")
        if not (math.isfinite(self.guidance_scale) and self.guidance_scale >= 0):
            raise ValueError(f"--guidance-scale is {self.guidance_scale}: give 0 or more")
        for side in self._sides():
            if side % SIDE_STEP or not SIDE_STEP <= side <= LARGEST_SIDE:
                raise ValueError(
                    f"--size {self.size} cannot be drawn: give multiples of {SIDE_STEP}"
                    f" up to {LARGEST_SIDE} pixels"
                )
        self._check_loaded()

    def _check_loaded(self) -> None:
        for artefact in self.load:
            if not artefact.exists():
                raise FileNotFoundError(f"--load {artefact}: there is no such file or folder")
        if self.scale and len(self.scale) != len(self.load):
            raise ValueError(
                f"--scale is given {len(self.scale)} times and --load {len(self.load)} times: "
                "give one --scale for each --load, in their order"
            )
        for scale in self.scale:
            if not math.isfinite(scale):
                raise ValueError(f"--scale {scale} is no strength: give a number, such as 0.7")
        places = [artefact.resolve() for artefact in self.load]
        for artefact, place in zip(self.load, places, strict=True):
            if places.count(place) > 1:
                raise ValueError(f"--load {artefact} is given twice: give it once")

    def _loaded(self) -> list[tuple[Path, float]]:
        """What is drawn with, and how strongly."""
        return list(zip(self.load, self.scale or [1.0] * len(self.load), strict=True))

    def _sides(self) -> tuple[int, ...]:
        """(height, width) in pixels, or () for the model's own size."""
        sides = self.size.split("x") if self.size else []
        if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
            raise ValueError(f"--size {self.size} is no size: write 128, or 96x128 (height, width)")
        return tuple(int(side) for side in (sides * 2 if len(sides) == 1 else sides))

    def _seeds(self) -> range:
        return range(self.seed, self.seed + self.number)

    def _output_paths(self) -> list[Path]:
        """Where each picture goes; makes the folder and refuses one that cannot be written to."""
        output = self.output.expanduser()
        if output.suffix.lower() == ".png":
            if self.number > 1:
                raise ValueError(f"--output {output} names one file for {self.number} pictures")
            prepare_file(output)
            if output.exists():
                _check_own(output)
            return [output]
        if output.suffix.lower() in {".jpg", ".jpeg", ".webp", ".gif"}:
            raise ValueError(f"--output {output}: pictures are written as .png")
        folder = prepare_folder(output)
        return [folder / f"seed-{seed}.png" for seed in self._seeds()]

    def _draw(self, sd: StableDiffusion) -> Iterator[Image.Image]:
        """Draw one picture a seed. One at a time, so that each is the same when drawn alone."""
        from tqdm import tqdm

        from sdlearn.models.samplers import make_sampler

        sd.tokenize([self.prompt, self.negative_prompt])  # warns where one is too long
        height, width = self._sides() or (sd.image_size, sd.image_size)
        with tqdm(total=self.number * self.steps, unit="step", desc="drawing") as progress:
            for seed in self._seeds():
                yield from sd.draw(
                    self.prompt,
                    seeds=seed,
                    scheduler=make_sampler(self.sampler, sd.noise_scheduler),
                    negative_prompt=self.negative_prompt or None,  # SDXL tells none from ""
                    height=height,
                    width=width,
                    num_inference_steps=self.steps,
                    guidance_scale=self.guidance_scale,
                    desc=None,
                    callback_on_step_end=_watch(progress),
                )

    def _of_edit(self, result: ImagicResult) -> Generate:
        """These settings for an edit of Imagic's: its prompt, and the chosen eta unless given."""
        target, size = result.config.target_prompt, result.size
        if len(self.load) > 1 or self.scale:
            raise ValueError("--load names an edit of Imagic's: draw that alone, without --scale")
        if self.prompt not in ("", target):
            raise ValueError(f'the edit goes towards "{target}": give that as the prompt, or ""')
        if any(side != size for side in self._sides()):
            raise ValueError(f"--size {self.size}: the edit can only be drawn at {size}, as learnt")
        eta = self.eta if self.eta is not None else result.eta
        if eta is None or not math.isfinite(eta):
            raise ValueError("no eta was chosen for this edit: give --eta, such as 0.7")
        return replace(self, prompt=target, eta=eta)

    def _draw_edit(self, result: ImagicResult) -> Iterator[Image.Image]:
        """Draw one picture a seed at the eta."""
        result = replace(result, sampler=self.sampler)
        for seed in self._seeds():
            yield from result.draw(
                [self.eta or 0.0],
                seed,
                negative_prompt=self.negative_prompt or None,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance_scale,
                callback_on_step_end=_watch(),
            )

    def _save(self, image: Image.Image, path: Path, seed: int) -> Path:
        return save_generated(
            image,
            path,
            new=self.output.suffix.lower() != ".png",  # earlier pictures of a folder are kept
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            seed=seed,
            model=self._named_model(),
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            sampler=self.sampler,
            model_hash=self._model_hash(),
        )

    def _model_hash(self) -> str:
        """What other programs call a model in one file by; "" for others."""
        path = Path(self.model).expanduser()
        return file_hash(path) if path.is_file() else ""

    def _named_model(self) -> str:
        """What was drawn with, by names alone: where files lie is private."""
        names = [
            public_name(self.model),
            *(_named(*loaded) for loaded in self._loaded()),
        ]
        return " + ".join(names) + ("" if self.eta is None else f" at eta {self.eta:g}")


def _named(artefact: Path, scale: float) -> str:
    name = artefact.expanduser().resolve().name
    return name if scale == 1 else f"{scale:g} x {name}"


def _watch(progress: Any = None) -> Any:
    """A pipeline's step callback: moves a progress bar on, and stops at numbers that overflowed."""

    def callback(
        pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        if not tensors["latents"].isfinite().all():
            raise ValueError(
                f"the picture is no longer of finite numbers after step {step + 1}: "
                "lower --guidance-scale, or take another --sampler"
            )
        if progress is not None:
            progress.update()
        return tensors

    return callback


def _check_own(path: Path) -> None:
    """Raise ValueError for a picture that would be written over and was not drawn here."""
    try:
        read_generated(path)
    except ValueError as error:
        raise ValueError(
            f"--output {path} is a picture that sdlearn did not draw: give another name"
        ) from error
