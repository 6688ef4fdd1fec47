"""The parts of a model that train: wholly, as copies, or through LoRA beside their own weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig

from sdlearn.data.cache import CaptionCache
from sdlearn.finetune.denoising import DenoisingStage
from sdlearn.finetune.provenance import write_card
from sdlearn.finetune.saving import replace_folder
from sdlearn.models import save_text_encoder
from sdlearn.models.clip_tokenizer import write_vocabulary
from sdlearn.models.conditioning import Conditioning
from sdlearn.models.lora import TRAINED, adapter_names, adapter_weights, layers_of, new_adapter
from sdlearn.models.lora_files import write_lora
from sdlearn.models.records import write_record
from sdlearn.models.single_file import is_file, save_single_file

if TYPE_CHECKING:
    from sdlearn.finetune.config import LoRAConfig
    from sdlearn.models import StableDiffusion


class TrainedParts:
    """The U-Net of a model and perhaps its text encoders, ready to train; the model is not changed.

    With `lora` only updates train, float32, and the weights themselves are shared with the model;
    without it all weights of float32 copies train, or of a model loaded `in_place` its very own.
    """

    def __init__(
        self, sd: StableDiffusion, train_text_encoder: bool, lora: LoRAConfig | None = None
    ) -> None:
        self.lora = lora
        parts = {"unet": sd.freeze().unet, **(sd.text_encoders if train_text_encoder else {})}
        if lora is None:
            own = parts if sd.in_place else copy.deepcopy(parts)
            self.models = {name: part.float().requires_grad_(True) for name, part in own.items()}
        else:
            _check_rank(parts, lora.rank)
            self.models = {name: _with_lora(part, name, lora) for name, part in parts.items()}
        self.sd = replace(sd, **self.models)
        for parameter in self.sd.idle_parameters:
            parameter.requires_grad_(False)

    def prepare_prompts(self, prompts: Iterable[str], *, are_all: bool = True) -> None:
        """Encode every prompt once, unless the text encoders train.

        They are let go of if `are_all` says that there will be no others.
        """
        if self.models.keys() != {"unet"}:
            return
        with self.sd.whole(*self.sd.text_encoders):
            self.captions = CaptionCache(self.sd, prompts)
        if are_all:
            self.sd.let_go(*self.sd.text_encoders)

    def condition(
        self, prompts: Sequence[str], text_encoders: Mapping[str, torch.nn.Module]
    ) -> Conditioning:
        """What the U-Net is told, B rows: fresh from the text encoders that train, if any do.

        Of frozen text encoders, what `prepare_prompts` was not given is encoded now.
        """
        if text_encoders:
            return self.sd.condition(prompts, **text_encoders)
        rows = self.captions.rows
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in rows]
        if not new:
            return self.captions[prompts]
        with torch.no_grad():
            every = Conditioning.cat([self.captions.conditioning, self.sd.condition(new)])
        rows = rows | {prompt: len(rows) + place for place, prompt in enumerate(new)}
        return every[[rows[prompt] for prompt in prompts]]

    def parameter_groups(
        self, learning_rate: float, text_encoder_learning_rate: float | None
    ) -> list[dict[str, Any]]:
        """One group a model, as a text encoder needs a lower learning rate: else a fifth."""
        own_rate = text_encoder_learning_rate or learning_rate / 5
        rates = dict.fromkeys(self.models, own_rate) | {"unet": learning_rate}
        return [
            {"params": [p for p in model.parameters() if p.requires_grad], "lr": rates[name]}
            for name, model in self.models.items()
        ]

    def save(
        self,
        path: str | Path,
        record: Mapping[str, Any],
        *,
        made: Mapping[str, Any],
        whole_model: bool = False,
    ) -> Path:
        """Write what was trained: LoRA files, or `unet/` and so on; a record of it, and a card.

        `made` says how it came about, and stands in the record and the card alone: but for the day,
        a file of weights is the same whenever it was trained. With `whole_model` the other parts as
        well, so that the folder opens like any model. It takes the place of what an earlier run
        saved there; see `replace_folder`. Without LoRA, a path that ends in `.safetensors` becomes
        the whole model in one file, as `save_single_file` writes it; with LoRA it raises
        ValueError.
        """
        folder = Path(path).expanduser()
        if is_file(folder) and self.lora is not None:
            raise ValueError(f"{folder} names one file, and a LoRA is saved as two: name a folder")
        if is_file(folder):
            with self.sd.whole():
                return save_single_file(self.sd, folder)
        facts = {**record, "made": made}
        models = self.models if self.lora is None else {}
        with replace_folder(folder, whole_model=whole_model) as written:
            if self.lora is not None:
                write_lora(written, self.sd, record, made)
            if whole_model:
                self.sd.pipeline(self.sd.noise_scheduler).save_pretrained(written)
                for name, tokenizer in self.sd.tokenizers.items():
                    write_vocabulary(tokenizer, written / name)
                models = self.sd.text_encoders  # as every program reads them; the rest is there
            for name, model in models.items():
                if name == "unet":
                    model.save_pretrained(written / name, safe_serialization=True)
                else:
                    save_text_encoder(model, written / name)
            write_record(written, facts)
            write_card(written, facts)
        return folder


class PartsMethod(DenoisingStage):
    """A method that trains a model's U-Net, and its text encoders where its settings say so.

    With `lora` it trains updates beside their weights. The given model is not changed.
    """

    def __init__(self, sd: StableDiffusion, config: Any, lora: LoRAConfig | None = None) -> None:
        self.parts = TrainedParts(sd, config.train_text_encoder, lora)
        super().__init__(self.parts.sd, config)

    def trained(self) -> dict[str, torch.nn.Module]:
        """Return the U-Net, and the text encoders that train."""
        return self.parts.models

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return one group a model, as a text encoder needs a lower learning rate."""
        return self.parts.parameter_groups(learning_rate, self.config.text_encoder_learning_rate)

    def save(self, path: str | Path) -> Path:
        """Write what was trained; see `TrainedParts.save`."""
        return self.parts.save(path, self.record(), made=self.made)


