"""Wakes everyone who waits for "something changed", without polling and without queues.

Waiters check their condition, wait, and check again; a notification between the
check and the wait can not be lost, because both happen in one loop pass.
"""

from __future__ import annotations

import anyio


class Broadcast:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def notify(self) -> None:
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Until the next `notify`."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()

    async def wait_at_most(self, seconds: float) -> bool:
        """As `wait`; False when `seconds` passed first."""
        with anyio.move_on_after(seconds):
            await self.wait()
            return True
        return False
