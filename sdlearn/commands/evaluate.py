"""`sdlearn evaluate`: what a model can do, or what was learnt, in figures."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from sdlearn.evaluate.config import EvaluateConfig, SubjectConfig

if TYPE_CHECKING:
    from sdlearn.data.folder import Picture
    from sdlearn.evaluate.artefact import Drawer, Measured
    from sdlearn.evaluate.judges import Judges

MINI = "mini"
ONLY_MINI = ("number", "all", "threads", "workers")  # settings that the others do not have


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure mini, what `sdlearn train` made, or a folder of pictures.

    mini is measured on what it was never trained on, beside the bars it is to reach: the table goes
    to its card and to measurements.json. An artefact is measured against its subject's --pictures:
    likeness, prompt fit, drift of the class, diversity and memorisation, each with its interval.
    """

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="mini|ARTEFACT|FOLDER")]
    """what to measure: mini, a file or folder that was trained, or a folder of pictures"""
    pictures: Path | None = None  # the subject's own: a folder, or the file that an edit began from
    output: Path | None = None  # JSON file; None: evaluation.json, in the folder or beside the file
    model: str = MINI  # name, or folder, of the model that was trained, with judges beside it
    judges: str = ""  # name, or folder, of another model whose judges are to look; '': the model's
    config: EvaluateConfig = field(default_factory=EvaluateConfig)
    subject: SubjectConfig = field(default_factory=SubjectConfig)

    def run(self) -> None:
        """Check the settings, measure, print, and write where that is possible."""
        self.config.check()
        self.subject.check()
        if self.what == MINI:
            self._measure_mini()
        else:
            self._measure_learnt()

    def _measure_mini(self) -> None:
        for name in ("pictures", "output", "judges"):
            if getattr(self, name):
                raise ValueError(f"--{name} is for an artefact or for pictures: leave it out")
        from sdlearn.evaluate.mini import (
            evaluate_mini,
            is_shipped,
            model_folder,
            write_measurements,
        )

        folder = model_folder(self.model)
        measured = evaluate_mini(self.config, self.model)
        print(measured["table"])
        if is_shipped(folder) and self.config.is_smaller:
            print(
                "sdlearn: the table was only printed, and the card keeps its own: leave out "
                "--number, --steps and --guidance-scale to write it",
                file=sys.stderr,
            )
            return
        try:
            write_measurements(measured, folder)
        except OSError as error:
            print(
                f"sdlearn: the table was only printed, {folder} cannot be written to "
                f"({error.strerror})",
                file=sys.stderr,
            )

    def _measure_learnt(self) -> None:
        path = Path(self.what).expanduser()
        self._check(path)
        from sdlearn.data.folder import read_pictures
        from sdlearn.evaluate.subject_name import is_artefact
        from sdlearn.models.writing import prepare_file

        learnt = is_artefact(path)
        if learnt and self.pictures is None:
            raise ValueError(f"--pictures is missing: name the folder of what {path} was made from")
        drawn = [] if learnt else read_pictures(path)
        output = (self.output or _beside(path)).expanduser()
        if output.is_dir():
            raise ValueError(f"--output {output} is a folder: name a file in it, such as a.json")
        prepare_file(output)
        from sdlearn.evaluate.report import measurement_facts, report, write_report

        facts, (figures, notes) = self._artefact(path) if learnt else self._folder(drawn)
        device = facts.pop("device", "cpu")
        facts = {**measurement_facts(self._command(path), device), "what": path.name, **facts}
        measured = report(figures, facts, notes, self.judges or self.model)
        print(measured["table"])
        write_report(measured, output)
        print(output)

    def _check(self, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(
                f'there is no artefact and no folder of pictures "{path}": check its name'
            )
        for name in ONLY_MINI:
            if getattr(self.config, name) != getattr(EvaluateConfig(), name):
                raise ValueError(f"--{name} is for `sdlearn evaluate mini`: leave it out")

    def _folder(self, drawn: list[Picture]) -> tuple[dict[str, Any], Measured]:
        """A folder of pictures: what can be said of pictures alone."""
        from sdlearn.evaluate import Judges
        from sdlearn.evaluate.artefact import measure_pictures

        pictures = self._pictures() if self.pictures else []
        judges = Judges.load(self.judges or self.model)
        facts = {"method": "pictures", "pictures": len(drawn)}
        return facts, measure_pictures(judges, drawn, pictures, self.subject)

    def _artefact(self, path: Path) -> tuple[dict[str, Any], Measured]:
        """What a method has learnt: its subject in new situations, or its edit at each eta."""
        from sdlearn.evaluate import Judges
        from sdlearn.evaluate.artefact import Drawer, measure_artefact
        from sdlearn.evaluate.subject_name import find_subject_name
        from sdlearn.finetune.imagic.result import is_imagic

        pictures, edit = self._pictures(), is_imagic(path)
        if edit and len(pictures) != 1:
            raise ValueError(
                f"--pictures {self.pictures} holds {len(pictures)} pictures: name the one that "
                "was edited"
            )
        name = None if edit else find_subject_name(path, self.subject, pictures)
        judges, drawer = Judges.load(self.judges or self.model), Drawer(self.config, self.subject)
        facts: dict[str, Any] = {"model": Path(self.model).name, "settings": self._settings()}
        if name is None:
            return self._edit(path, pictures, judges, drawer, facts)
        from sdlearn.models import load

        base = load(self.model)
        tuned = base.with_artefact(path, self.subject.scale)
        facts |= {"device": str(base.device), **asdict(name), "pictures": len(pictures)}
        return facts, measure_artefact(judges, (base, tuned), pictures, name, drawer)

    def _edit(
        self,
        path: Path,
        pictures: list[Picture],
        judges: Judges,
        drawer: Drawer,
        facts: dict[str, Any],
    ) -> tuple[dict[str, Any], Measured]:
        """An edit of Imagic's: every eta, each drawn from the same seeds."""
        from tqdm import tqdm

        from sdlearn.evaluate.artefact import measure_edit
        from sdlearn.evaluate.figures import class_figures
        from sdlearn.evaluate.situations import CAPTION_WORD
        from sdlearn.finetune.imagic.result import load_imagic
        from sdlearn.models import load

        result = load_imagic(load(self.model), path)
        etas, target = result.config.etas, result.config.target_prompt
        settings = {
            "num_inference_steps": self.config.steps,
            "guidance_scale": self.config.guidance_scale,
        }
        seeds = tqdm(range(self.subject.seeds), desc="drawing the edit", unit="seed")
        rows = [result.draw(etas, seed, **settings) for seed in seeds]
        drawn = dict(zip(etas, zip(*rows, strict=True), strict=True))
        word = self.subject.class_word or CAPTION_WORD
        of_class = drawer.of_class(result.base, result.sd, word)
        figures = [
            *measure_edit(judges, drawn, pictures[0].image, target, result.eta),
            *class_figures(judges, *of_class, [pictures[0].image]),
        ]
        facts |= {"device": str(result.sd.device), "method": "imagic", "target_prompt": target}
        chosen = "none was chosen" if result.eta is None else f"{result.eta:g} was chosen"
        note = (
            f'Towards "{target}", from {self.subject.seeds} seeds at each eta; of these {chosen}.'
        )
        return {**facts, "chosen_eta": result.eta}, (figures, [note])

    def _pictures(self) -> list[Picture]:
        from sdlearn.data.folder import Picture, read_image, read_pictures

        path = Path(self.pictures or "").expanduser()
        if path.is_file():
            return [Picture(image=read_image(path), path=path)]
        return read_pictures(path)

    def _settings(self) -> dict[str, Any]:
        """What the pictures were drawn with."""
        drawn = {name: getattr(self.config, name) for name in ("steps", "guidance_scale")}
        return {**drawn, **asdict(self.subject)}

    def _command(self, path: Path) -> str:
        """The command line, with names of files and folders alone: where they lie is private."""
        words = ["sdlearn evaluate", path.name]
        words += [f"--pictures {self.pictures.name}"] if self.pictures else []
        for name in ("model", "judges"):
            value = getattr(self, name)
            words += [f"--{name} {Path(value).name}"] if value not in ("", MINI) else []
        for config in (self.config, self.subject):
            for entry in fields(config):
                value = getattr(config, entry.name)
                if value != entry.default:
                    value = f'"{value}"' if isinstance(value, str) else value
                    words.append(f"--{entry.name.replace('_', '-')} {value}")
        return " ".join(words)


def _beside(path: Path) -> Path:
    """Where the JSON goes unless told: in a folder, or beside a file with its name."""
    return path / "evaluation.json" if path.is_dir() else path.with_suffix(".evaluation.json")
