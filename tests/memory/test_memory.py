"""What the in-memory transports promise, and the faults that can be put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import anyio
import pytest

from holdfast.clock import SystemClock
from holdfast.errors import ConfigError, LinkDown, PolicyConflict
from holdfast.model import Gap
from holdfast.policy import Mode, Policy
from holdfast.ports import Batch, BusEntry
from holdfast.simulation import SimLoop, run
from holdfast.transports.delivery import PRODUCERS_REMEMBERED, Delivery
from holdfast.transports.memory import (
    MemoryBus,
    MemoryServer,
    MemoryServers,
    MemoryStore,
    bus_factory,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Watch:
    """Writes down what a transport reports."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def up(self) -> None:
        self.seen.append("up")

    def down(self, reason: str) -> None:
        self.seen.append(f"down: {reason}")

    def changed(self) -> None:
        self.seen.append("changed")


@asynccontextmanager
async def running(client: MemoryBus | MemoryStore) -> AsyncIterator[Watch]:
    watch = Watch()
    async with anyio.create_task_group() as group:
        group.start_soon(client.run, watch)
        await anyio.lowlevel.checkpoint()
        yield watch
        group.cancel_scope.cancel()


def batch(lineage: str, first: int, count: int, **more: object) -> Batch:
    payloads = [str(n).encode() for n in range(first, first + count)]
    return Batch("p", first, payloads, lineage, **more)  # type: ignore[arg-type]


async def collect(bus: MemoryBus, count: int) -> list[BusEntry]:
    found: list[BusEntry] = []
    with anyio.fail_after(5):
        async for entry in bus.subscribe():
            found.append(entry)
            if len(found) == count:
                break
    return found


async def test_a_fault_is_reported_before_the_call_that_made_it_returns() -> None:
    server = MemoryServer()
    async with running(MemoryBus(server)) as watch:
        server.down("killed")
        assert watch.seen == ["up", "down: killed"]
        server.up()
        assert watch.seen[2:] == ["up"]


async def test_a_lost_ack_took_effect_and_sending_it_again_is_harmless() -> None:
    server = MemoryServer()
    bus = MemoryBus(server)
    async with running(bus) as watch:
        position = await bus.position("p")
        server.lose_acks(1)
        first = bus.append(batch(position.lineage, 1, 3))
        with pytest.raises(LinkDown):
            await first
        await anyio.lowlevel.checkpoint()
        assert watch.seen[-1] == "up"
        assert (await bus.append(batch(position.lineage, 1, 5))).last_sequence == 5
        assert [entry.sequence for entry in await collect(bus, 5)] == [1, 2, 3, 4, 5]


async def test_answers_come_in_call_order_also_with_latency() -> None:
    server = MemoryServer(latency_seconds=0.001)
    bus = MemoryBus(server)
    async with running(bus):
        lineage = (await bus.position("p")).lineage
        answers = [bus.append(batch(lineage, first, 10)) for first in (1, 11, 21)]
        assert [(await answer).last_sequence for answer in answers] == [10, 20, 30]


async def test_an_outage_while_the_answer_is_on_its_way_leaves_it_unknown() -> None:
    server = MemoryServer(latency_seconds=10)
    bus, store = MemoryBus(server), MemoryStore(server, clock=SystemClock())
    async with running(bus), running(store), anyio.create_task_group() as group:

        async def read() -> None:
            with pytest.raises(LinkDown):
                await store.read()

        answer = bus.append(batch(server.log.lineage, 1, 1))
        group.start_soon(read)
        await anyio.lowlevel.checkpoint()
        server.down()
        server.up()
        with anyio.fail_after(2), pytest.raises(LinkDown):
            await answer
    assert server.log.last_sequences == {"p": 1}


async def test_a_refused_append_keeps_what_it_had_appended() -> None:
    server = MemoryServer()
    bus = MemoryBus(server)
    async with running(bus) as watch:
        lineage = server.log.lineage
        server.refuse_append("no memory", after=2)
        answers = [bus.append(batch(lineage, 1, 5)), bus.append(batch(lineage, 6, 5))]
        assert await answers[0] == ("error", 2, "no memory")
        with pytest.raises(LinkDown):
            await answers[1]
        assert any("no memory" in seen for seen in watch.seen)
        await anyio.lowlevel.checkpoint()
        assert (await bus.append(batch(lineage, 3, 8))).last_sequence == 10


