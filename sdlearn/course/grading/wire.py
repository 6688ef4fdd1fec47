"""What travels between the grader and a submission's process: lines of JSON, of a limited size.

Answers come as numbers, text, lists and arrays of known types. Nothing that is read here runs code.
"""

from __future__ import annotations

import base64
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

LIMIT = 8_000_000  # bytes of a line, either way
DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
ITEMS = 100_000  # of a list; a longer one, or an endless one, is cut


def encode(value: Any) -> Any:
    """A value as JSON has it; a thing of another kind becomes the name of its type."""
    torch, stand_ins = (sys.modules.get(n) for n in ("torch", "sdlearn.course.checks.stand_ins"))
    if value is ...:  # an answer that is still to be written
        return None
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else {"other": "int, too large"}
    if torch is not None and isinstance(value, torch.Tensor):
        return _encode_tensor(value)
    if isinstance(value, np.ndarray) and value.dtype.name in DTYPES:
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": data, "dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, np.generic) and value.dtype.name in DTYPES:
        return encode(value.item())
    if isinstance(value, Mapping):
        return {"dict": [[encode(key), encode(item)] for key, item in _few(value.items())]}
    if stand_ins is not None and isinstance(value, stand_ins.StandIn):
        return {"stand_in": type(value).__name__, "fields": encode(value.fields)}
    if isinstance(value, Iterable):
        return {"list": [encode(item) for item in _few(value)]}
    return {"other": type(value).__name__}


def decode(data: Any) -> Any:
    """The value of what `encode` made; ValueError for what it cannot have made.

    Arrays become tensors; a thing of another kind becomes one of a type of that name.
    """
    if not isinstance(data, dict):
        if isinstance(data, list):
            raise ValueError("a list where a value should be")
        return data
    kinds: dict[str, Callable[[Any], Any]] = {
        "array": _decode_array,
        "list": lambda d: [decode(item) for item in d["list"]],
        "dict": lambda d: {decode(key): decode(item) for key, item in d["dict"]},
        "stand_in": _decode_stand_in,
        "other": lambda d: type(str(d["other"])[:40], (), {})(),
    }
    try:
        return kinds[next(iter(data))](data)
    except (AttributeError, KeyError, StopIteration, TypeError, RecursionError) as error:
        raise ValueError(f"a value that is none ({type(error).__name__})") from error


def _few(items: Iterable[Any]) -> Iterable[Any]:
    return itertools.islice(items, ITEMS)


def _encode_tensor(value: Any) -> Any:
    import torch

    plain = value.detach().cpu().to_dense()
    if plain.dtype == torch.bfloat16:  # which NumPy has not
        return encode(plain.float()) | {"bfloat16": True}
    wanted = {"requires_grad": True} if value.requires_grad else {}
    return encode(plain.resolve_neg().resolve_conj().numpy()) | wanted


def _decode_array(data: dict[str, Any]) -> Any:
    import torch

    shape = data["shape"]
    if data["dtype"] not in DTYPES or len(shape) > 8:
        raise ValueError("an array of an unknown kind")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("an array of an impossible shape")
    dtype, content = np.dtype(data["dtype"]), base64.b64decode(data["array"])
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError("an array whose shape is not that of its content")
    value = torch.from_numpy(np.frombuffer(content, dtype).reshape(shape).copy())
    value = value.bfloat16() if data.get("bfloat16") is True else value
    return value.requires_grad_(data.get("requires_grad") is True and value.is_floating_point())


def _decode_stand_in(data: dict[str, Any]) -> Any:
    from sdlearn.course.checks import stand_ins

    made = getattr(stand_ins, str(data["stand_in"]))
    if not (isinstance(made, type) and issubclass(made, stand_ins.StandIn)):
        raise ValueError("a stand-in that there is none of")
    return made(**decode(data["fields"]))
