"""Where a saved artefact comes from: what its record and its card, `README.md`, say of it.

The record, `artefact.json`, holds the settings and how it came about: from which pictures, on what,
how long. The card says the same to people, in the form that the hub shows, with pictures drawn at
the end; those drawn on the way are previews.
"""

from __future__ import annotations

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import ModelCardData
from tqdm.auto import tqdm

from sdlearn import __version__
from sdlearn.data.encoded import descriptions
from sdlearn.data.folder import Picture
from sdlearn.data.image_files import read_image
from sdlearn.data.png import save_generated
from sdlearn.data.streams import PictureStream
from sdlearn.finetune.saving import (
    CARD_MARK,
    CARD_NAME,
    LORA_NAME,
    OTHER_PROGRAMS,
    is_own_card,
    word_file_name,
)
from sdlearn.models.file_kinds import kohya_file_name
from sdlearn.models.model_metadata import tags_of, trigger_phrase
from sdlearn.models.registry import SOURCES
from sdlearn.models.tensor_files import add_to_header
from sdlearn.models.writing import replaced_when_complete
from sdlearn.training.accelerator import hardware

if TYPE_CHECKING:
    from sdlearn.finetune.denoising import DenoisingStage
    from sdlearn.models import StableDiffusion
    from sdlearn.training.config import FitConfig
    from sdlearn.training.method import Method

PACKAGES = ("sdlearn", "torch", "diffusers", "transformers", "peft")
MOST_LOOKED_AT = 20_000  # pictures, for their licences
THUMBNAIL = 256  # pixels
LOOKED_AT = 100  # pictures, for prompts of samples that differ
MOST_SOURCES = 10  # addresses that are kept of one author
WHAT = {
    "lora": "A LoRA: small updates beside the weights of {base}.",
    "dreambooth-lora": "A subject that {base} was taught by DreamBooth, as a LoRA.",
    "dreambooth": "A subject that {base} was taught by DreamBooth: whole weights.",
    "full": "Whole weights of {base}, fine-tuned.",
    "textual-inversion": "A new word for {base}, learnt by Textual Inversion.",
    "imagic": "One picture's edit by a prompt, made with Imagic from {base}.",
}
UNCHOSEN = "Nobody has chosen one yet."
DRAW = ("sdlearn", "generate")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
PICTURES = "<!-- pictures -->"  # where they go


def collect_provenance(stage: DenoisingStage, pictures: Any, device: str) -> dict[str, Any]:
    """Return what is known of a run before its first step; the loop counts steps and seconds."""
    return {
        "prompt": next(learnt_under(stage, pictures)),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "hardware": hardware(device),
        "versions": {name: version(name) for name in PACKAGES},
        "pictures": credits_of(pictures),
        "tags": {}
        if isinstance(pictures, PictureStream)
        else tags_of(islice(learnt_under(stage, pictures), MOST_LOOKED_AT)),
        "steps": 0,
        "seconds": 0.0,
    }


def record(method: Method, fit_config: FitConfig | None = None) -> dict[str, Any]:
    """Return what a saved artefact says of itself: base model, method and configurations.

    Paths are left out, as artefacts are passed on and where files lie is private. The learning rate
    is that which was trained with.
    """
    settings = {} if fit_config is None else {"fit": without_paths(asdict(fit_config))}
    return {
        "format": 1,
        "sdlearn": __version__,
        "method": method.name,
        **method.sd.facts(),
        "config": without_paths(asdict(method.config)),
        **settings,
    }


def without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out where files lie, as it is private."""
    return {key: value for key, value in settings.items() if not isinstance(value, Path)}


def learnt_under(stage: DenoisingStage, pictures: Any) -> Iterator[str]:
    """Go through what pictures are learnt under; of a stream only the first is known."""
    stream = isinstance(pictures, PictureStream)
    known = iter([pictures.first()]) if stream else descriptions(pictures)
    return (stage.caption(picture) for picture in known)


def add_up(stages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how several stages came about as one; nothing where one has not been trained."""
    if not stages or not all(stages):
        return {}
    sums = {key: sum(made[key] for made in stages) for key in ("steps", "seconds")}
    return {**stages[0], **sums}


def credits_of(pictures: Sequence[Picture] | PictureStream) -> dict[str, Any]:
    """Count pictures by licence and author; of a stream, nothing is known beforehand."""
    if isinstance(pictures, PictureStream):
        return {"number": None, "terms": []}
    terms: dict[tuple[str, str], dict[str, Any]] = {}
    for picture in islice(descriptions(pictures), MOST_LOOKED_AT):
        empty = {"license": picture.license, "author": picture.author}
        found = terms.setdefault(
            (picture.license, picture.author), {**empty, "pictures": 0, "sources": []}
        )
        found["pictures"] += 1
        known = found["sources"]
        if picture.source and picture.source not in known and len(known) < MOST_SOURCES:
            known.append(picture.source)
    by_number = sorted(terms.values(), key=lambda own: -own["pictures"])
    return {"number": len(pictures), "terms": by_number}


