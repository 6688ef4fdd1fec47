"""What a `.safetensors` file of weights holds, told by its keys before any of it is read."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

Kind = Literal["word", "lora", "model", "unknown"]

MODEL_STARTS = (
    *("model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "conditioner."),
    *("model_ema.", "model."),
)
SDXL_KEYS = ("clip_l", "clip_g")  # of a word, in the order of the text encoders
NAMELESS_KEYS = {*SDXL_KEYS, "emb_params", "emp_params"}  # sd-scripts', OneTrainer's for SD 1.5
BUNDLED = "bundle_emb."  # words that come with a LoRA
OTHER_LORAS = {  # what a key holds -> the kind of update, none of which is a plain LoRA
    r"\.hada_": "a LoHa",
    r"\.lokr_": "a LoKr",
    r"\.(oft_|boft_)": "an OFT",
    r"\.(dora_scale|lora_magnitude_vector)": "a DoRA",
    r"\.(on_input|ia3_l)": "an IA3",
    r"\.(a1|a2|b1|b2)\.weight$": "a GLoRA",
    r"\.lora_mid": "a LoRA of three parts",
}
LORA_KEY = re.compile(r"\.(lora_|lora\.|alpha$)")


def kind_of(keys: Collection[str]) -> Kind:
    """Return what a file with these keys holds."""
    if any(LORA_KEY.search(key) or other_lora(key) for key in keys):
        return "lora"
    if len(keys) == 1 or (keys and set(keys) <= NAMELESS_KEYS):
        return "word"
    return "model" if any(key.startswith(MODEL_STARTS) for key in keys) else "unknown"


def other_lora(key: str) -> str | None:
    """Return which kind of update a key is of, where that is no plain LoRA."""
    return next((kind for mark, kind in OTHER_LORAS.items() if re.search(mark, key)), None)


def kohya_file_name(title: str) -> str:
    """The file of a LoRA for other programs: its folder's name, and who reads it."""
    return f"{title}_comfyui_a1111.safetensors"
