"""Running real training code on meta tensors, which have shapes and no numbers, to see its needs.

`Ledger` keeps account of bytes and of work. `DeviceEmulation` makes the choices of a device:
which kernel computes attention, and what autocast runs in half precision.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch.autograd.graph import get_gradient_edge
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

aten: Any = torch.ops.aten
IS_VIEW = "a view"  # of a result that is no tensor of its own
BLOCK = 512  # bytes; torch's allocator on CUDA rounds up to it
WORK: dict[Any, Any] = {  # floating-point operations of what computes, by torch's formulas
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
}

# What autocast runs in half precision, and what it runs in float32 on CUDA. Source: torch's
# documentation of `torch.amp`, as far as the models of Stable Diffusion use it.
IN_HALF = {F.linear, F.conv2d, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__}
IN_HALF |= {torch.bmm, torch.baddbmm, torch.addmm, torch.einsum, F.scaled_dot_product_attention}
IN_FLOAT32_ON_CUDA = {F.group_norm, F.layer_norm, F.softmax, torch.softmax, torch.Tensor.softmax}


class Ledger(TorchDispatchMode):
    """Counts the bytes of all meta tensors that are made while it is on, and the operations.

    `alive` is what there is now, `peak` the most there was since `restart`, and `flops` the work
    since then. Storage is counted once, however many views it has. Where code asks what a tensor
    holds, the answer is 1. torch works out the shape of a result in Python, slowly; as the blocks
    of a model are alike, each is worked out once, and kept in `shapes`.
    """

    def __init__(self, shapes: dict[Any, Any] | None = None) -> None:
        super().__init__()
        self.shapes: dict[Any, Any] = {} if shapes is None else shapes  # by `_signature`
        self.alive = 0  # bytes
        self.peak = 0  # bytes
        self.flops = 0  # multiplications and additions, each
        self._sizes: dict[Any, int] = {}  # by weak reference to the storage

    def restart(self) -> None:
        """Forget peak and work up to here."""
        self.peak, self.flops = self.alive, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and write down what it makes."""
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and args[0].is_meta:
            return 1  # `if`, `.item()`
        with torch._C.DisableTorchFunction():  # `DeviceEmulation` has been asked already
            made = self._result(func, args, kwargs)
        tensors = [part for part in _listed(made) if isinstance(part, torch.Tensor)]
        for tensor in tensors:
            if tensor.is_meta:
                self._note(tensor.untyped_storage())
        if func._overloadpacket in WORK and tensors and tensors[0].is_meta:
            self.flops += WORK[func._overloadpacket](*args, **kwargs, out_val=made)
        return made

    def _result(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        """What an operation makes: as the last time, if it had inputs of these shapes before."""
        signature = _signature(func, args, kwargs)
        known = self.shapes.get(signature)
        if known is None:
            made = func(*args, **kwargs)
            if signature is not None:
                self.shapes[signature] = _shapes(made, args)
            return made
        if known is IS_VIEW:
            return func(*args, **kwargs)
        parts = [
            None
            if shape is None
            else torch.empty_strided(*shape[:2], dtype=shape[2], device="meta")
            for shape in known
        ]
        return parts[0] if len(func._schema.returns) == 1 else tuple(parts)

    def _note(self, storage: torch.UntypedStorage) -> None:
        reference = weakref.ref(storage, self._forget)
        if reference in self._sizes:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self._sizes[reference] = size
        self.alive += size
        self.peak = max(self.peak, self.alive)

    def _forget(self, reference: Any) -> None:
        self.alive -= self._sizes.pop(reference, 0)


class DeviceEmulation(TorchFunctionMode):
    """Attention and mixed precision as a device has them, for tensors that are on none."""

    def __init__(self, on_cuda: bool) -> None:
        super().__init__()
        self.on_cuda = on_cuda
        self.half: torch.dtype | None = None  # autocast's; None: there is none
        self._casts: dict[int, torch.Tensor] | None = None  # of weights that train; None: not kept

    def step(self, loss: Callable[[], torch.Tensor], half: torch.dtype | None) -> None:
        """Compute a loss under autocast to `half`, if that is given, and its gradients."""
        self.half, self._casts = half, {}
        edge = get_gradient_edge(loss())
        self._casts = None  # autocast ends, but comes back for what is recomputed
        # from the edge, since a tensor's own way back would take this mode off
        torch.autograd.backward(edge)
        self.half = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run a function with its inputs cast as autocast would."""
        kwargs = kwargs or {}
        casts = self.half is not None and torch.is_grad_enabled()  # the VAE runs without
        if casts and func in IN_HALF:
            args, kwargs = _each(self._to_half, args, kwargs)
        elif casts and self.on_cuda and func in IN_FLOAT32_ON_CUDA:
            args, kwargs = _each(_to_float32, args, kwargs)
        if func is F.scaled_dot_product_attention:
            return _fused_attention(*args, **kwargs)
        if func is torch.Tensor.cpu and args[0].is_meta:  # for names and checksums
            return torch.zeros((), dtype=args[0].dtype).expand(args[0].shape)
        return func(*args, **kwargs)

    def _to_half(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float32:
            return value
        if self._casts is None or not (value.is_leaf and value.requires_grad):
            return value.to(self.half)
        if id(value) not in self._casts:
            self._casts[id(value)] = value.to(self.half)
        return self._casts[id(value)]


def _each(
    cast: Callable[[Any], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(map(cast, args)), {name: cast(value) for name, value in kwargs.items()}


def _listed(made: Any) -> Sequence[Any]:
    return made if isinstance(made, tuple | list) else (made,)


def _signature(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What decides the shapes of a result; None where it is no new tensors of meta tensors."""
    if not _makes_new_tensors(func):
        return None
    parts = [_described(value) for value in (*args, *kwargs.values())]
    return None if None in parts else (func, *kwargs, *parts)


@cache
def _makes_new_tensors(func: Any) -> bool:
    schema = func._schema
    known = [*schema.arguments, *schema.returns]
    return all(value.alias_info is None for value in known) and all(
        isinstance(value.type, torch.TensorType) for value in schema.returns
    )


def _described(value: Any) -> Any:
    """An input as far as shapes depend on it; None for a tensor that holds numbers."""
    if isinstance(value, torch.Tensor):
        return (value.shape, value.stride(), value.dtype) if value.is_meta else None
    if isinstance(value, tuple | list):
        parts = tuple(map(_described, value))
        return None if None in parts else parts
    return type(value), value  # 1, 1.0 and True are equal, and make tensors of other dtypes


def _shapes(made: Any, args: tuple[Any, ...]) -> Any:
    """What `_result` makes tensors anew from; IS_VIEW where they share storage with an input."""
    given = {value.untyped_storage()._cdata for value in args if isinstance(value, torch.Tensor)}
    tensors = [part for part in _listed(made) if part is not None]
    if any(not part.is_meta or part.untyped_storage()._cdata in given for part in tensors):
        return IS_VIEW
    return [
        None if part is None else (part.shape, part.stride(), part.dtype) for part in _listed(made)
    ]


def _to_float32(value: Any) -> Any:
    is_half = isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if is_half else value


def _fused_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Attention that never holds the whole matrix, as torch takes it on CPUs and on CUDA."""
    return aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale
    )[0]
