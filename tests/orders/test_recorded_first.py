"""The record of an order is on the disk before its first byte is on the wire.

Request and signature are made while the device is still at it, so these tests hold the device
up where that is, and look at the venue.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from engine_world import World, delay_appends
from journal_rigs import FaultyFiles
from order_rig import BTC, ENTRY, Rig, healthy
from sim_rigs import PreparingClient, http_rig
from sim_rigs import Rig as VenueRig

from holdfast import records
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engine import Engine
from holdfast.intent import Attempt
from holdfast.journal import FileJournal, JournalError, JournalFailed
from holdfast.model import Order, OrderReport, PlaceOutcome, PlaceRequest
from holdfast.settings import OrderSettings
from holdfast.simulation import run
from holdfast.transports.memory import MemoryBus, MemoryServer, MemoryStore
from holdfast.transports.sim import SimExecutionClient
from holdfast.transports.sim.faults import Fault

MARKET = Order(BTC, "buy", "0.010")


# --- a real disk, a real socket ------------------------------------------------------------


@asynccontextmanager
async def trading(
    venue: VenueRig, files: FaultyFiles, folder: Path, **changes: Any
) -> AsyncIterator[tuple[Engine, FileJournal]]:
    clock, entropy = SystemClock(), SystemEntropy()
    server = MemoryServer(entropy=entropy)
    store = MemoryStore(server, clock=clock)
    journal = await FileJournal.open(
        folder,
        clock=clock,
        randbits=random.Random(7).getrandbits,
        on_fault=lambda reason: engine.fault("disk", reason),
        files=files,
    )
    assert venue.another is not None
    engine = Engine(
        settings=World(clock=clock).settings(**changes),
        journal=journal,
        bus=MemoryBus(server),
        policy=store,
        lease=store,
        exchange=venue.another(),
        market=None,
        clock=clock,
        entropy=entropy,
    )
    async with engine:
        with anyio.fail_after(30):
            await engine.until_healthy()
        yield engine, journal


async def lone_sync(journal: FileJournal) -> None:
    """Wait until the next record is taken for a lone one, whose sync begins at once."""
    while not journal._is_alone() or journal._turn_began:
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("device", ["recovers", "fails"])
def test_nothing_leaves_while_the_device_is_at_it(device: str, tmp_path: Path) -> None:
    async def main() -> None:
        files = FaultyFiles()
        async with http_rig() as venue, trading(venue, files, tmp_path / "j") as (engine, journal):
            await engine.submit(MARKET)  # the connection that the next one finds
            await lone_sync(journal)
            prepared = anyio.Event()
            client = engine._core.exchange
            place = client.place_when_ready  # type: ignore[attr-defined]

            async def watched(request: PlaceRequest, *, ready: Any, **more: Any) -> PlaceOutcome:
                async def seen() -> None:
                    prepared.set()
                    await ready()

                outcome: PlaceOutcome = await place(request, ready=seen, **more)
                return outcome

            engine._core.execution.orders._sender._preparing.place_when_ready = watched
            ended: list[object] = []

            async def submit() -> None:
                try:
                    ended.append((await engine.submit(MARKET)).status)
                except JournalError as error:
                    ended.append(type(error))

            files.gate.clear()
            async with anyio.create_task_group() as group:
                group.start_soon(submit)
                with anyio.fail_after(30):
                    await prepared.wait()
                    for _ in range(5):  # whatever had left would be there by now
                        await venue.client.venue_time_ms(timeout_seconds=10)
                assert len(venue.requests("place")) == 1
                assert not ended
                if device == "fails":
                    files.failing_syncs = 2
                files.gate.set()
            if device == "recovers":
                assert ended == ["accepted"]
                assert len(venue.requests("place")) == 2
            else:
                assert ended == [JournalFailed]
                assert len(venue.requests("place")) == 1
                assert engine.pending() == []

    anyio.run(main)


def test_a_device_that_outlasts_the_patience_for_the_venue_is_no_fault_of_the_venue(
    tmp_path: Path,
) -> None:
    """The request made for it is given up, unsent; the order waits for the disk, and is sent."""

    async def main() -> None:
        files, patience = FaultyFiles(), OrderSettings(timeout_seconds=0.2, recv_window_ms=60_000)
        async with (
            http_rig() as venue,
            trading(venue, files, tmp_path / "j", orders=patience) as (engine, journal),
        ):
            await engine.submit(MARKET)
            await lone_sync(journal)
            faults: list[str] = []
            engine.on_transition(lambda step: faults.append(step.cause))
            reports: list[OrderReport] = []

            async def submit() -> None:
                reports.append(await engine.submit(MARKET))

            files.gate.clear()
            async with anyio.create_task_group() as group:
                group.start_soon(submit)
                await anyio.sleep(3 * patience.timeout_seconds)
                assert len(venue.requests("place")) == 1
                files.gate.set()
            assert [report.status for report in reports] == ["accepted"]
            assert len(venue.requests("place")) == 2
            assert faults == []

    anyio.run(main)


# --- in virtual time -----------------------------------------------------------------------


class Hasty(PreparingClient):
    async def place_when_ready(
        self, request: PlaceRequest, *, ready: Callable[[], Awaitable[object]], **more: Any
    ) -> PlaceOutcome:
        return await self.place(request, **more)


def test_a_transport_that_does_not_wait_may_not_write() -> None:
    async def main() -> None:
        world = World()
        world.kind_of_client = Hasty
        async with world.engine() as engine:
            await engine.until_healthy()
            with pytest.raises(RuntimeError, match="has not waited for the record"):
                await engine.submit(ENTRY)
            assert world.venue.order_log == []
            assert engine.pending() == []

    run(main)


def signed(engine: Engine) -> list[Attempt]:
    """The stamps of the orders that leave, as they do."""
    stamps: list[Attempt] = []
    client: Any = engine._core.exchange
    place = client.place

    async def noted(request: PlaceRequest, *, permit: Any, timeout_seconds: float) -> PlaceOutcome:
        def write() -> None:
            permit()
            stamps.append(Attempt(request.timestamp_ms, request.recv_window_ms))

        outcome: PlaceOutcome = await place(request, permit=write, timeout_seconds=timeout_seconds)
        return outcome

    client.place = noted
    return stamps


def written(engine: Engine) -> list[Attempt]:
    """The stamps in the journal, in its order."""
    return [
        Attempt(fact.timestamp_ms, fact.recv_window_ms)
        for record in engine._core.journal.read(after=0, limit=10_000)
        if isinstance(
            fact := records.decode(record.kind, record.body), records.Intended | records.Attempted
        )
    ]


@pytest.mark.parametrize("kind", [SimExecutionClient, PreparingClient])
def test_a_stamp_that_has_become_old_is_replaced_on_the_disk_first(
    kind: type[SimExecutionClient],
) -> None:
    """And the absence of what left with it is judged by the newer one, also after a kill."""

    async def main() -> None:
        world = World()
        world.kind_of_client = kind
        async with world.killed() as engine:
            await engine.until_healthy()
            stamps = signed(engine)
            slow = iter((1.8, 1.6, 1.4))  # of a window of 2 s
            delay_appends(
                engine._core.journal,
                is_under_way=True,
                before=lambda: anyio.sleep(next(slow)),
            )
            world.venue.faults.arm("place", Fault.lost_request())
            asyncio.get_running_loop().create_task(engine.submit(ENTRY))
            await anyio.sleep(6)
            (intent,) = engine.pending()
            assert intent.attempts_made == 1
            assert stamps == intent.attempts
            assert stamps[0] == written(engine)[-1]
            assert len(written(engine)) == 3
            latest = intent.attempts[0]
        async with world.engine() as engine:
            (intent,) = engine._core.ledger.intents.values()
            assert (intent.attempts, intent.attempts_made) == ([latest], 1)

    run(main)


def test_a_stamp_that_is_fresh_is_not_replaced() -> None:
    async def body(rig: Rig) -> None:
        delay_appends(rig.core.journal, before=lambda: anyio.sleep(1.4))
        report = await rig.engine.submit(ENTRY)
        assert (report.status, report.attempts) == ("accepted", 1)
        assert len(written(rig.engine)) == 1

    healthy(body)


def test_a_disk_that_stays_slow_ends_an_entry_at_its_deadline() -> None:
    async def body(rig: Rig) -> None:
        delay_appends(rig.core.journal, before=lambda: anyio.sleep(1.6))
        with pytest.raises(Exception, match="deadline"):
            await rig.engine.submit(ENTRY)
        assert rig.orders == []
        assert rig.seconds("place") == []
        rig.assert_clean()

    healthy(body)


def test_a_checkpoint_knows_of_what_is_on_its_way_to_the_disk() -> None:
    """It stands behind the record of the intent, so nothing else tells of it after a kill."""

    async def main() -> None:
        world = World()
        async with world.killed() as engine:
            await engine.until_healthy()
            core = engine._core

            async def checkpoint() -> None:
                core.journal.checkpoint(core.ledger.checkpoint())

            delay_appends(core.journal, before=checkpoint)
            world.venue.faults.arm("place", Fault.lost_request())
            asyncio.get_running_loop().create_task(engine.submit(ENTRY))
            await anyio.sleep(0.5)
            (sent,) = engine.pending()
        async with world.engine() as engine:
            (intent,) = engine._core.ledger.intents.values()
            assert intent.client_order_id == sent.client_order_id

    run(main)
