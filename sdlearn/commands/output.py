"""Where a training run saves: looked at before anything is loaded, and never the end of a run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sdlearn.finetune.saving import BLOCKED_BY_FILES, refuse_model, saved_names
from sdlearn.models.writing import prepare_file, prepare_folder

if TYPE_CHECKING:
    from sdlearn.finetune.denoising import DenoisingStage
    from sdlearn.training.config import FitConfig
    from sdlearn.training.method import Method


def prepare_output(
    output: Path,
    *,
    may_be_file: bool = False,
    whole_model: bool = False,
    names: Iterable[str] = (),
) -> None:
    """Make the folder that a run saves to; what training ends in must not fail by its place.

    `may_be_file` says that one `.safetensors` file is saved if the name ends so, `whole_model` that
    a whole model is; `names` are files besides those of all methods. Raises ValueError for a name
    or a folder that cannot be saved to, or a file that is not of a run, and OSError where nothing
    can be written.
    """
    output = output.expanduser()
    if output.suffix == ".safetensors":
        if not may_be_file:
            raise ValueError(f"--output {output} names one file, and a folder is saved: name one")
        prepare_file(output)
        _refuse_foreign(output)
        return
    if not whole_model:
        refuse_model(output)
    folder = prepare_folder(output).resolve()
    for name in [*saved_names(folder.name), *names]:
        prepare_file(folder / name)
    for name in BLOCKED_BY_FILES:
        if (folder / name).is_file():
            raise ValueError(f"{folder / name} is a file, where a folder has to go: move it away")


def refuse_among_pictures(places: dict[str, Path | None], pictures: Iterable[Path]) -> None:
    """Raise ValueError where something would be written to a folder with pictures to learn from.

    `places` are options and what they name.
    """
    held = {path.expanduser().resolve() for path in pictures}
    for option, place in places.items():
        if place is not None and place.expanduser().resolve() in held:
            raise ValueError(f"{option} {place} holds the pictures to learn from: name another one")


def check_disk(method: DenoisingStage, output: Path, config: FitConfig) -> None:
    """Raise ValueError where a disk has no room for what will be saved.

    The sums are those of `sdlearn plan`: what trains in float32, LoRAs in two files; a checkpoint
    has two moments with it, and perhaps an average, and one too many is written before one goes.
    """
    from sdlearn.plan.advice import disk_refusal

    groups = method.parameter_groups(1.0)
    trained = 4 * sum(parameter.numel() for group in groups for parameter in group["params"])
    needed = {output.expanduser(): 2 * trained}
    if config.output_dir is not None:
        kept = (config.checkpoints_total_limit or 1) + 1
        needed[config.output_dir] = kept * trained * (3 + config.use_ema)
    for place, size in needed.items():
        folder = place if place.is_dir() else place.parent
        free = shutil.disk_usage(folder).free
        if size > free:
            raise ValueError(disk_refusal(folder, size, free))


def save_or_keep(method: Method, output: Path) -> Path:
    """Save what was learnt; where that fails, save it elsewhere, and say in the error where."""
    try:
        return method.save(output)
    except (OSError, ValueError) as error:
        for place in (output.expanduser().resolve().parent, Path(tempfile.gettempdir())):
            try:
                kept = method.save(Path(tempfile.mkdtemp(prefix="learnt-", dir=place)) / "learnt")
            except (OSError, ValueError):
                continue
            raise OSError(f"{error}; what was learnt is kept in {kept}") from error
        raise


def spare_folder(output: Path) -> Path:
    """Where the checkpoint of a run without an `output_dir` goes when it is stopped."""
    output = output.expanduser().resolve()
    return output.with_name(f"{output.stem}-checkpoints")


def _refuse_foreign(path: Path) -> None:
    """Raise ValueError for a file that would be written over and is not of a training run."""
    from sdlearn.models.tensor_files import OWN_ENTRY, opened

    if not path.exists():
        return
    with opened(path) as file:
        if OWN_ENTRY not in (file.metadata() or {}):
            raise ValueError(f"--output {path} is no file of sdlearn's: give another name")
