"""Where a training run saves: looked at before anything is loaded."""

from __future__ import annotations

from pathlib import Path

from sdlearn.finetune.saving import refuse_model
from sdlearn.models.writing import prepare_folder


def prepare_output(output: Path, *, may_be_file: bool = False, whole_model: bool = False) -> None:
    """Make the folder that a run saves to; what training ends in must not fail by its place.

    `may_be_file` says that one `.safetensors` file is saved if the name ends so, `whole_model` that
    a whole model is. Raises ValueError for a name or a folder that cannot be saved to, and OSError
    where nothing can be written.
    """
    output = output.expanduser()
    if output.suffix == ".safetensors":
        if not may_be_file:
            raise ValueError(f"--output {output} names one file, and a folder is saved: name one")
        if output.is_dir():
            raise ValueError(f"--output {output} is a folder: give a file another name")
        prepare_folder(output.parent)
        return
    if not whole_model:
        refuse_model(output)
    prepare_folder(output)