async def test_a_subscriber_meets_a_lost_tail_once_and_a_hole_as_a_gap() -> None:
    server = MemoryServer(stream_maxlen=2)
    bus = MemoryBus(server)
    async with running(bus):
        lineage = server.log.lineage
        await bus.append(batch(lineage, 1, 5))
        seen: list[BusEntry] = []
        async for entry in bus.subscribe():
            seen.append(entry)
            if entry.sequence == 5:
                server.roll_back(2)
                assert (await bus.position("p")).last_sequence == 3
                await bus.append(batch(lineage, 4, 4))
            if entry.sequence == 7:
                # More than a stream of two keeps (it is trimmed by the page).
                await bus.append(batch(lineage, 8, 600))
            if entry.gap is not None:
                break
        assert [entry.sequence for entry in seen[:-1]] == [1, 2, 3, 4, 5, 6, 7]
        assert seen[-1].gap is not None
        assert seen[-1].gap.first == 8


async def test_an_older_token_is_fenced_off() -> None:
    server = MemoryServer()
    bus = MemoryBus(server)
    async with running(bus):
        lineage = server.log.lineage
        assert (await bus.append(batch(lineage, 1, 1, fencing_token=7))).kind == "ok"
        assert (await bus.append(batch(lineage, 2, 1, fencing_token=6))).kind == "fenced"
        assert (await bus.append(batch(lineage, 2, 1, fencing_token=7))).kind == "ok"


async def test_a_changed_policy_is_unfit_until_it_is_read_again() -> None:
    server = MemoryServer()
    store = MemoryStore(server, clock=SystemClock())
    async with running(store) as watch:
        assert store.verified_at() == -inf
        stored = await store.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        assert watch.seen[-1] == "changed"
        assert store.verified_at() == -inf
        assert await store.read() == stored
        assert store.verified_at() > 0
        with pytest.raises(PolicyConflict):
            await store.compare_and_set(Policy(Mode.HALT), expected_version=0)
        server.down()
        assert store.verified_at() == -inf
        server.up()
        assert store.verified_at() == -inf


async def test_the_lease_ends_with_its_holder_and_is_virgin_after_a_loss() -> None:
    server = MemoryServer()
    ours, theirs = (MemoryStore(server, clock=SystemClock()) for _ in range(2))
    async with running(theirs):
        async with running(ours):
            first = await ours.acquire("a", ttl_seconds=15)
            assert first is not None
            assert (first.expires_at, first.virgin) == (inf, False)
            assert await theirs.acquire("b", ttl_seconds=15) is None
        second = await theirs.acquire("b", ttl_seconds=15)
        assert second is not None
        assert second.fencing_token > first.fencing_token
        server.wipe()
        third = await theirs.acquire("b", ttl_seconds=15)
        assert third is not None
        assert third.virgin
        assert third.fencing_token > second.fencing_token


def test_an_outage_of_a_day_costs_a_handful_of_steps() -> None:
    async def main() -> int:
        server = MemoryServer()
        async with running(MemoryBus(server)), running(MemoryStore(server, clock=SystemClock())):
            server.down()
            before = SimLoop.current().steps
            await anyio.sleep(86_400)
            server.up()
            await anyio.lowlevel.checkpoint()
            return SimLoop.current().steps - before

    assert run(main) < 10


def test_servers_are_found_by_name() -> None:
    servers = MemoryServers()
    clock = SystemClock()
    entropy = servers.get("x")._entropy
    first = bus_factory("memory://x", clock=clock, entropy=entropy, server=servers)
    again = bus_factory("memory://x", clock=clock, entropy=entropy, server=servers)
    fresh = bus_factory("memory://x", clock=clock, entropy=entropy)
    assert first.server is again.server
    assert fresh.server is not first.server
    with pytest.raises(ConfigError):
        bus_factory("redis://x", clock=clock, entropy=entropy)


def test_delivery_narrows_a_marker_and_forgets_the_longest_silent() -> None:
    delivery = Delivery()
    assert delivery.admit(BusEntry("1", "p", 5, b""))
    marker = BusEntry("2", "p", 9, b"", Gap("p", 3, 9))
    assert delivery.admit(marker) == (marker._replace(gap=Gap("p", 6, 9)),)
    assert delivery.admit(BusEntry("3", "p", 9, b"")) == ()
    for n in range(PRODUCERS_REMEMBERED):
        delivery.admit(BusEntry("4", f"q{n}", 1, b""))
    assert delivery.admit(BusEntry("5", "p", 1, b""))
