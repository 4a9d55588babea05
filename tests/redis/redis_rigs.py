"""Clients of a private server, a producer that ships as the outbox does, and the switch."""

from __future__ import annotations

import random
import socket
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import LinkDown
from holdfast.ports import AppendStatus, Batch
from holdfast.transports.redis import bus_factory, store_factory
from holdfast.transports.redis.bus import RedisBus
from holdfast.transports.redis.store import RedisStore
from holdfast.transports.server import RedisServer

CLOCK = SystemClock()


class Clients:
    """Makes transports on one server."""

    def __init__(self, server: RedisServer, url: str | None = None) -> None:
        self.server = server
        self.url = server.url if url is None else url

    def bus(self, **settings: Any) -> RedisBus:
        return bus_factory(self.url, clock=CLOCK, entropy=SystemEntropy(), **settings)

    def store(self, **settings: Any) -> RedisStore:
        return store_factory(self.url, clock=CLOCK, entropy=SystemEntropy(), **settings)


class ServerControl:
    """`conformance.Control` on a real process."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def stop(self) -> None:
        self._server.kill()

    async def start(self) -> None:
        await anyio.to_thread.run_sync(self._server.start)

    async def refuse_writes(self) -> None:
        self._server.command("REPLICAOF", self._server.host, "1")

    async def accept_writes(self) -> None:
        self._server.command("REPLICAOF", "NO", "ONE")

    async def wipe(self) -> None:
        await anyio.to_thread.run_sync(lambda: self._server.restart(empty=True))


def free_port_below(limit: int) -> int:
    """The system's free ports may all lie above; these are tried one by one."""
    for port in random.sample(range(20_000, limit), 200):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no free port below {limit}")


def batch(lineage: str, first: int, count: int, *, producer: str = "p", **more: Any) -> Batch:
    return Batch(producer, first, [b"%d" % n for n in range(first, first + count)], lineage, **more)


class Producer:
    """Ships 1, 2, 3, ... in batches, several in flight, until `target` is acknowledged."""

    def __init__(self, bus: RedisBus, *, batch_events: int = 200, in_flight: int = 4) -> None:
        self.acknowledged = 0
        self.failures = 0
        self.finished = anyio.Event()
        self._bus = bus
        self._batch_events = batch_events
        self._in_flight = in_flight

    async def ship(self, stop: anyio.Event) -> None:
        while not stop.is_set():
            with suppress(LinkDown):
                await self._ship_until_failure(stop)
            self.failures += 1
            await anyio.sleep(0.002)
        self.finished.set()

    async def _ship_until_failure(self, stop: anyio.Event) -> None:
        position = await self._bus.position("p")
        next_sequence = position.last_sequence + 1
        unanswered: deque[Awaitable[AppendStatus]] = deque()
        while not stop.is_set() or unanswered:
            while not stop.is_set() and len(unanswered) < self._in_flight:
                unanswered.append(
                    self._bus.append(batch(position.lineage, next_sequence, self._batch_events))
                )
                next_sequence += self._batch_events
            status = await unanswered.popleft()
            if status.kind != "ok":
                return
            self.acknowledged = max(self.acknowledged, status.last_sequence)
