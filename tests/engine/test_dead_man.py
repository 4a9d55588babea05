"""The venue's dead-man switch: for the death of the bot, and for nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import anyio
import pytest
from engine_world import BTC, World

from holdfast.broadcast import Broadcast
from holdfast.campaign.leases import TimedServer, TimedStore
from holdfast.dead_man import DeadManSwitch
from holdfast.errors import LinkDown, TradingHalted
from holdfast.model import Order
from holdfast.ports import LeaseGrant
from holdfast.settings import OrderSettings
from holdfast.simulation import VirtualClock, run
from holdfast.states.table import State
from holdfast.transports.memory import MemoryStore
from holdfast.transports.sim.faults import Fault

ENTRY = Order(BTC, "buy", "0.010", price="60000")
EXIT = Order(BTC, "sell", "0.010", price="70000", reduce_only=True)


async def let_the_countdown_end(world: World, seconds: float) -> None:
    await anyio.sleep(seconds)
    world.venue.advance()


def resting(world: World) -> list[str]:
    world.venue.advance()
    return [order.side for order in world.venue.open_orders()]


async def hold_a_position_and_rest_an_exit(engine: Any) -> None:
    await engine.until_healthy()
    await engine.submit(Order(BTC, "buy", "0.010"))
    await engine.submit(EXIT)


def test_orders_of_a_killed_bot_are_cancelled_by_the_venue() -> None:
    async def main() -> None:
        world = World()
        async with world.killed() as engine:
            await hold_a_position_and_rest_an_exit(engine)
            await engine.submit(ENTRY)
            await anyio.sleep(300)
            assert sorted(resting(world)) == ["buy", "sell"], "renewed while the bot lives"
        await let_the_countdown_end(world, 80)
        assert sorted(resting(world)) == ["buy", "sell"]
        await let_the_countdown_end(world, 45)
        assert resting(world) == []

    run(main)


def test_exits_outlive_an_outage_of_the_bus_that_is_longer_than_the_countdown() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await hold_a_position_and_rest_an_exit(engine)
            world.server.down("killed")
            await anyio.sleep(600)
            assert engine.state is State.DEGRADED
            assert resting(world) == ["sell"]
            await engine.halt("the operator looks")
            await anyio.sleep(600)
            assert resting(world) == ["sell"], "a hold is no death either"

    run(main)


def test_a_clean_stop_releases_it() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await hold_a_position_and_rest_an_exit(engine)
            assert world.venue.counting_down
        assert not world.venue.counting_down
        await let_the_countdown_end(world, 300)
        assert resting(world) == ["sell"]

    run(main)


class FarStore(TimedStore):
    """Grants the lease for its term, not for ever, and takes its time to answer."""

    async def acquire(self, owner: str, **terms: Any) -> LeaseGrant | None:
        grant = await super().acquire(owner, **terms)
        await anyio.sleep(0.05)
        return grant


def store_with_terms(world: World) -> Any:
    return FarStore(cast("TimedServer", world.server), clock=world.clock)


def test_a_clean_stop_releases_nothing_that_may_be_another_copys_by_now() -> None:
    """A lease that has run out may be held by another, who has armed the switch and is told of no
    release: it would trade without one until its next renewal."""

    async def main() -> None:
        world = World()
        async with world.engine(store=store_with_terms(world)) as engine:
            await hold_a_position_and_rest_an_exit(engine)
            world.server.down("killed")
            await anyio.sleep(60)
            assert not engine._core.lease.held
        assert world.venue.counting_down

    run(main)


def test_a_lease_that_ran_out_in_its_sleep_is_asked_for_before_the_switch_is_released() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(store=store_with_terms(world)) as engine:
            await hold_a_position_and_rest_an_exit(engine)
            world.clock.suspend(60)
            assert not engine._core.lease.held
        assert not world.venue.counting_down

    run(main)


def test_a_copy_that_waits_for_the_lease_does_not_keep_a_dead_bots_orders_alive() -> None:
    async def main() -> None:
        world = World()
        async with world.killed() as engine:
            await hold_a_position_and_rest_an_exit(engine)
        other = MemoryStore(world.server, clock=world.clock)
        assert world.server.acquire("another copy", other) is not None
        async with world.engine() as copy:
            await anyio.sleep(130)
            assert copy.state is State.DEGRADED
            assert resting(world) == []

    run(main)


def test_it_is_armed_anew_when_another_copy_may_have_released_it() -> None:
    """Which we need not have noticed: the machine may have slept through its term."""

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await anyio.sleep(1)
            world.server.expire_lease()
            other = MemoryStore(world.server, clock=world.clock)
            assert world.server.acquire("another copy", other) is not None
            world.venue.countdown_cancel_all(BTC, 0)
            world.server.release("another copy")
            engine._core.lease.renew_now()
            await anyio.sleep(1)
            assert engine.gate.is_open
            assert world.venue.counting_down

    run(main)


def test_what_was_begun_in_an_earlier_term_of_the_lease_arms_nothing() -> None:
    async def main() -> None:
        clock, asked, lapsed = VirtualClock(), 0, list[str]()

        class Venue:
            async def countdown_cancel_all(self, symbol: str, **_: float) -> None:
                nonlocal asked
                asked += 1
                await anyio.sleep(1)
                if asked > 2:
                    raise LinkDown("it does not answer any more")

        switch = DeadManSwitch(
            venue=Venue(),
            symbols=[BTC],
            countdown_seconds=60,
            timeout_seconds=3,
            clock=clock,
            may_renew=lambda: True,
            may_release=lambda: True,
            on_lapsed=lapsed.append,
            changes=Broadcast(),
        )
        async with anyio.create_task_group() as group:
            group.start_soon(switch.run)
            await anyio.sleep(0.5)
            switch.forget()
            await anyio.sleep(1)
            assert not switch.armed
            await anyio.sleep(1)
            assert switch.armed
            switch.forget()
            assert not switch.armed
            await anyio.sleep(55)
            assert lapsed == []
            await anyio.sleep(10)
            assert len(lapsed) == 1
            group.cancel_scope.cancel()

    run(main)


def test_the_gate_opens_only_once_it_is_armed() -> None:
    async def main() -> None:
        world = World()
        countdowns = 0

        def refuse(kind: str, _now_ms: int) -> Fault | None:
            nonlocal countdowns
            if kind != "cancel":
                return None
            countdowns += 1
            return Fault.refusal(-1003, "busy") if countdowns <= 5 else None

        world.venue.faults.decide = refuse
        async with world.engine() as engine:
            await anyio.sleep(4)
            assert engine.state is State.RECONCILING
            assert not engine.gate.is_open
            await engine.until_healthy()
            assert countdowns > 5
            assert world.venue.counting_down

    run(main)


def test_a_renewal_that_fails_is_made_up_for_before_the_countdown_ends() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await hold_a_position_and_rest_an_exit(engine)
            now_ms = world.venue.now_ms()
            world.venue.faults.arm("cancel", Fault.lost_request(), until_ms=now_ms + 100_000)
            await anyio.sleep(150)
            assert resting(world) == ["sell"]

    run(main)


def test_a_countdown_that_could_not_be_renewed_in_time_shuts_the_gate() -> None:
    """Everything else works; but the venue cancels what rests, and what came after would stay."""

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await hold_a_position_and_rest_an_exit(engine)
            until_ms = world.venue.now_ms() + 200_000
            world.venue.faults.arm("cancel", Fault.lost_request(), until_ms=until_ms)
            book = world.venue.book(BTC)
            while engine.gate.is_open:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            assert book.countdown_ms is not None
            assert world.venue.now_ms() <= book.countdown_ms, "before the countdown strikes"
            assert engine.history[-1].cause.startswith("exchange: the dead-man switch")
            with pytest.raises(TradingHalted):
                await engine.submit(ENTRY)
            await engine.submit(Order(BTC, "sell", "0.010", reduce_only=True))
            await anyio.sleep(30)
            assert engine.state is State.RECONCILING
            with anyio.fail_after(120):
                await engine.until_healthy()
            assert world.venue.counting_down
            assert resting(world) == []

    run(main)


def test_between_the_end_of_the_countdown_and_its_news_nothing_opens() -> None:
    """Timers of a machine that slept have slept as well; an order's write asks the clock."""

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            world.clock.suspend(130)
            assert engine.gate.is_open, "nobody has told it: the test tests nothing"
            with pytest.raises(TradingHalted, match="dead-man"):
                await engine.submit(ENTRY)

    run(main)


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_it_is_a_setting(seconds: float | None) -> None:
    async def main() -> None:
        world = World()
        async with world.engine(orders=OrderSettings(dead_man_seconds=seconds)) as engine:
            await engine.until_healthy()
            book = world.venue.book(BTC)
            if seconds is None:
                assert book.countdown_ms is None
            else:
                assert book.countdown_ms is not None
                left_ms = book.countdown_ms - world.venue.now_ms()
                assert 0 < left_ms <= Decimal(seconds) * 1000

    run(main)
