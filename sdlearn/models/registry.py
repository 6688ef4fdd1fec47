"""A name -> where its weights are. When a model moves, this is the one line to edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where a model is, and under which terms."""

    name: str
    about: str  # one line for people
    license: str  # SPDX identifier, or the hub's name of it
    repo: str | None = None  # hub id; None: the model ships with the package
    revision: str | None = None  # commit of the hub repository
    mirrors: tuple[str, ...] = ()  # hub ids with the same weights, tried in turn
    learning_rates: Mapping[str, float] = field(default_factory=dict)  # method -> what suits it
    train_steps: Mapping[str, int] = field(default_factory=dict)  # method -> what suits it
    snr_gammas: Mapping[str, float] = field(default_factory=dict)  # method -> what suits it


SOURCES: dict[str, ModelSource] = {
    source.name: source
    for source in (
        ModelSource(
            name="mini",
            about="the course's own small Stable Diffusion, drawn characters, 2 seconds a picture",
            license="CC-BY-4.0",
            # far fewer weights than SD 1.5, so each has to move further
            learning_rates={
                "textual-inversion": 2e-3,
                "dreambooth": 3e-4,
                "full": 2e-4,  # with 8 pictures a step; 440 steps teach it a drawing style
                "lora": 2e-3,
                "dreambooth-lora": 2e-3,
                "imagic-embedding": 1e-2,
                "imagic-unet": 2e-5,  # at 1e-4 the picture is all that is drawn, whatever the eta
                "imagic-lora": 2e-4,  # at LoRA's usual 1e-4 the picture is lost by eta 0.8
            },
            train_steps={"imagic-embedding": 150, "imagic-unet": 250},
            # who is drawn is decided where there is hardly more than noise, and there an error
            # of epsilon is smallest: with equal weights a word learns next to nothing of it
            snr_gammas={"textual-inversion": 0.1},
        ),
        ModelSource(
            name="sd15",
            about="Stable Diffusion 1.5, 512 x 512 pixels, 4 GB of GPU memory to draw",
            license="creativeml-openrail-m",
            repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
            revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
            mirrors=("benjamin-paine/stable-diffusion-v1-5",),
        ),
        ModelSource(
            name="sdxl",
            about="Stable Diffusion XL base 1.0, 1024 x 1024 pixels, 8 GB of GPU memory to draw",
            license="openrail++",
            repo="stabilityai/stable-diffusion-xl-base-1.0",
            revision="462165984030d82259a11f4367a4eed129e94a7b",
            mirrors=("YuCollection/sdxl-1.0-base-diffusers",),
            # diffusers' script for SDXL; the middle of the range that sd-scripts' guide gives
            learning_rates={"textual-inversion": 2e-3, "dreambooth": 2e-6},
        ),
    )
}


def public_name(model: str) -> str:
    """Return what to call a model in what is passed on: of one on this machine no path."""
    path = Path(model).expanduser()
    if model in SOURCES or not path.exists():
        return model
    own = path.resolve().name
    return f"./{own}" if own in SOURCES else own  # it only has the name of one that is known


def shipped_path(name: str) -> Path:
    """Return what ships with the package, by its name: `data/NAME` in a checkout,
    `sdlearn/_data/NAME` in an installed wheel.

    Raises FileNotFoundError where it is in neither.
    """
    places = [PACKAGE.parent / "data" / name, PACKAGE / "_data" / name]
    for path in places:
        if path.exists():
            return path
    raise FileNotFoundError(
        f'"{name}" is neither in {places[0].parent} nor in {places[1].parent}: '
        "install the wheel or fetch the whole repository"
    )


def shipped_folder(name: str) -> Path:
    """Return the folder of a model that ships with the package. Raises FileNotFoundError."""
    return shipped_path(f"{name}/model_index.json").parent
