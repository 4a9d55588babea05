"""A bus that has seen a newer fencing token than the lease's store gives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from engine_world import World

from holdfast.campaign.leases import TimedServer, TimedStore
from holdfast.engine import Engine
from holdfast.journal import MemoryDisk
from holdfast.settings import LeaseSettings
from holdfast.simulation import run
from holdfast.states.table import State

TTL = 15.0


def _unheard_of(promise: str, what: str) -> None:
    raise AssertionError(f"{promise}: {what}")


class LeaseSide:
    """A server of its own for policy and lease, and the folder of the copy that uses it."""

    def __init__(self, world: World, name: str) -> None:
        self.server = TimedServer(
            entropy=world.entropy.child(name),
            latency_seconds=0.001,
            clock=world.clock,
            ttl_seconds=TTL,
            breach=_unheard_of,
        )
        self._world = world
        self._disk = MemoryDisk()

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Engine]:
        store = TimedStore(self.server, clock=self._world.clock)
        lease = LeaseSettings(ttl_seconds=TTL)
        async with self._world.engine(store=store, disk=self._disk, lease=lease) as engine:
            yield engine


def test_it_gets_healthy_once_the_newer_holder_has_been_silent_for_a_term() -> None:
    """The store was replaced by one whose tokens are behind; whoever had the newer one is gone."""

    async def main() -> None:
        world = World()
        world.server.log.raise_fence(10**6)
        began = world.clock.monotonic()
        async with LeaseSide(world, "lease").engine() as engine:
            with anyio.fail_after(100 * TTL):
                await engine.until_healthy()
            assert TTL <= world.clock.monotonic() - began < 3 * TTL
            assert engine._core.lease.fencing_token > 10**6
            await anyio.sleep(10 * TTL)
            assert engine.state is State.HEALTHY
            assert engine._core.ledger.hold is None
        assert world.events(), "and it writes"

    run(main)


def test_of_two_live_copies_with_a_store_each_one_trades() -> None:
    """They would never hear of each other, but for the bus."""

    async def main() -> None:
        world = World()
        first, second = LeaseSide(world, "first"), LeaseSide(world, "second")
        second.server.acquire("somebody", TimedStore(second.server, clock=world.clock), above=1000)
        second.server.release("somebody")
        async with first.engine() as old:
            await old.until_healthy()
            async with second.engine() as new:
                await new.until_healthy()
                await anyio.sleep(TTL / 3 + 1)  # by now the first has shown its presence, in vain
                for _ in range(1000):
                    await anyio.sleep(0.1)
                    assert new.state is State.HEALTHY
                    assert old.state is State.DEGRADED
                await new.publish("test", "the last word of the one that holds it")
            with anyio.fail_after(3 * TTL):
                await old.until_healthy()
        lines = [event.producer for event in world.events()]
        turns = [now for before, now in zip(["", *lines], lines, strict=False) if now != before]
        assert len(turns) == 3, "the one, the other, and the one again: nobody wrote in between"

    run(main)
