"""The thread on which an engine lives, as seen from others.

A fault may be seen on any thread. The gate is shut in the one that saw it; everything else
is done on the engine's own, which is that of its event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVarTuple

_Ts = TypeVarTuple("_Ts")


class LoopThread:
    """Until `begin` there is no loop yet, and every thread is the engine's own."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ident = 0

    def begin(self) -> None:
        """Live on the thread and the loop of the caller from now on."""
        self._loop = asyncio.get_running_loop()
        self._ident = threading.get_ident()

    def is_here(self) -> bool:
        return self._loop is None or threading.get_ident() == self._ident

    def call(self, function: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Have the loop call `function` soon. From any thread, once there is a loop."""
        assert self._loop is not None
        if self.is_here():
            self._loop.call_soon(function, *args)
        else:
            self._loop.call_soon_threadsafe(function, *args)
