"""An outbox between a disk and a bus that outlive it, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from holdfast.journal import MemoryDisk, MemoryJournal
from holdfast.model import Event, Gap
from holdfast.outbox import Outbox
from holdfast.simulation import SeededEntropy, VirtualClock
from holdfast.transports.memory import MemoryBus, MemoryServer

_decoder = msgspec.msgpack.Decoder(Event)


class Watch:
    """Tells the outbox of its link, as the engine does."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def up(self) -> None:
        self._outbox.set_connected(True)

    def down(self, reason: str) -> None:
        self._outbox.set_connected(False)


class Place:
    """A disk and a server; lives of the bot come and go in between."""

    def __init__(self, seed: int = 0, *, latency_seconds: float = 0.001) -> None:
        self.clock = VirtualClock()
        self.entropy = SeededEntropy(seed, "outbox")
        self.server = MemoryServer(
            entropy=self.entropy.child("server"), latency_seconds=latency_seconds
        )
        self.disk = MemoryDisk()
        self.lives = 0
        self.faults: list[str] = []
        self.disk_faults: list[str] = []
        self.gaps: list[Gap] = []
        self.last_sequences: dict[int, int] = {}
        self.fenced: list[int] = []

    @asynccontextmanager
    async def life(
        self, *, batch_events: int = 500, batches_in_flight: int = 4, **journal: Any
    ) -> AsyncIterator[Outbox]:
        """One life; its end is a kill -9 of the process, nothing is wound down."""
        self.lives += 1
        entropy = self.entropy.child(f"life{self.lives}")
        opened = MemoryJournal.open(
            self.disk,
            clock=self.clock,
            randbits=entropy.child("journal").randbits,
            on_fault=self.disk_faults.append,
            **journal,
        )
        bus = MemoryBus(self.server)
        outbox = Outbox(
            bot="alpha",
            journal=opened,
            bus=bus,
            clock=self.clock,
            entropy=entropy,
            batch_events=batch_events,
            batches_in_flight=batches_in_flight,
            on_fault=self.faults.append,
            on_disk_fault=self.disk_faults.append,
            on_fenced=self._on_fenced,
            on_gap=self.gaps.append,
            last_of_lives=lambda: self.last_sequences,
            on_published=self.last_sequences.__setitem__,
        )
        outbox.recover()
        async with anyio.create_task_group() as group:
            group.start_soon(bus.run, Watch(outbox))
            group.start_soon(outbox.run)
            yield outbox
            group.cancel_scope.cancel()
        self.disk.crash(lose_unsynced=False)

    def _on_fenced(self, token: int) -> None:
        self.fenced.append(token)

    async def drained(self, outbox: Outbox, *, seconds: float = 60) -> None:
        """Return when the bus has confirmed everything. :raises TimeoutError:"""
        with anyio.fail_after(seconds):
            while outbox.behind(outbox.mark):
                await outbox.changes.wait()

    def bodies(self) -> list[Any]:
        """Bodies of the events on the bus, in its order; a gap stands as itself."""
        return [
            _decoder.decode(e.payload).body if e.gap is None else e.gap
            for e in self.server.log.entries
        ]
