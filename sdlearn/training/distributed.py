"""Weights, gradients and moments in shards over several GPUs, by FSDP or DeepSpeed.

Both take a module apart in place and for good. So a copy of the U-Net is sharded and trained, and
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

    from sdlearn.training.config import FitConfig
    from sdlearn.training.method import Stage


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds a part of what trains."""
    return accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def is_deepspeed(accelerator: Accelerator) -> bool:
    """Whether DeepSpeed does the updates; it keeps moments and float32 weights to itself."""
    return accelerator.distributed_type == DistributedType.DEEPSPEED


def check_sharding(stage: Stage, accelerator: Accelerator, config: FitConfig) -> None:
    """Raise ValueError for what cannot be trained in shards."""
    if not is_sharded(accelerator):
        return
    if stage.trained().keys() != {"unet"}:
        raise ValueError(
            f"only a U-Net is sharded, and {stage.name} trains {', '.join(stage.trained())}: "
            "take a configuration without FSDP and DeepSpeed"
        )
    if not is_deepspeed(accelerator):
        if not accelerator.is_fsdp2:
            raise ValueError("only FSDP 2 works: write `fsdp_version: 2` into the configuration")
        return
    for name in ("resume", "use_ema"):
        if getattr(config, name):
            raise ValueError(f"{name} does not work with DeepSpeed: take configs/fsdp.yaml")
    if accelerator.state.deepspeed_plugin.zero_stage not in (1, 2):
        raise ValueError("only stages 1 and 2 of ZeRO work: write `zero_stage: 2`, or take FSDP")


def tell_deepspeed(accelerator: Accelerator, config: FitConfig) -> None:
    """Give DeepSpeed the run's own settings in place of its file's."""
    accelerator.state.deepspeed_plugin.deepspeed_config |= {
        "train_micro_batch_size_per_gpu": config.train_batch_size,
        "gradient_accumulation_steps": 1,  # the loop says which batch is the last
        "gradient_clipping": config.max_grad_norm,
    }


class ShardedCopy:
    """A copy of a module to shard, and the module itself, which follows it.

    What follows waits for all processes, so each must call it.
    """

    def __init__(self, own: torch.nn.Module, device: torch.device) -> None:
        self.own = own.cpu()
        model: Any = copy.deepcopy(own)
        self.model = model.to(memory_format=torch.contiguous_format)  # as FSDP asks
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
    if hasattr(weight, "_hp_mapping"):  # DeepSpeed's mark
        from deepspeed.utils import safe_get_full_fp32_param

        return safe_get_full_fp32_param(weight)
    return weight.full_tensor() if _is_dtensor(weight) else weight


def match_layout(parameter: torch.Tensor, value: Any) -> Any:
    """Return a copy with the parameter's strides.

    The fused optimizer walks through memory as it lies.
    Of a sharded parameter the shards. What has another shape (the step count) stays as it is.
    """
    if not torch.is_tensor(value) or value.shape != parameter.shape:
        return value
    if _is_dtensor(parameter):
        from torch.distributed.tensor import distribute_tensor

        value = value.to(parameter.device)
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)  # type: ignore[attr-defined]
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _is_dtensor(weight: torch.Tensor) -> bool:
    return hasattr(weight, "full_tensor")  # its class is not there in every build of torch
