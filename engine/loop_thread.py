"""The thread on which an engine lives, as seen from others.

A fault may be seen on any thread. The gate is shut in the one that saw it; everything else
is done on the engine's own, which is that of its event loop. A call that comes when the engine
has ended (from a transport's thread that was not joined, from a destructor) finds nobody who
could act on it, and is no error of the caller.
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
        self.has_ended = False

    def begin(self) -> None:
        """Live on the thread and the loop of the caller from now on."""
        self._loop = asyncio.get_running_loop()
        self._ident = threading.get_ident()

    def end(self) -> None:
        """Nothing is done any more."""
        self.has_ended = True

    def is_here(self) -> bool:
        return self._loop is None or threading.get_ident() == self._ident

    def call(self, function: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Have the loop call `function` soon, if it still runs. From any thread, once there is
        a loop."""
        assert self._loop is not None
        try:
            if self.is_here():
                self._loop.call_soon(function, *args)
            else:
                self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            if not self._loop.is_closed():  # which no look beforehand could rule out
                raise
