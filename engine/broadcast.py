"""Wakes everyone who waits for "something changed", without polling and without queues.

Waiters check their condition, wait, and check again; a notification between the
check and the wait can not be lost, because both happen in one loop pass.
"""

from __future__ import annotations

import asyncio


class Broadcast:
    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        # Bare futures: with an `Event` for each notification, waking the four that wait for
        # news of an order cost as much as journalling it.
        self._waiting: list[asyncio.Future[bool]] = []

    def notify(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():  # else its waiter was cancelled
                    one.set_result(True)

    async def wait(self) -> None:
        """Until the next `notify`."""
        one: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(one)
        try:
            await one
        except BaseException:  # cancelled: whoever asks again and again must not pile up
            self._forget(one)
            raise

    async def wait_at_most(self, seconds: float) -> bool:
        """As `wait`; False when `seconds` passed first."""
        # A timer on the future itself: a cancel scope around the wait costs four times as much,
        # and the renewals of a day wait by the hundred.
        loop = asyncio.get_running_loop()
        one: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(one)
        timer = loop.call_later(seconds, self._give_up, one)
        try:
            told = await one
        except BaseException:
            timer.cancel()
            self._forget(one)
            raise
        if told:
            timer.cancel()
        return told

    def _give_up(self, one: asyncio.Future[bool]) -> None:
        if not one.done():
            self._waiting.remove(one)
            one.set_result(False)

    def _forget(self, one: asyncio.Future[bool]) -> None:
        if one in self._waiting:
            self._waiting.remove(one)
