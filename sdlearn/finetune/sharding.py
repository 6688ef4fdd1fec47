"""Weights in shards over several GPUs by FSDP, so that none needs to hold the whole of them.

FSDP takes a module apart in place and for good. So a copy of the U-Net is sharded and trained, and
the method's own, which is drawn with and saved, waits on the CPU and follows when it is needed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from accelerate import DistributedType

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sdlearn.finetune.method import Method


def check_sharding(method: Method, accelerator: Accelerator) -> None:
    """Raise ValueError for what cannot be sharded, or not be saved from shards."""
    kind = accelerator.distributed_type
    if kind == DistributedType.DEEPSPEED:
        raise ValueError("DeepSpeed's optimizer keeps its own files: take configs/fsdp.yaml")
    if kind != DistributedType.FSDP:
        return
    if not accelerator.is_fsdp2:
        raise ValueError("only FSDP 2 works: write `fsdp_version: 2` into the configuration")
    if method.trained().keys() != {"unet"}:
        raise ValueError(
            f"FSDP shards the U-Net, and {method.name} trains {', '.join(method.trained())}: "
            "take a configuration without FSDP"
        )


class ShardedCopy:
    """A copy of a module to shard, and the module itself, which follows it.

    What follows waits for all processes, so each must call it.
    """

    def __init__(self, own: torch.nn.Module, device: torch.device) -> None:
        self.own = own.cpu()
        model: Any = copy.deepcopy(own)
        self.model = model.to(memory_format=torch.contiguous_format)  # FSDP asks for it
        self.device = device

    def groups(self, groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the optimizer's groups with the copy's parameters in place of the module's."""
        pairs = zip(self.own.parameters(), self.model.parameters(), strict=True)
        copies = {id(own): other for own, other in pairs}
        return [{**group, "params": [copies[id(p)] for p in group["params"]]} for group in groups]

    def follow(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take over weights, by the names they have in the module."""
        parameters = dict(self.own.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                parameters[name].copy_(whole(weight))

    @contextmanager
    def drawable(self, weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Have the module ready to draw with for a while."""
        self.follow(weights)
        self.own.to(self.device)
        try:
            yield
        finally:
            self.own.cpu()


def whole(weight: Any) -> torch.Tensor:
    """Put a weight together from the shards of all processes, each of which must ask for it."""
    return weight.full_tensor() if _is_sharded(weight) else weight


def laid_out_like(parameter: torch.Tensor, value: Any) -> Any:
    """A copy with the parameter's strides, as the fused optimizer walks through memory as it lies.

    Of a sharded parameter the shards. What has another shape (the step count) stays as it is.
    """
    if not torch.is_tensor(value) or value.shape != parameter.shape:
        return value
    if _is_sharded(parameter):
        from torch.distributed.tensor import distribute_tensor

        value = value.to(parameter.device)
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)  # type: ignore[attr-defined]
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _is_sharded(weight: torch.Tensor) -> bool:
    return hasattr(weight, "full_tensor")  # a DTensor; its class is not there in every torch build