def _with_lora(model: Any, part: str, config: LoRAConfig) -> Any:
    """A second model of the same weights with updates that train beside them, float32."""
    field = "target_modules" if part == "unet" else "text_encoder_target_modules"
    targets = getattr(config, field)
    _check_targets(model, part, field, targets)
    adapted = new_adapter(
        model,
        LoraConfig(
            r=config.rank,
            lora_alpha=config.rank if config.alpha is None else config.alpha,  # type: ignore[arg-type]
            lora_dropout=config.dropout,
            init_lora_weights="gaussian" if config.init == "gaussian" else True,
            target_modules=list(targets),
        ),
    )
    for weight in adapter_weights(adapted, TRAINED):
        weight.data = weight.data.float()
        weight.requires_grad_(True)
    return adapted


def _check_rank(parts: Mapping[str, Any], rank: int) -> None:
    """Raise ValueError for a LoRA of more rows than any layer of the parts has."""
    layers: list[Any] = [layer for part in parts.values() for layer in layers_of(part).values()]
    widest = max(min(len(layer.weight), layer.weight[0].numel()) for layer in layers)
    if rank > widest:
        raise ValueError(
            f"a LoRA of rank {rank} is asked for, and the layers here have a rank of at most "
            f"{widest}: give no more"
        )


def _check_targets(model: torch.nn.Module, part: str, field: str, targets: Sequence[str]) -> None:
    """Raise ValueError for a target that is no linear layer or convolution of the model."""
    if TRAINED in adapter_names(model):
        raise ValueError(f"the {part} holds a LoRA that trains: merge that first, or load its file")
    layers = layers_of(model)
    for target in targets:
        named = [path for path, _ in model.named_modules() if f".{path}".endswith(f".{target}")]
        if not named or not set(named) <= layers.keys():
            known = ", ".join(sorted({path.rpartition(".")[2] for path in layers}))
            raise ValueError(
                f'{field}: "{target}" names no layers of the {part} that a LoRA can update: take '
                f"such as {known}"
            )
