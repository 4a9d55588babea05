"""A message bus with mishaps: appends stay in order, whatever is late or lost."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from holdfast.errors import LinkDown
from holdfast.ports import (
    AppendStatus,
    Batch,
    BusEntry,
    BusPosition,
    Entropy,
    Fence,
    LinkWatch,
    MessageBus,
)

from .chance import Fate, FaultSwitch
from .connection import Asking, Connection


class FaultyBus(Asking):
    """`ports.MessageBus` with mishaps."""

    def __init__(self, inner: MessageBus, switch: FaultSwitch, entropy: Entropy) -> None:
        super().__init__(inner.name, switch, entropy)
        self._inner = inner
        self._last_answer_at = 0.0
        self._late: deque[Callable[[], None]] = deque()

    async def run(self, watch: LinkWatch) -> None:
        self._connection = Connection(self.name, watch)
        await self._inner.run(self._connection)

    async def probe(self) -> None:
        await self._ask("probe", self._inner.probe)

    async def position(self, producer: str) -> BusPosition:
        return await self._ask("position", lambda: self._inner.position(producer))

    def append(self, batch: Batch) -> Awaitable[AppendStatus]:
        loop = asyncio.get_running_loop()
        answer: Future[AppendStatus] = loop.create_future()
        answer.add_done_callback(_retrieve)
        draw, connection = self._chance.draw("append"), self._connection
        number = connection.number
        if not connection.stands or draw.fate is Fate.LOST_REQUEST:
            connection.cut("cut before an append arrived")
            answer.set_exception(LinkDown(f"{self.name}: the append was not sent"))
            return answer

        def deliver() -> None:
            if draw.fate is Fate.LOST_REPLY:
                connection.cut("cut before an append was answered")
            if answer.done():  # nobody waits any more, perhaps because of the cut
                return
            error = None if inner.cancelled() else inner.exception()
            if inner.cancelled() or error is not None:
                answer.set_exception(LinkDown(f"{self.name}: {error}"))
            elif not connection.stands or connection.number != number:
                answer.set_exception(LinkDown(f"{self.name}: cut before an answer"))
            else:
                answer.set_result(inner.result())

        inner = asyncio.ensure_future(self._inner.append(batch))
        inner.add_done_callback(lambda _: self._in_order(deliver, draw.delay_seconds))
        return answer

    def _in_order(self, deliver: Callable[[], None], delay_seconds: float) -> None:
        """Deliver an answer late, but none before the one ahead of it."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        at = max(self._last_answer_at, now + delay_seconds)
        if at <= now and not self._late:
            deliver()
            return
        self._last_answer_at = at
        self._late.append(deliver)
        # Timers of one instant may fire in any order: each takes the head.
        loop.call_at(at, lambda: self._late.popleft()())

    async def fence(self) -> Fence:
        return await self._ask("fence", self._inner.fence)

    def subscribe(self, *, after: str | None = None) -> AsyncIterator[BusEntry]:
        return self._inner.subscribe(after=after)


def _retrieve(future: Future[AppendStatus]) -> None:
    if not future.cancelled():
        future.exception()
