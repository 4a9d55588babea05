"""A whole world in virtual time: server, venue, disk, and engines that may die and come back."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import anyio
import msgspec

from holdfast.engine import Engine
from holdfast.journal import Appended, MemoryDisk, MemoryJournal
from holdfast.model import Event
from holdfast.policy import Mode, Policy
from holdfast.ports import Clock, ExecutionClient
from holdfast.settings import (
    GateSettings,
    PolicySettings,
    Settings,
)
from holdfast.simulation import SeededEntropy, VirtualClock, run
from holdfast.transports.memory import MemoryBus, MemoryServer, MemoryStore
from holdfast.transports.sim import LocalLine, SimExecutionClient, SimulatedVenue

BTC = "BTC/USDT:USDT"


class World:
    """Everything outside the bot. Make it inside a simulation, unless it has another clock."""

    def __init__(
        self, seed: int = 0, *, latency_seconds: float = 0.01, clock: Clock | None = None
    ) -> None:
        self.clock = VirtualClock() if clock is None else clock
        self.entropy = SeededEntropy(seed, "world")
        self.server = MemoryServer(entropy=self.entropy.child("server"))
        self.venue = SimulatedVenue(time_ns=self.clock.time_ns)
        self.venue.on_price(BTC, Decimal(64000))
        self.line = LocalLine(self.venue)
        self.disk = MemoryDisk()
        self.latency_seconds = latency_seconds
        self.kind_of_client = SimExecutionClient
        self.journal_options: dict[str, Any] = {}
        self.lives = 0

    def settings(self, **changes: Any) -> Settings:
        defaults: dict[str, Any] = {
            "bot": "alpha",
            "symbols": (BTC,),
            "gate": GateSettings(loop_lease_seconds=None),
            "policy": PolicySettings(initial=Policy(Mode.NORMAL)),
        }
        return Settings(**{**defaults, **changes})

    def client(self) -> ExecutionClient:
        """One more client of the venue."""
        return self.kind_of_client(self.line, latency_seconds=self.latency_seconds)

    @asynccontextmanager
    async def engine(self, **changes: Any) -> AsyncIterator[Engine]:
        self.lives += 1
        links = changes.pop("links", ())
        market = changes.pop("market_data", None)
        if (link_settings := changes.pop("link_settings", None)) is not None:
            changes["links"] = link_settings
        store = changes.pop("store", None) or MemoryStore(self.server, clock=self.clock)
        entropy = self.entropy.child(f"life{self.lives}")
        journal = MemoryJournal.open(
            changes.pop("disk", self.disk),
            clock=self.clock,
            randbits=entropy.child("journal").randbits,
            on_fault=lambda reason: engine.fault("disk", reason),
            **self.journal_options,
        )
        engine = Engine(
            settings=self.settings(**changes),
            journal=journal,
            bus=MemoryBus(self.server),
            policy=store,
            lease=store,
            exchange=self.client(),
            market=market,
            clock=self.clock,
            entropy=entropy,
            links=links,
        )
        async with engine:
            yield engine

    @asynccontextmanager
    async def killed(self, **changes: Any) -> AsyncIterator[Engine]:
        """An engine that ends as kill -9 ends it: nothing is wound down, the disk stays."""
        async with self.engine(**changes) as engine:
            engine._lifetime._wind_down = _nothing  # type: ignore[method-assign]
            try:
                yield engine
            finally:
                self.disk.crash(lose_unsynced=False)

    def events(self) -> list[Event]:
        """What is on the bus, decoded, in its order."""
        decoder = msgspec.msgpack.Decoder(Event)
        return [decoder.decode(e.payload) for e in self.server.log.entries if e.gap is None]


async def _nothing() -> None:
    """All that a killed process does."""


def in_a_world(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The test that plays `test` in virtual time; its first argument is a world of its own."""

    @functools.wraps(test)
    def played(*args: Any, **given: Any) -> None:
        async def main() -> None:
            await test(World(), *args, **given)

        run(main)

    # What pytest has to give: everything but the world.
    taken = inspect.signature(test)
    played.__signature__ = taken.replace(  # type: ignore[attr-defined]
        parameters=list(taken.parameters.values())[1:]
    )
    return played


async def healthy(engine: Engine, *, seconds: float = 60) -> None:
    """Wait until it is; a way up that never ends fails."""
    with anyio.fail_after(seconds):
        await engine.until_healthy()


Happening = Callable[[], Coroutine[Any, Any, None]]


class Delayed:
    """What a journal's `append` returns, with what happens before its level is reached, and
    between that and its caller's next step.

    :param appended: what the journal itself has returned.
    """

    def __init__(
        self,
        appended: Appended,
        *,
        before: Happening | None = None,
        after: Happening | None = None,
        is_under_way: bool = False,
    ) -> None:
        self.is_under_way = is_under_way
        self._appended = appended
        self._before = before
        self._after = after

    def __await__(self) -> Generator[object, None, int]:
        return self._reached().__await__()

    async def _reached(self) -> int:
        if self._before is not None:
            await self._before()
        seq = await self._appended
        if self._after is not None:
            await self._after()
        return seq


def delay_appends(journal: Any, **delay: Any) -> Callable[[], None]:
    """As of `Delayed`, until what is returned is called."""
    append = journal.append
    journal.append = lambda *args, **level: Delayed(append(*args, **level), **delay)

    def end() -> None:
        journal.append = append

    return end
