"""A click on a widget's button, heard while the cell that shows it is still running.

A kernel answers one message after the other: what a browser sends while a cell runs waits until the
cell ends, and a click on "stop" would come too late. So this looks at messages as they arrive. It
takes none away and changes no order: what the kernel was to be told, it is told afterwards.

ipykernel 7 reads messages in a thread of its own; ipykernel 6 (Colab's) reads them in the thread
that runs the cell, and therefore only when `heard` is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Clicks:
    """`with Clicks(button) as clicks:` and then, often, `clicks.heard()`. No kernel, no clicks."""

    def __init__(self, button: Any) -> None:
        self._clicked = threading.Event()
        self._button = button
        self._stream: Any = getattr(kernel(), "shell_stream", None)
        self._passed_on: Callable[[Any], Any] | None = None
        button.on_click(lambda _: self._clicked.set())  # where the kernel can pass it on itself

    def __enter__(self) -> Clicks:
        if self._stream is not None:
            self._passed_on = self._stream._recv_callback  # pyzmq has no public way to ask
            self._set_listener(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._set_listener(self._passed_on)

    def heard(self) -> bool:
        """Whether the button was clicked since the beginning; never waits."""
        if self._stream is not None and self._is_read_here():
            self._stream.flush()
        return self._clicked.is_set()

    def _is_read_here(self) -> bool:
        return getattr(kernel(), "shell_channel_thread", None) is None

    def _set_listener(self, listener: Callable[[Any], Any] | None) -> None:
        if self._is_read_here():
            self._stream.on_recv(listener, copy=False)
        else:  # a stream may only be changed in the thread that reads it
            self._stream.io_loop.add_callback(self._stream.on_recv, listener, copy=False)

    def _listen(self, frames: Any) -> Any:
        with suppress(KeyError, TypeError, ValueError):  # broken messages are the kernel's business
            if self._is_click(frames):
                self._clicked.set()
        return self._passed_on(frames) if self._passed_on else None

    def _is_click(self, frames: Any) -> bool:
        session = kernel().session
        _, parts = session.feed_identities(frames, copy=False)
        message = session.deserialize(parts, content=False, copy=False)  # a look, so not counted
        if message["header"]["msg_type"] != "comm_msg":
            return False
        content = session.unpack(message["content"])
        event = content["data"].get("content", {}).get("event")
        return content["comm_id"] == self._button.model_id and event == "click"


def kernel() -> Any:
    """The Jupyter kernel that this runs in, or None."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return getattr(get_ipython(), "kernel", None)
