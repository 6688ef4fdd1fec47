"""The machine that a plan is for: how much memory it has, and how fast it computes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch.nn import functional as F

from sdlearn.plan.ledger import DeviceEmulation, Ledger
from sdlearn.plan.needs import DTYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdlearn.models.architectures import Architecture

GB = 10**9  # bytes
CONTEXT = 6 * GB // 10  # bytes; CUDA itself with cuBLAS's and cuDNN's working space, about
PROCESS = 6 * GB // 10  # bytes; Python with torch, diffusers and transformers, measured on Linux
SLACK = 0.05  # of the memory that comes and goes each step: what allocators cannot use again
AT_MOST = {"cpu": 4e9, "cuda": 1e12}  # operations of one sample: a fraction of a second
LEAST_SIDE = 8  # latents; smaller samples would time how weights are read, not the computing
REPETITIONS, SECONDS = 3, 0.2  # of each sample, after one that is not counted; the fastest counts


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a plan is to run."""

    name: str
    on_cuda: bool
    memory: int  # bytes that training may take
    has_bf16: bool = True
    has_8bit_adam: bool = False
    speeds: Mapping[str, float] = field(default_factory=dict)  # operations a second by precision
    update_seconds: float = 0.0  # of the optimizer, for each number that trains

    @property
    def overhead(self) -> int:
        """Bytes that are gone before the first tensor is made."""
        return CONTEXT if self.on_cuda else PROCESS


def this_machine() -> Machine:
    """Look at the GPU here, or at the main memory where there is none; speeds are left out."""
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return Machine(
            name=torch.cuda.get_device_name(),
            on_cuda=True,
            memory=free + torch.cuda.memory_reserved(),
            has_bf16=torch.cuda.is_bf16_supported(including_emulation=False),
            has_8bit_adam=find_spec("bitsandbytes") is not None,
        )
    name = f"this machine's processor, {torch.get_num_threads()} of {os.cpu_count()} cores"
    return Machine(name=name, on_cuda=False, memory=psutil.virtual_memory().available)


def gpu_of(gigabytes: float) -> Machine:
    """Imagine a GPU that is sold with so many GB; how fast it is nobody can tell.

    They are sold by 2^30 bytes, of which driver and error correction take some 7 %: 10^9 are left.
    """
    memory = int(gigabytes * GB)
    return Machine(
        name=f"a GPU of {gigabytes:g} GB", on_cuda=True, memory=memory, has_8bit_adam=True
    )


def measure_speed(
    machine: Machine, shape: Architecture, precisions: Sequence[str], batch: int, side: int
) -> Machine:
    """Return the machine with speeds measured on layers as wide as a U-Net's, in seconds.

    `side` is the height and width of latents. Each sample holds a convolution, an attention and a
    feed-forward layer of one level of the U-Net, forward and backward, on random numbers.
    """
    device = torch.device("cuda" if machine.on_cuda else "cpu")
    most = AT_MOST[device.type]
    samples = [
        (width, *_sizes(width, batch, max(LEAST_SIDE, side >> level), most))
        for level, width in enumerate(shape.unet["block_out_channels"])
        if level == 0 or _work(width, 1, LEAST_SIDE) <= most
    ]
    speeds = {}
    for precision in precisions:
        done = [_time_sample(*sample, DTYPES[precision], device) for sample in samples]
        speeds[precision] = sum(work for work, _ in done) / sum(seconds for _, seconds in done)
    return replace(machine, speeds=speeds, update_seconds=_time_update(device))


class _Sample(torch.nn.Module):
    """What most of a U-Net's time goes to, at one width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = torch.nn.GroupNorm(8, width)
        self.convolution = torch.nn.Conv2d(width, width, 3, padding=1)
        self.query_key_value = torch.nn.Linear(width, 3 * width)
        self.wide = torch.nn.Linear(width, 4 * width)
        self.narrow = torch.nn.Linear(4 * width, width)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        hidden_states = hidden_states + self.convolution(F.silu(self.norm(hidden_states)))
        tokens = hidden_states.flatten(2).transpose(1, 2)  # (B, h w, width)
        query, key, value = (
            part.unflatten(-1, (8, -1)).transpose(1, 2)  # (B, 8, h w, width / 8)
            for part in self.query_key_value(tokens).chunk(3, dim=-1)
        )
        attention = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + attention.transpose(1, 2).flatten(2)
        return tokens + self.narrow(F.gelu(self.wide(tokens)))


def _sizes(width: int, batch: int, side: int, most: float) -> tuple[int, int]:
    """Batch and side of a sample of at most so much work, as large as may be."""
    while _work(width, batch, side) > most and (batch > 1 or side > LEAST_SIDE):
        batch, side = (batch // 2, side) if batch > 1 else (batch, side // 2)
    return batch, side


def _time_sample(
    width: int, batch: int, side: int, dtype: torch.dtype, device: torch.device
) -> tuple[float, float]:
    """Operations and seconds of a sample."""
    sample: Any = _Sample(width).to(device)
    sample.to(memory_format=torch.channels_last)  # as models are loaded
    inputs = torch.randn(batch, width, side, side, device=device)
    inputs = inputs.to(memory_format=torch.channels_last).requires_grad_()

    def run() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = sample(inputs).float().mean()
        loss.backward()

    return _work(width, batch, side), _fastest(run, device)


def _work(width: int, batch: int, side: int) -> float:
    with torch.device("meta"):
        sample = _Sample(width)
        inputs = torch.empty(batch, width, side, side, requires_grad=True)
    with Ledger() as ledger, DeviceEmulation(on_cuda=False) as emulation:
        emulation.step(lambda: sample(inputs).mean(), None)
    return ledger.flops


def _time_update(device: torch.device) -> float:
    """Seconds of clipping and AdamW, for each number that trains."""
    parameter = torch.nn.Parameter(torch.zeros(2**22, device=device))
    parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.AdamW([parameter], fused=True)

    def run() -> None:
        torch.nn.utils.clip_grad_norm_([parameter], 1.0)
        optimizer.step()

    return _fastest(run, device) / parameter.numel()


def _fastest(run: Callable[[], Any], device: torch.device) -> float:
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) <= REPETITIONS and sum(seconds[1:]) < SECONDS):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def _wait(device: torch.device) -> None:
    """A GPU works on after a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize()
