"""Wakes everyone who waits for "something changed", without polling and without queues.

Waiters check their condition, wait, and check again; a notification between the
check and the wait can not be lost, because both happen in one loop pass.
"""

from __future__ import annotations

import asyncio

import anyio


class Broadcast:
    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        # Bare futures: with an `Event` for each notification, waking the four that wait for
        # news of an order cost as much as journalling it.
        self._waiting: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():  # else its waiter was cancelled
                    one.set_result(None)

    async def wait(self) -> None:
        """Until the next `notify`."""
        one: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(one)
        try:
            await one
        except BaseException:  # cancelled: whoever asks again and again must not pile up
            if one in self._waiting:
                self._waiting.remove(one)
            raise

    async def wait_at_most(self, seconds: float) -> bool:
        """As `wait`; False when `seconds` passed first."""
        with anyio.move_on_after(seconds):
            await self.wait()
            return True
        return False
