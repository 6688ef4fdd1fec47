"""What other programs read in the header of a file: `modelspec.*`, and for LoRAs kohya's `ss_*`.

Source: Stability AI's model metadata standard, version 1.0.0; kohya-ss/sd-scripts, docs of its
metadata.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sdlearn.models.registry import SOURCES
from sdlearn.models.stable_diffusion_xl import StableDiffusionXL

if TYPE_CHECKING:
    from sdlearn.models.stable_diffusion import StableDiffusion

ARCHITECTURE = {False: "stable-diffusion-v1", True: "stable-diffusion-xl-v1-base"}
BASE_VERSION = {False: "sd_v1", True: "sdxl_base_v1-0"}  # A1111 hides a LoRA of another one
MOST_TAGS = 500  # in a file's header
PREDICTION = {"v_prediction": "v"}  # diffusers' name -> the standard's; "epsilon" is in both


def model_spec(
    sd: StableDiffusion, title: str, facts: Mapping[str, Any], kind: str = ""
) -> dict[str, str]:
    """Return the `modelspec.*` entries of a file; `kind` is "lora", "textual-inversion" or ""."""
    size = facts.get("fit", {}).get("resolution") or sd.image_size
    prediction = sd.noise_scheduler.config.get("prediction_type", "epsilon")
    entries = {
        "sai_model_spec": "1.0.0",
        "architecture": ARCHITECTURE[isinstance(sd, StableDiffusionXL)] + (kind and f"/{kind}"),
        "implementation": "https://github.com/huggingface/diffusers",
        "title": title,
        "resolution": f"{size}x{size}",
        "prediction_type": PREDICTION.get(prediction, prediction),
        "license": _terms(facts),
        "author": _authors(facts),
        "date": facts.get("made", {}).get("date", ""),
        "trigger_phrase": trigger_phrase(facts),
    }
    return {f"modelspec.{name}": value for name, value in entries.items() if value}


def lora_metadata(sd: StableDiffusion, title: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return kohya's entries of a LoRA's file, by which A1111 and others sort and search it."""
    is_xl, config = isinstance(sd, StableDiffusionXL), facts.get("config", {})
    rank = config.get("rank") or config.get("lora_rank") or 0
    alpha = config.get("alpha") or config.get("lora_alpha") or rank
    tags = facts.get("made", {}).get("tags", {})
    return {
        "ss_base_model_version": BASE_VERSION[is_xl],
        "ss_v2": "False",
        "ss_output_name": title,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(float(alpha)),
        "ss_tag_frequency": json.dumps({title: tags}, ensure_ascii=False),
    }


def tags_of(captions: Iterable[str]) -> dict[str, int]:
    """Count what stands between the commas of captions, the most frequent of it."""
    tags = Counter(tag.strip() for caption in captions for tag in caption.split(","))
    return {tag: number for tag, number in tags.most_common(MOST_TAGS) if tag}


def trigger_phrase(facts: Mapping[str, Any]) -> str:
    """Return the words that call what was learnt; "" where each picture has its own caption."""
    config = facts.get("config", {})
    names = ("placeholder_token", "instance_prompt", "prompt")
    words = next((config[name] for name in names if config.get(name)), "")
    return "" if "{" in words else words


def _terms(facts: Mapping[str, Any]) -> str:
    """Nobody has chosen a licence; what it is made from has some."""
    base = facts.get("base_model")
    own = [SOURCES[base].license] if base in SOURCES else []
    others = sorted({terms["license"] for terms in _credits(facts)} - {""})
    made_from = [f"a model under {name}" for name in own] + [f"pictures under {n}" for n in others]
    return f"none chosen; made from {', '.join(made_from)}" if made_from else ""


def _authors(facts: Mapping[str, Any]) -> str:
    authors = sorted({terms["author"] for terms in _credits(facts)} - {""})
    return f"pictures by {', '.join(authors)}" if authors else ""


def _credits(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(facts.get("made", {}).get("pictures", {}).get("terms", []))
