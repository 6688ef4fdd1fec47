"""LoRA: low-rank updates that run beside a model's own weights, several at once, or are merged in.

No model is ever changed: each function returns a second one, which shares the weights.

Source: Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer

from sdlearn.models.sharing import copy_sharing_weights

if TYPE_CHECKING:
    from sdlearn.models.stable_diffusion import StableDiffusion

TRAINED = "default"  # peft's and diffusers' name of an adapter that trains


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """The update of one layer: `alpha / rank * up @ down` is added to its weight.

    Source: Hu et al. 2021, arXiv:2106.09685, eq. 3.
    """

    down: torch.Tensor  # (rank, in), of a convolution (rank, in, height, width)
    up: torch.Tensor  # (out, rank), of a convolution (out, rank, 1, 1)
    alpha: float

    @property
    def rank(self) -> int:
        """Rows of `down`."""
        return len(self.down)


Lora = dict[str, dict[str, LowRank]]  # part of a model, such as "unet" -> path of a layer -> update


def parts_of(sd: StableDiffusion) -> dict[str, Any]:
    """Return the parts that a LoRA may update, by name."""
    return {"unet": sd.unet, **sd.text_encoders}


def layers_of(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Return the linear layers and convolutions of a model by path, whether adapted or not."""
    layers: dict[str, torch.nn.Module] = {}
    adapted = tuple(f"{path}." for path in adapted_layers(model))
    for path, module in model.named_modules():
        if isinstance(module, LoraLayer):
            layers[path] = module.get_base_layer()
        elif isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and not path.startswith(adapted):
            layers[path] = module
    return layers


def adapted_layers(model: torch.nn.Module) -> dict[str, Any]:
    """Return the layers that have updates beside them, peft's `LoraLayer`s, by path."""
    return {path: m for path, m in model.named_modules() if isinstance(m, LoraLayer)}


def adapter_names(model: torch.nn.Module) -> list[str]:
    """Return the names of a model's adapters, oldest first."""
    return list(getattr(model, "peft_config", {}))


def new_adapter(model: torch.nn.Module, config: LoraConfig, name: str = TRAINED) -> Any:
    """Return a second model of the same weights, with a frozen adapter beside those it has.

    Its weights are drawn from a fixed seed, and `up` is 0, so nothing changes yet. torch's random
    numbers stay where they are, and what trained or was frozen before still is.
    """
    adapted = copy_sharing_weights(model)
    before = [(parameter, parameter.requires_grad) for parameter in adapted.parameters()]
    names = [*adapter_names(adapted), name]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # as is meant
        torch.manual_seed(0)
        inject_adapter_in_model(config, adapted, name)
    for layer in adapted_layers(adapted).values():
        layer.set_adapter(names)
    adapted.train(model.training).requires_grad_(False)  # what peft adds is in training mode
    for parameter, requires_grad in before:
        parameter.requires_grad_(requires_grad)
    return adapted


def adapter_weights(model: torch.nn.Module, name: str) -> list[torch.nn.Parameter]:
    """Return an adapter's own parameters."""
    return [
        side[name].weight
        for layer in adapted_layers(model).values()
        for side in (layer.lora_A, layer.lora_B)
        if name in side
    ]


def read_adapter(sd: StableDiffusion, name: str = TRAINED) -> Lora:
    """Return an adapter's weights, which are not copied."""
    return {
        part: {
            path: LowRank(
                down=layer.lora_A[name].weight.detach(),
                up=layer.lora_B[name].weight.detach(),
                alpha=float(layer.lora_alpha[name]),
            )
            for path, layer in adapted_layers(model).items()
            if name in layer.lora_A
        }
        for part, model in parts_of(sd).items()
        if name in adapter_names(model)
    }


def with_lora(sd: StableDiffusion, lora: Lora, scale: float = 1.0) -> StableDiffusion:
    """Return a model with updates, times `scale`, beside its weights; several add up.

    They have the dtype of the weights, and are frozen. Each layer must be one of `layers_of`.
    """
    models = parts_of(sd)
    taken = {name for model in models.values() for name in adapter_names(model)}
    name = f"lora-{len(taken) + 1}"
    return replace(
        sd,
        **{part: _with_updates(models[part], lora[part], name, scale) for part in lora},
    )


def merged(sd: StableDiffusion) -> StableDiffusion:
    """Return a model without adapters, whose weights have all of them added in, by their scales.

    It draws as fast as the base, and is saved like any other. `sd` is not changed; weights that no
    adapter updates are shared with it.
    """
    adapted = {part: model for part, model in parts_of(sd).items() if adapter_names(model)}
    return replace(sd, **{part: _merged(model) for part, model in adapted.items()})


def _with_updates(
    model: torch.nn.Module, updates: Mapping[str, LowRank], name: str, scale: float
) -> Any:
    ranks, alphas = ([getattr(u, key) for u in updates.values()] for key in ("rank", "alpha"))
    rank, alpha = _most_common(ranks), _most_common(alphas)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(updates),
        rank_pattern={_exactly(p): u.rank for p, u in updates.items() if u.rank != rank},
        alpha_pattern={_exactly(p): u.alpha for p, u in updates.items() if u.alpha != alpha},
    )
    adapted = new_adapter(model, config, name)
    layers = adapted_layers(adapted)
    for path, update in updates.items():
        layer = layers[path]
        for side, value in ((layer.lora_A, update.down), (layer.lora_B, update.up)):
            weight = layer.get_base_layer().weight
            value = value.to(weight.device, weight.dtype, copy=True)
            side[name].weight = torch.nn.Parameter(value, requires_grad=False)
        layer.set_scale(name, scale)
    return adapted


def _merged(model: torch.nn.Module) -> Any:
    plain = copy_sharing_weights(model)
    for path, layer in adapted_layers(plain).items():
        base = layer.get_base_layer()
        weight = base.weight.detach().float()
        for name in (name for name in layer.active_adapters if name in layer.lora_A):
            weight = weight + layer.get_delta_weight(name).float()
        base.weight = torch.nn.Parameter(weight.to(base.weight.dtype), requires_grad=False)
        plain.set_submodule(path, base)
    del plain.peft_config
    return plain


def _most_common(values: Sequence[Any]) -> Any:
    return Counter(values).most_common(1)[0][0]


def _exactly(path: str) -> str:
    """A pattern, as peft reads them, that fits one layer only."""
    return f"^{re.escape(path)}"
