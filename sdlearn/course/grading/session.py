"""The process of one submission: runs its cells and calls its functions, as the grader asks.

Nothing that it says is trusted: it only ever hands out answers, as data.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from collections.abc import Mapping
from json import dumps, loads  # by name: a notebook may replace what json has
from typing import Any

from sdlearn.course.grading.submissions import find_answers, printable
from sdlearn.course.grading.wire import LIMIT, decode, encode


class NoOutputs(dict[int, list[Any]]):
    """What IPython writes into to keep all that is printed, which nobody reads here."""

    def __missing__(self, key: int) -> list[Any]:
        return []


def serve(channel: socket.socket) -> None:
    """Answer requests, a line of JSON each, until the grader has no more."""
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    shell.history_manager.outputs = NoOutputs()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    objects: dict[str, Any] = {}  # that were found by their expressions
    for line in channel.makefile("rb"):
        request = loads(line)
        signal.setitimer(signal.ITIMER_REAL, request.get("seconds", 0))
        try:
            reply = _answer(shell, objects, request)
        except BaseException as error:  # an answer may raise anything at all
            reply = {"wrong": _said(error)}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        number = {"number": request["number"]}
        text = dumps(reply | number).encode()
        if len(text) >= LIMIT:
            too_large = {"wrong": f"the answer is larger than {LIMIT // 10**6} MB"}
            text = dumps(too_large | number).encode()
        channel.sendall(text + b"\n")


def _answer(shell: Any, objects: dict[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    if "find" in request:
        return {"found": find_answers(request["find"], request["known"])}
    if "run" in request:
        with contextlib.suppress(BaseException):
            shell.run_cell(request["run"])
        return {}
    expression = request["expression"]
    if "arguments" in request:
        return _called(objects[expression], decode(request["arguments"]))
    try:
        value = objects[expression] = eval(expression, shell.user_ns)
    except BaseException as error:
        return {"wrong": f"{expression} cannot be had: {_said(error)}"}
    return {"function": _described(value)} if callable(value) else {"value": encode(value)}


def _called(function: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """What a function returns, with the gradients that its inputs ask for."""
    from sdlearn.course.checks.answers import WrongAnswer, call

    try:
        value = call(function, **arguments)
    except NotImplementedError:
        return {"stub": True}
    except WrongAnswer as error:
        return {"wrong": str(error)}
    reply = {"value": encode(value)}
    wanted = {name: v for name, v in arguments.items() if getattr(v, "requires_grad", False)}
    if wanted and getattr(value, "requires_grad", False):
        import torch

        gradients = torch.autograd.grad(value.sum(), list(wanted.values()), allow_unused=True)
        reply["gradients"] = encode(dict(zip(wanted, gradients, strict=True)))
    return reply


def _described(function: Any) -> dict[str, Any]:
    import inspect

    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    return {"name": str(getattr(function, "__name__", "your function")), "arguments": names}


def _said(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "it took too long and was stopped"
    try:
        return printable(f"{type(error).__name__}: {error}")
    except BaseException:  # an error that cannot even be said
        return "an error that has no words"


def _limit(ceilings: Mapping[str, int]) -> None:
    """Have the system refuse more; what it does not know is left."""
    import resource

    for name, most in ceilings.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    _limit(loads(sys.argv[2]))
    serve(socket.socket(fileno=int(sys.argv[1])))
