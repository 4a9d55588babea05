"""The bus of a server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable

from holdfast.errors import ConfigError
from holdfast.ports import AppendStatus, Batch, BusEntry, BusPosition, Fence, LinkWatch
from holdfast.transports.delivery import Delivery

from .connection import Client
from .server import MemoryServer


class MemoryBus(Client):
    """`ports.MessageBus` on a `MemoryServer`."""

    def __init__(self, server: MemoryServer, *, name: str = "bus") -> None:
        super().__init__(server, name=name)

    async def run(self, watch: LinkWatch) -> None:
        await self._run(watch)

    async def position(self, producer: str) -> BusPosition:
        log = self.server.log
        return await self._ask(
            lambda: BusPosition(log.lineage, log.last_sequences.get(producer, 0))
        )

    def append(self, batch: Batch) -> Awaitable[AppendStatus]:
        answer = self._ask(lambda: self.server.append(batch), _refusal)
        if self._connected and self.server.takes_next_ack():
            self.flap("the connection was lost before an answer")
        return answer

    async def fence(self) -> Fence:
        log, now = self.server.log, asyncio.get_running_loop().time()
        return await self._ask(lambda: log.silence(now=now))

    async def subscribe(self, *, after: str | None = None) -> AsyncGenerator[BusEntry, None]:
        """Every entry after `after`, each event once, missing ones as a gap."""
        cursor = 0 if after is None else _entry_number(after)
        delivery = Delivery()
        while True:
            page = self.server.log.after(cursor) if self.server.is_up else []
            if not page:
                await self.server.until_news()
            for entry in page:
                cursor = _entry_number(entry.id)
                for admitted in delivery.admit(entry):
                    yield admitted


def _refusal(status: AppendStatus) -> str:
    return f"the bus refused an append: {status.reason}" if status.kind == "error" else ""


def _entry_number(entry_id: str) -> int:
    number = entry_id.partition("-")[0]
    if not number.isdecimal():
        raise ConfigError(f"after: {entry_id!r} is no entry id, such as '17-0'")
    return int(number)
