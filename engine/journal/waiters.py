"""Those who wait for a sync: each is told once, of success or of failure.

The log tells them, in its own thread; it needs no event loop for that, only futures.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator

from .errors import JournalError, JournalFailed, JournalFull
from .syncer import Position


class Appending:
    """See `port.Appended`.

    :param reached: done when the record has reached its level; None: it is there.
    :param before: called before that is waited for, of what is under way.
    """

    __slots__ = ("_before", "_reached", "_seq")

    def __init__(
        self,
        seq: int,
        reached: asyncio.Future[None] | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        self._seq = seq
        self._reached = reached
        self._before = before

    @property
    def is_under_way(self) -> bool:
        return self._before is not None

    def __await__(self) -> Generator[object, None, int]:
        reached = self._reached
        if self._before is None:
            if reached is not None:
                yield from reached
            return self._seq
        self._before()
        if reached is not None:
            # To cancel the wait must not cancel what is waited for again.
            yield from reached if reached.done() else asyncio.shield(reached)
        return self._seq


class Waiters:
    """Positions come in rising order.

    :ivar ended: done once the sync thread does nothing more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ended: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._waiting: deque[tuple[int, int, asyncio.Future[None]]] = deque()

    def __bool__(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def until(self, seq: int, acked: int = 0) -> asyncio.Future[None]:
        """Return what is done when everything up to a record and an ack is synced."""
        done = self._loop.create_future()
        self._waiting.append((seq, acked, done))
        return done

    def on_synced(self, position: Position) -> None:
        """Everything up to a position survives a power cut."""
        waiting = self._waiting
        while waiting:
            seq, acked, done = waiting[0]
            if seq > position.seq or acked > position.acked:
                break
            waiting.popleft()
            if not done.done():  # else its waiter was cancelled
                done.set_result(None)

    def on_withdrawn(self, last_seq: int, error: JournalFull) -> int:
        """Records after a seq were given up; return how many of them were waited for."""
        count = 0
        while self._waiting and self._waiting[-1][0] > last_seq:
            _fail(self._waiting.pop(), error)
            count += 1
        return count

    def on_failed(self, error: JournalFailed) -> None:
        """Nothing will be synced any more."""
        while self._waiting:
            _fail(self._waiting.popleft(), error)

    def on_ended(self) -> None:
        """The sync thread does nothing more."""
        self.ended.set_result(None)


def _fail(waiter: tuple[int, int, asyncio.Future[None]], error: JournalError) -> None:
    _, _, done = waiter
    if not done.done():
        done.set_exception(error)
        done.exception()  # who does not wait for it (any more) need not hear of it
