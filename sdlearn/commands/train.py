"""`sdlearn train`: teach a model something new from a folder of pictures."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from sdlearn.commands.imagic import TrainImagic
from sdlearn.commands.output import (
    check_disk,
    prepare_output,
    refuse_among_pictures,
    save_or_keep,
    spare_folder,
)
from sdlearn.commands.stopping import run_until_stopped
from sdlearn.data.encoded import LazyFolder
from sdlearn.data.streams import stream_archives
from sdlearn.finetune.config import (
    FULL_FIT,
    DreamBoothConfig,
    FullConfig,
    LoRAConfig,
    TextualInversionConfig,
)
from sdlearn.finetune.saving import lora_files_named, word_file_name
from sdlearn.training.config import FitConfig

if TYPE_CHECKING:
    from sdlearn.finetune.denoising import DenoisingStage
    from sdlearn.models import StableDiffusion

SAMPLES, MOST_SAMPLES = 4, 1000  # pictures on a card: by default, and at most
LONG = 60  # seconds that one may take by default


@dataclass(frozen=True, kw_only=True)
class _Run(ABC):
    """What every training run is given."""

    pictures: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """pictures to learn from, with captions in metadata.jsonl if there are any"""
    output: Path  # folder for what is learnt; `sdlearn generate --load` takes it
    model: str = "mini"  # to start from: name (see `sdlearn info`), folder or hub id
    validation: Path | None = None  # folder of other pictures, to measure the loss on as it trains
    fit: FitConfig = field(default_factory=FitConfig)
    samples: int | None = None
    """pictures drawn at the end, for the model card; 0: none; None: 4, and none where one takes
    over a minute"""

    def run(self) -> None:
        """Check pictures and output, then load the model, train and save."""
        if (self.samples or 0) < 0:
            raise ValueError(f"--samples is {self.samples}: give 0 or more")
        if (self.samples or 0) > MOST_SAMPLES:
            raise ValueError(f"--samples is {self.samples}: give at most {MOST_SAMPLES}")
        pictures = self.read()
        others = () if self.validation is None else LazyFolder(self.validation).check()
        self._prepare_places(pictures)
        from accelerate import PartialState

        from sdlearn.finetune import fit
        from sdlearn.finetune.provenance import draw_samples, seconds_a_picture
        from sdlearn.models import load
        from sdlearn.models.single_file import check_single_file, is_file
        from sdlearn.training.accelerator import frozen_dtype

        sd = load(self.model, dtype=frozen_dtype(self.fit), in_place=True)
        method = self.make_method(sd)
        if is_file(self.output) and self.saves_file() == "model":
            check_single_file(sd)
        check_disk(method, self.output, self.fit)
        self._check_memory(method)
        run_until_stopped(
            fit(method, pictures, self.fit, validation_pictures=others),
            self.fit.output_dir,
            spare_folder(self.output),
        )
        if PartialState().is_main_process:  # of several processes one writes
            saved, folder = save_or_keep(method, self.output), self.output.expanduser()
            if samples := self.choose_samples(seconds_a_picture(method, self.fit), folder):
                only = saved if saved.is_file() else None
                draw_samples(method, pictures, self.fit, folder, samples, saved=only)
            print(saved)
            for line in lora_files_named(saved):
                print(line, file=sys.stderr)

    def _check_memory(self, method: DenoisingStage) -> None:
        """Refuse a batch that `sdlearn plan` knows to be too large, in seconds."""
        from sdlearn.plan.config import PlanConfig
        from sdlearn.plan.planning import check_batch

        config = PlanConfig(
            model=self.model,
            resolution=self.fit.resolution,
            train_text_encoder=getattr(method.config, "train_text_encoder", False),
        )
        name: Any = method.name if method.name == "lora" else method.name.removesuffix("-lora")
        check_batch(name, config, self.fit)

    def _prepare_places(self, pictures: Any) -> None:
        """Refuse places that cannot be written to, or hold the pictures; make the others."""
        places = {"--output": self.output, "--output-dir": self.fit.output_dir}
        class_data_dir = getattr(getattr(self, "method", None), "class_data_dir", None)
        refuse_among_pictures(
            {**places, "--class-data-dir": class_data_dir},
            [self.pictures, *getattr(pictures, "folders", ())],
        )
        prepare_output(
            self.output,
            may_be_file=self.saves_file() is not None,
            whole_model=self.saves_whole_model(),
            names=self.names(),
        )

    def names(self) -> tuple[str, ...]:
        """Files that this method alone saves to a folder."""
        return ()

    def read(self) -> Any:
        """The pictures to learn from: all looked at, and read again one by one to be encoded."""
        return LazyFolder(self.pictures).check()

    def choose_samples(self, seconds: float, folder: Path) -> int:
        """The number asked for, else 4; none, and a word about it, where one takes too long.

        None either where there is no folder for them, or several processes would draw.
        """
        from accelerate import PartialState

        if not folder.is_dir() or PartialState().num_processes > 1:
            return 0
        if self.samples is not None or seconds <= LONG:
            return SAMPLES if self.samples is None else self.samples
        print(
            f"No samples are drawn for the card, as each would take about {seconds:.0f} seconds "
            f"here: give --samples {SAMPLES} to have them.",
            file=sys.stderr,
        )
        return 0

    def saves_file(self) -> Literal["word", "model"] | None:
        """What an output that ends in `.safetensors` becomes; None: it is a folder's name only."""
        return None

    def saves_whole_model(self) -> bool:
        """Whether the output will open like any model."""
        return False

    @abstractmethod
    def make_method(self, sd: StableDiffusion) -> DenoisingStage:
        """The method with its settings, on a loaded model."""


