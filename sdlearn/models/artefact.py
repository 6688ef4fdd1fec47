"""What a fine-tuning method leaves behind, put back into a model.

Three kinds are known: a Textual Inversion file (see `sdlearn.models.learned_embeds`), or a folder
that holds such words, a folder with `unet/` and perhaps text encoders in diffusers' format
(DreamBooth), and a LoRA: a folder with `pytorch_lora_weights.safetensors`, or one file in
diffusers' or kohya's format. All also load in diffusers' own loaders. Where a folder's
`artefact.json` names the method, that says which kind it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DConditionModel

from sdlearn.models.file_kinds import kind_of
from sdlearn.models.learned_embeds import (
    read_bundled_words,
    read_learned_embeds,
    with_token_rows,
)
from sdlearn.models.lora import adapter_names, merged, with_lora
from sdlearn.models.lora_files import DIFFUSERS_NAME, is_lora, read_lora
from sdlearn.models.records import RECORD_NAME, read_record
from sdlearn.models.tensor_files import opened
from sdlearn.models.text_encoder import load_text_encoder

if TYPE_CHECKING:
    from sdlearn.models.stable_diffusion import StableDiffusion

WITH_PARTS = ("dreambooth", "full", "imagic", "imagic-unet")  # methods that save whole parts
WITH_LORA = ("lora", "dreambooth-lora", "imagic-lora")


def with_artefact(sd: StableDiffusion, path: str | Path, scale: float = 1.0) -> StableDiffusion:
    """Return a model with a learned artefact in it; the given model is not changed.

    `scale` weakens or strengthens a LoRA; the others have none. Several LoRAs add up, each by its
    scale. Parts that the artefact leaves alone are shared with `sd`. Raises FileNotFoundError for a
    missing path, ValueError for a file of another kind or one that does not fit this model.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no artefact {path}: check its name")
    method = read_record(path).get("method")
    lora_file = None if method in WITH_PARTS else _lora_file(path)
    if lora_file is not None:
        for token, rows in read_bundled_words(lora_file).items():
            sd = with_token_rows(sd, token, *rows)
        return with_lora(sd, read_lora(lora_file, sd), scale)
    if scale != 1:
        raise ValueError(f"{path} is no LoRA, and only a LoRA has a scale: leave it at 1")
    if method in WITH_LORA:
        raise ValueError(f"{path / RECORD_NAME} says {method}, and no LoRA is there: save it again")
    if whole_parts(sd, path):
        return _with_parts(sd, path)
    for file in _word_files(path):
        token, rows = read_learned_embeds(file)
        sd = with_token_rows(sd, token, *rows)
    return sd


def with_artefacts(sd: StableDiffusion, loaded: Sequence[tuple[Path, float]]) -> StableDiffusion:
    """Return a model with several artefacts in it, each with its scale, as `with_artefact`.

    Those with whole parts go first, so that words and LoRAs fit the model that is drawn with,
    whatever the order. Raises ValueError for two that would replace the same part.
    """
    owners: dict[str, Path] = {}
    for path, _ in loaded:
        for part in whole_parts(sd, path):
            if part in owners:
                raise ValueError(f"{owners[part]} and {path} both replace the {part}: load one")
            owners[part] = path
    for path, scale in sorted(loaded, key=lambda own: own[0] not in owners.values()):
        sd = with_artefact(sd, path, scale)
    return sd


def whole_parts(sd: StableDiffusion, path: Path) -> list[str]:
    """The parts of a model that an artefact replaces: none where it is a LoRA or a word."""
    path = path.expanduser()
    if not path.is_dir() or read_record(path).get("method") in WITH_LORA:
        return []
    return [name for name in ("unet", *sd.text_encoders) if (path / name / "config.json").is_file()]


def unmerged(sd: StableDiffusion, path: str | Path, scale: float = 1.0) -> StableDiffusion:
    """Take a LoRA that was merged out of the weights again; `sd` itself is not changed.

    What comes out is the base, but for the rounding of two additions. Raises as `with_artefact`.
    """
    return merged(with_artefact(sd, path, -scale))


def _lora_file(path: Path) -> Path | None:
    """The LoRA that is at a path, or None where something else is."""
    files = [path] if path.is_file() else list(path.glob("*.safetensors"))
    files = [path / DIFFUSERS_NAME] if path / DIFFUSERS_NAME in files else files
    only = files[0] if len(files) == 1 and files[0].suffix == ".safetensors" else None
    return only if only is not None and is_lora(only) else None


def _word_files(path: Path) -> list[Path]:
    """The file of a word, or the files of all words in a folder that holds nothing else."""
    if path.is_file():
        return [path]
    found = sorted(path.glob("*.safetensors"))
    if not found or (len(found) > 1 and not all(map(_is_word, found))):
        raise ValueError(
            f"{path} holds neither unet/ nor text_encoder/, nor exactly one .safetensors file: "
            "give what a training run saved"
        )
    return found


def _is_word(path: Path) -> bool:
    with opened(path) as file:
        return kind_of(list(file.keys())) == "word"


def _with_parts(sd: StableDiffusion, folder: Path) -> StableDiffusion:
    parts: dict[str, Any] = {}
    bases = {"unet": sd.unet, **sd.text_encoders}
    for name in whole_parts(sd, folder):
        base = bases[name]
        if adapter_names(base):
            raise ValueError(f"{folder} would take the place of a LoRA: load it before that")
        if name == "unet":
            model = UNet2DConditionModel.from_pretrained(
                folder / name, use_safetensors=True, local_files_only=True
            )
            model.to(memory_format=torch.channels_last)
        else:
            model = load_text_encoder(folder / name, type(base), base.config.eos_token_id)
        _check_same_shapes(model, base, folder / name)
        parts[name] = model.to(base.device, base.dtype).requires_grad_(False).eval()
    return replace(sd, **parts)


def _check_same_shapes(model: torch.nn.Module, base: torch.nn.Module, folder: Path) -> None:
    ours = {name: weight.shape for name, weight in model.named_parameters()}
    theirs = {name: weight.shape for name, weight in base.named_parameters()}
    other = {name for name, _ in ours.items() ^ theirs.items()}
    if other and all(name.endswith("token_embedding.weight") for name in other):
        raise ValueError(f"{folder} does not know a word that was loaded: load it before the word")
    if other:
        raise ValueError(f"{folder} was trained from another model: load the one it was made from")
