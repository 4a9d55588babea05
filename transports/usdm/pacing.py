"""Lets requests go as `limits` allows it, and nothing at all while the venue wants silence.

Usually a request goes at once, without a pause of the event loop. What has to wait stands in
a queue of its own budget: by priority, then by age. The queue has a bound, and whoever is
refused was not sent.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Final

import anyio

from holdfast.ports import Clock
from holdfast.silence import Silence

from .limits import Budget, Cost, Priority
from .session import NotSent

MAX_WAITING: Final = 256


class NotAdmitted(NotSent):
    """There is no room for it in time.

    :ivar retry_after_seconds: where the venue has asked for silence.
    """

    def __init__(self, reason: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class _Waiting:
    __slots__ = ("cost", "key", "turn")

    def __init__(self, cost: Cost, key: tuple[Priority, int]) -> None:
        self.cost = cost
        self.key = key
        self.turn = anyio.Event()


class Pacer:
    """
    :param now_ms: the venue's clock, as far as known.
    """

    def __init__(self, budget: Budget, clock: Clock, *, now_ms: Callable[[], int]) -> None:
        self.budget = budget
        self.silence = Silence(clock.monotonic)
        self._clock = clock
        self._now_ms = now_ms
        self._queue: list[_Waiting] = []
        self._arrivals = 0

    async def admit(self, cost: Cost, priority: Priority, *, patience_seconds: float) -> None:
        """Return when a request of `cost` may go.

        :raises NotAdmitted: not within `patience_seconds`, or not while the venue wants silence.
        """
        self._refuse_in_silence()
        if not self._queue and not self.budget.wait_ms(cost, priority, self._now_ms()):
            return
        waiting = _Waiting(cost, (priority, self._arrivals))
        self._arrivals += 1
        if not self._wait_ms(waiting):
            return
        self._make_room(priority)
        bisect.insort(self._queue, waiting, key=_key)
        deadline = self._clock.monotonic() + patience_seconds
        try:
            while wait_ms := self._wait_ms(waiting):
                left_seconds = deadline - self._clock.monotonic()
                if waiting not in self._queue:
                    raise NotAdmitted("the queue of waiting requests is full")
                if left_seconds <= 0:
                    raise NotAdmitted("the venue's request limit is used up")
                with anyio.move_on_after(min(left_seconds, wait_ms / 1000)):
                    await waiting.turn.wait()
                waiting.turn = anyio.Event()
                self._refuse_in_silence()
        finally:
            if waiting in self._queue:
                self._queue.remove(waiting)
            self.look_again()

    def look_again(self) -> None:
        """A request has been settled, or has left the queue."""
        for waiting in self._queue:
            waiting.turn.set()

    def _wait_ms(self, waiting: _Waiting) -> int:
        """How long it has to wait, those before it included, at least; 0: it may go."""
        for other in self._queue:
            if other.key >= waiting.key:
                break
            if (other.cost.weight and waiting.cost.weight) or (
                other.cost.orders and waiting.cost.orders
            ):
                # Not before that one, and after that one it is asked for again.
                return max(1, self.budget.wait_ms(other.cost, other.key[0], self._now_ms()))
        return self.budget.wait_ms(waiting.cost, waiting.key[0], self._now_ms())

    def _make_room(self, priority: Priority) -> None:
        """:raises NotAdmitted: the queue is full of what is not less urgent."""
        if len(self._queue) < MAX_WAITING:
            return
        last = self._queue[-1]
        if last.key[0] <= priority:
            raise NotAdmitted("the queue of waiting requests is full")
        self._queue.remove(last)
        last.turn.set()

    def _refuse_in_silence(self) -> None:
        if seconds := self.silence.seconds:
            raise NotAdmitted(self.silence.reason, retry_after_seconds=seconds)


def _key(waiting: _Waiting) -> tuple[Priority, int]:
    return waiting.key