@dataclass(frozen=True, kw_only=True)
class TrainTextualInversion(_Run):
    """Learn one new word for what the pictures show; the model itself stays as it is.

    What comes out is a few kilobytes, and works with every model of the same text encoder.
    """

    method: TextualInversionConfig = field(default_factory=TextualInversionConfig)

    def saves_file(self) -> Literal["word", "model"] | None:
        """The word's file."""
        return "word"

    def names(self) -> tuple[str, ...]:
        """The word's file."""
        return (word_file_name(self.method.placeholder_token),)

    def make_method(self, sd: StableDiffusion) -> DenoisingStage:
        from sdlearn.finetune import TextualInversion

        return TextualInversion(sd, self.method)


@dataclass(frozen=True, kw_only=True)
class TrainDreamBooth(_Run):
    """Teach the whole model a subject, and keep it from forgetting the subject's class.

    An output that ends in .safetensors becomes the whole model in one file, for A1111 and ComfyUI.
    """

    method: DreamBoothConfig = field(default_factory=DreamBoothConfig)

    def saves_file(self) -> Literal["word", "model"] | None:
        """The whole model in one file, unless it is a LoRA."""
        return "model" if self.method.lora_rank is None else None

    def make_method(self, sd: StableDiffusion) -> DenoisingStage:
        from sdlearn.finetune import DreamBooth

        return DreamBooth(sd, self.method)


@dataclass(frozen=True, kw_only=True)
class TrainLoRA(_Run):
    """Teach a model what captioned pictures show, by small updates beside its weights.

    What comes out is a few megabytes, for this model and its relatives; several can be mixed.
    """

    method: LoRAConfig = field(default_factory=LoRAConfig)

    def make_method(self, sd: StableDiffusion) -> DenoisingStage:
        from sdlearn.finetune import LoRA

        return LoRA(sd, self.method)


@dataclass(frozen=True, kw_only=True)
class TrainFull(_Run):
    """Teach the whole model a style, or a world, from many captioned pictures of any shapes.

    Instead of a folder of pictures, WebDataset archives can be streamed: a folder of them, or their
    names in quotes, such as "data/{000..099}.tar". An output that ends in .safetensors becomes the
    whole model in one file, for A1111 and ComfyUI.
    """

    fit: FitConfig = FULL_FIT
    method: FullConfig = field(default_factory=FullConfig)
    shuffle_buffer: int = 1000  # pictures of a stream in memory, to shuffle among

    def read(self) -> Any:
        """A folder whose pictures are read one by one, or a stream."""
        if self.pictures.suffix == ".tar" or any(self.pictures.glob("*.tar")):
            return stream_archives(str(self.pictures), shuffle_buffer=self.shuffle_buffer)
        return LazyFolder(self.pictures)

    def saves_file(self) -> Literal["word", "model"] | None:
        """The whole model in one file."""
        return "model"

    def saves_whole_model(self) -> bool:
        """Whether the output will open like any model."""
        return self.method.save_whole_model

    def make_method(self, sd: StableDiffusion) -> DenoisingStage:
        from sdlearn.finetune import FullFineTuning

        return FullFineTuning(sd, self.method)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Fine-tune a model on a folder of pictures."""

    command: (
        Annotated[TrainTextualInversion, tyro.conf.subcommand("textual-inversion")]
        | Annotated[TrainDreamBooth, tyro.conf.subcommand("dreambooth")]
        | Annotated[TrainImagic, tyro.conf.subcommand("imagic")]
        | Annotated[TrainLoRA, tyro.conf.subcommand("lora")]
        | Annotated[TrainFull, tyro.conf.subcommand("full")]
    )

    def run(self) -> None:
        """Run the chosen method."""
        self.command.run()
