"""Wall clocks jump; orders are stamped, and absence is judged, on the venue's clock.

The engine's own dates (events, records) follow the machine's wall clock, jumps included.
Durations never do.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import World
from freezegun import freeze_time
from order_rig import BTC, ENTRY, OVERLOADED, Rig, healthy

from holdfast.clock import SystemClock
from holdfast.model import Order
from holdfast.simulation import run
from holdfast.states.table import State
from holdfast.transports.sim import LocalLine, SimulatedVenue
from holdfast.transports.sim.faults import Fault
from holdfast.venue_clock import VenueClock


@pytest.mark.parametrize("jump_seconds", [-86_400, -3, 3, 86_400])
def test_a_jump_of_the_wall_clock_stamps_no_order_wrongly(jump_seconds: int) -> None:
    async def main() -> None:
        world = World()
        machine = world.clock
        # The venue keeps its own time: the jump is this machine's alone.
        jumped = 0
        world.venue = SimulatedVenue(time_ns=lambda: machine.time_ns() - jumped)
        world.venue.on_price(BTC, Decimal(64000))
        world.line = LocalLine(world.venue)
        async with world.engine() as engine:
            await engine.until_healthy()
            machine.jump_wall(jump_seconds)
            jumped = jump_seconds * 1_000_000_000
            rig = Rig(world, engine)
            rig.fail("place", OVERLOADED)
            report = await engine.submit(ENTRY)
            assert report.attempts == 2, "one wait, and no stamp refused"
            assert rig.waits() == [1.0], "durations do not jump"
            assert engine.state is State.HEALTHY
            await anyio.sleep(1)
            rig.assert_clean()

    run(main)


@pytest.mark.parametrize("jump_seconds", [-3600, 3600])
def test_absence_is_proven_on_the_venues_clock_whatever_the_wall_says(jump_seconds: int) -> None:
    async def main() -> None:
        world = World()
        machine = world.clock
        jumped = 0
        world.venue = SimulatedVenue(time_ns=lambda: machine.time_ns() - jumped)
        world.venue.on_price(BTC, Decimal(64000))
        world.line = LocalLine(world.venue)
        async with world.engine() as engine:
            await engine.until_healthy()
            rig = Rig(world, engine)
            rig.fail("place", Fault(delay_before_seconds=1.9))
            async with anyio.create_task_group() as group:
                group.start_soon(engine.submit, ENTRY)
                await anyio.sleep(0.5)
                machine.jump_wall(jump_seconds)
                jumped = jump_seconds * 1_000_000_000
            await anyio.sleep(10)
            assert len(rig.orders) == 1
            rig.assert_clean()

    run(main)


def test_a_skew_that_grows_while_an_order_is_unknown() -> None:
    async def body(rig: Rig) -> None:
        rig.fail("place", Fault.lost_request())
        async with anyio.create_task_group() as group:
            group.start_soon(rig.engine.submit, ENTRY)
            await anyio.sleep(1)
            rig.venue.faults.clock_skew_ms = -800  # the venue's clock is set back
        assert len(rig.orders) == 1
        first, second = rig.seconds("place")
        assert second - first >= 2.5 + 0.8 - 0.1, "absence counts on the clock of the venue"

    healthy(body)


class OneAnswer:
    """A venue that answers with one moment."""

    def __init__(self, venue_ms: int) -> None:
        self.venue_ms = venue_ms

    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        return self.venue_ms


# Where dates have edges: the turn of a year, a leap day, the end of 32-bit time, summer time.
EDGES = [
    "2023-12-31T23:59:59.999Z",
    "2024-02-29T23:59:59.999Z",
    "2038-01-19T03:14:07.999Z",
    "2026-03-29T00:59:59.999Z",
    "1970-01-01T00:00:00.001Z",
]


@pytest.mark.parametrize("moment", EDGES)
def test_stamps_at_the_edges_of_the_calendar(moment: str) -> None:
    at = dt.datetime.fromisoformat(moment)
    expected_ms = round(
        (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(milliseconds=1)
    )

    async def main() -> None:
        with freeze_time(at, real_asyncio=True) as frozen:
            clock: Any = SystemClock()
            venue = VenueClock(OneAnswer(expected_ms), clock)  # type: ignore[arg-type]
            assert abs(venue.now_ms() - expected_ms) <= 1, "the machine's own until measured"
            await venue.sync(timeout_seconds=1.0)
            before = venue.now_ms()
            assert 0 <= before - expected_ms < 5_000
            frozen.move_to(at + dt.timedelta(days=365))
            assert 0 <= venue.now_ms() - before < 5_000, "carried by the monotonic clock"
            assert abs(venue.skew_ms - 365 * 86_400_000) < 5_000

    anyio.run(main)


def test_events_carry_the_wall_clock_of_their_moment() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            before = await engine.publish("test", 1)
            world.clock.jump_wall(-3600)
            after = await engine.publish("test", 2)
            assert after.time_ns < before.time_ns
            assert after.sequence == before.sequence + 1, "order is by sequence, never by time"

    run(main)


def test_an_order_lives_by_durations_while_the_wall_stands_still() -> None:
    """A wall clock that is set back again and again must not keep a deadline from coming."""

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            rig = Rig(world, engine)
            rig.fail("place", *[OVERLOADED] * 10)
            began = world.clock.monotonic()
            done = False

            async def hold_back() -> None:
                while not done:
                    await anyio.sleep(0.1)
                    world.clock.jump_wall(-0.1)

            async with anyio.create_task_group() as group:
                group.start_soon(hold_back)
                with pytest.raises(Exception, match=r"deadline|attempts"):
                    await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
                done = True
            assert world.clock.monotonic() - began < 11

    run(main)
