"""Wakes everyone who waits for "something changed", without polling and without queues.

Waiters check their condition, wait, and check again; a notification between the
check and the wait can not be lost, because both happen in one loop pass.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio


class Broadcast:
    __slots__ = ("_choosy", "_event")

    def __init__(self) -> None:
        self._event: anyio.Event | None = None
        self._choosy: list[tuple[Callable[[], object], anyio.Event]] = []

    def notify(self) -> None:
        if self._event is not None:
            self._event.set()
            self._event = None
        if self._choosy:
            for waiter in tuple(self._choosy):
                if waiter[0]():
                    waiter[1].set()
                    self._choosy.remove(waiter)

    async def wait(self) -> None:
        """Until the next `notify`."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()

    async def wait_for(self, wanted: Callable[[], object]) -> None:
        """Until a `notify` that finds `wanted` true: whoever has nothing to do sleeps on."""
        waiter = (wanted, anyio.Event())
        self._choosy.append(waiter)
        try:
            await waiter[1].wait()
        except BaseException:
            if waiter in self._choosy:
                self._choosy.remove(waiter)
            raise

    async def wait_at_most(self, seconds: float) -> bool:
        """As `wait`; False when `seconds` passed first."""
        with anyio.move_on_after(seconds):
            await self.wait()
            return True
        return False