def write_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write a folder's card from the facts of its record."""
    with replaced_when_complete(folder / CARD_NAME) as unfinished:
        unfinished.write_text(card(folder.resolve().name, facts), encoding="utf-8")


def show_on_card(folder: Path, pictures: Sequence[tuple[Path, str]]) -> None:
    """Put pictures of a folder, each with its prompt, on its card; not on somebody's own text."""
    path = folder / CARD_NAME
    if not is_own_card(path):
        return
    lines = [
        f"![{re.sub(r'[][]', '', prompt)}]({own.relative_to(folder).as_posix()})"
        for own, prompt in pictures
    ]
    text = path.read_text(encoding="utf-8").replace(PICTURES, "\n".join([*lines, PICTURES]))
    with replaced_when_complete(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def card(name: str, facts: Mapping[str, Any]) -> str:
    """Return the text of a card, which has no pictures yet."""
    method, base = facts["method"], facts["base_model"] or "a model without a name"
    prompt = facts["config"].get("target_prompt") or facts.get("made", {}).get("prompt")
    sections = [
        _front_matter(facts),
        f"{CARD_MARK}; to keep a text of your own, take this line out. -->",
        f"# {name}",
        WHAT.get(method, "What {base} was taught.").format(base=base),
        PICTURES,
        "## Draw with it",
        f"```\n{shlex.join([*DRAW, prompt or 'a prompt', '--model', base, '--load', name])}\n```",
        _in_diffusers(facts, name),
        _in_other_programs(facts, name),
        "## What it learnt from",
        _pictures(facts.get("made", {})),
        _class_pictures(facts),
        "## How it was made",
        _how(facts),
        "## Licence",
        _terms(facts),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def draw_previews(sd: StableDiffusion, config: FitConfig, step: int) -> list[Path]:
    """Draw each of `preview_prompts`, always from the same noise, and return the PNGs' paths.

    Prompt i is drawn from seed + i on a CPU generator of its own, so that pictures of different
    steps can be compared, and no random number is taken from anything else.
    """
    stem = Path(config.output_dir or ".") / "previews" / f"step-{step:06d}"
    with sd.whole():
        return _draw(sd, config, config.preview_prompts, stem, f"{sd.name}, step {step}")


def draw_samples(
    stage: DenoisingStage,
    pictures: Any,
    config: FitConfig,
    folder: Path,
    number: int,
    *,
    saved: Path | None = None,
) -> list[Path]:
    """Draw a saved artefact's samples into its folder, and show them on its card and in its files.

    Of a folder with several words, `saved` is the file that is new.

    The prompts are those that the first pictures were learnt under. Sampler steps and guidance
    scale are those of previews. Returns the PNGs' paths.
    """
    known = list(dict.fromkeys(islice(learnt_under(stage, pictures), LOOKED_AT)))
    prompts = list(islice(cycle(known), number))
    device = stage.sd.device
    precision = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(config.mixed_precision)
    stem = folder / "samples" / "sample"
    model = f"{record(stage)['base_model']} + {folder.name}"
    autocast = torch.autocast(device.type, dtype=precision, enabled=precision is not None)
    with autocast, stage.sd.whole():
        paths = _draw(stage.sd, config, prompts, stem, model)
    show_on_card(folder, list(zip(paths, prompts, strict=True)))
    for file in [path for path in folder.glob("*.safetensors") if saved is None or path == saved]:
        add_to_header(file, {"modelspec.thumbnail": _thumbnail(paths[0])})
    return paths


def _thumbnail(path: Path) -> str:
    """A picture as Stability's metadata has it: a small JPEG, as a `data:` address."""
    image, kept = read_image(path), BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(kept, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{b64encode(kept.getvalue()).decode()}"


def seconds_a_picture(stage: DenoisingStage, config: FitConfig) -> float:
    """Return about how long a sample will take to draw, by how long the run's steps took.

    A step takes three times a forward pass or more, and guidance two passes a sampler step.
    """
    pictures = config.train_batch_size * config.gradient_accumulation_steps
    forward = stage.made["seconds"] / max(1, stage.made["steps"]) / pictures / 3
    return 2 * config.preview_inference_steps * forward


def _draw(
    sd: StableDiffusion, config: FitConfig, prompts: Sequence[str], stem: Path, model: str
) -> list[Path]:
    """Draw prompt i from seed + i to `stem` and its number."""
    size = config.resolution or sd.image_size
    paths = []
    for number, prompt in enumerate(tqdm(prompts, desc="draw", leave=False, delay=2)):
        seed = config.seed + number
        [image] = sd.draw(
            prompt,
            seeds=seed,
            height=size,
            width=size,
            num_inference_steps=config.preview_inference_steps,
            guidance_scale=config.preview_guidance_scale,
            desc=None,
        )
        path = save_generated(
            image,
            stem.with_name(f"{stem.name}-{number}.png"),
            prompt=prompt,
            negative_prompt="",
            seed=seed,
            model=model,
            steps=config.preview_inference_steps,
            guidance_scale=config.preview_guidance_scale,
        )
        paths.append(path)
    return paths


def _front_matter(facts: Mapping[str, Any]) -> str:
    base, method = facts["base_model"] or "", facts["method"]
    kind = "lora" if method.endswith("lora") else method
    data = ModelCardData(
        base_model=SOURCES[base].repo
        if base in SOURCES
        else base
        if HUB_ID.fullmatch(base)
        else None,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=["text-to-image", "diffusers", "sdlearn", kind],
    )
    return f"---\n{data.to_yaml()}\n---"


def _in_diffusers(facts: Mapping[str, Any], name: str) -> str:
    """The line of program that opens it there; SDXL's words need more than one."""
    if facts["method"].endswith("lora"):
        line = f'load_lora_weights({_literal(name)}, weight_name="{LORA_NAME}")'
    elif facts["method"] == "textual-inversion" and facts["base_model"] in ("mini", "sd15"):
        token = facts["config"]["placeholder_token"]
        file = _literal(f"{name}/{word_file_name(token)}")
        line = f"load_textual_inversion({file}, token={_literal(token)})"
    else:
        return ""
    return f"In diffusers: `pipeline.{line}`."


def _in_other_programs(facts: Mapping[str, Any], name: str) -> str:
    """Which file they take, and what calls what it teaches."""
    words = trigger_phrase(facts)
    called = f", and write `{words}` into the prompt" if words else ""
    if facts["method"].endswith("lora"):
        return f"In {OTHER_PROGRAMS}: take `{kohya_file_name(name)}`{called}."
    if facts["method"] == "textual-inversion":
        file = Path(word_file_name(facts["config"]["placeholder_token"]))
        return f"In ComfyUI write `embedding:{file.stem}`, in A1111 and Forge `{file.stem}`."
    return ""


def _literal(text: str) -> str:
    """A text as a line of Python holds it; a backtick would end the code on the card."""
    return json.dumps(text, ensure_ascii=False).replace("`", "\\u0060")


def _pictures(made: Mapping[str, Any]) -> str:
    """A table of whose pictures it learnt from."""
    if not made:
        return "Not known: it was saved without having been trained."
    if made["pictures"]["number"] is None:
        return "A stream of archives; whose pictures they are stands in the archives, if at all."
    return _table(made["pictures"])


def _class_pictures(facts: Mapping[str, Any]) -> str:
    """What DreamBooth held on to."""
    config, made = facts["config"], facts.get("made", {})
    if "class_pictures" in made:
        table = _table(made["class_pictures"])
        return f"To keep what the class looks like, it also saw:\n\n{table}"
    if made and config.get("with_prior_preservation") and config.get("prior_loss_weight"):
        return (
            f"To keep what the class looks like, it also saw {config['num_class_images']} pictures "
            f'of "{config["class_prompt"]}" that the model had drawn itself.'
        )
    return ""


def _table(pictures: Mapping[str, Any]) -> str:
    rows = [
        f"| {own['pictures']} | {_cell(own['license'])} | {_cell(own['author'])} "
        f"| {_cell(', '.join(own['sources']))} |"
        for own in pictures["terms"]
    ]
    looked_at = sum(own["pictures"] for own in pictures["terms"])
    rest = pictures["number"] - looked_at
    rows += [f"| {rest} | not looked at | | |"] if rest else []
    head = ["| pictures | licence | author | source |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split()) or "not said"


def _how(facts: Mapping[str, Any]) -> str:
    made, fit = facts.get("made", {}), facts.get("fit", {})
    if not made:
        return "All settings are in `artefact.json`."
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    rate, seconds = fit.get("learning_rate"), made["seconds"]
    time = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    size, batch = fit.get("resolution") or facts["image_size"], fit.get("train_batch_size", 1)
    in_header = facts["method"] == "textual-inversion"
    return (
        f"{made['steps']} optimizer steps of {batch} picture{'s' * (batch != 1)} at {size} pixels"
        f"{'' if rate is None else f', learning rate {rate:g}'}, in {time} on {made['hardware']}, "
        f"{made['date']}. With {versions}. All settings are in "
        f"{'the header of the file' if in_header else '`artefact.json`'}."
    )


def _terms(facts: Mapping[str, Any]) -> str:
    """What whoever passes it on has to find out, as a program cannot choose a licence."""
    base = facts["base_model"]
    named = SOURCES[base].license if base in SOURCES else None
    terms = facts.get("made", {}).get("pictures", {}).get("terms", [])
    lines = [
        f"{UNCHOSEN} {base} is under {named}, and what is made from it has to keep to that."
        if named
        else f"{UNCHOSEN} See the terms of the model it was made from."
    ]
    if any(own["license"].startswith("CC-BY") for own in terms):
        lines.append("Pictures under CC-BY ask that their authors, above, are named.")
    unknown = sum(own["pictures"] for own in terms if not own["license"])
    if unknown:
        lines.append(
            f"Of {unknown} picture{'s' * (unknown > 1)} no licence is known: make sure that you "
            "may pass on what was learnt from them."
        )
    return " ".join(lines)
