"""How long an exit is tried: until a decision ends it, and no mishap does."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC, World
from order_rig import ENTRY, EXIT, OVERLOADED, Rig, healthy

from holdfast.errors import NotExecuted, OutcomeUnknown, TradingHalted
from holdfast.model import Order
from holdfast.simulation import run
from holdfast.states.table import Level
from holdfast.transports.sim import Fault

UNANSWERED = Fault(executes=False, reply="error", status=503)


def later(rig: Rig, act: Any, *, seconds: float = 0.5) -> Any:
    async def task() -> None:
        await anyio.sleep(seconds)
        done = act()
        if done is not None:
            await done

    return task


@pytest.mark.parametrize("outage_seconds", [0.1, 300.0])
@pytest.mark.parametrize("lost", ["between the attempts", "before the write"])
def test_an_exit_outlives_an_outage_of_the_venue(lost: str, outage_seconds: float) -> None:
    """The trader wants out when the line is back as much as before."""

    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        line, engine = rig.world.line, rig.engine
        rig.fail("place", OVERLOADED)
        if lost == "before the write":
            place, asked = engine._core.exchange.place, 0

            async def cut_off(request: Any, **known: Any) -> Any:
                nonlocal asked
                asked += 1
                if asked == 2:
                    line.set_down("cut")
                return await place(request, **known)

            engine._core.exchange.place = cut_off  # type: ignore[method-assign]
        else:
            later_down = later(rig, lambda: line.set_down("cut"))
        async with anyio.create_task_group() as group:
            if lost == "between the attempts":
                group.start_soon(later_down)
            group.start_soon(later(rig, line.set_up, seconds=1.5 + outage_seconds))
            report = await engine.submit(EXIT)
        assert report.status == "accepted"
        await engine.until_healthy()
        assert engine.position(BTC) == Decimal("0.006")
        assert len(rig.orders) == 2
        rig.assert_clean()

    healthy(body)


@pytest.mark.parametrize("by", ["operator", "lease"])
def test_a_decision_ends_an_exit(by: str) -> None:
    """A halt is a person's word that nothing is to be sent; without the lease the position may be
    another instance's."""

    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        rig.fail("place", *[OVERLOADED] * 500)
        engine, server = rig.engine, rig.world.server

        def another_holds_the_lease() -> None:
            server.down("gone")
            engine._core.lease.fenced()

        act: Any = another_holds_the_lease
        if by == "operator":
            act = lambda: engine.halt("enough")  # noqa: E731
        async with anyio.create_task_group() as group:
            group.start_soon(later(rig, act))
            with pytest.raises(NotExecuted, match=by):
                await engine.submit(EXIT)
        sent = len(rig.seconds("place"))
        await anyio.sleep(60)
        assert len(rig.seconds("place")) == sent
        assert engine.level() is Level.HALTED
        with pytest.raises(TradingHalted, match=by):
            await engine.submit(EXIT)

    healthy(body)


def test_its_own_deadline_ends_the_wait_for_the_venue() -> None:
    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        rig.fail("place", OVERLOADED)
        began = rig.world.clock.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(later(rig, lambda: rig.world.line.set_down("cut")))
            with pytest.raises(NotExecuted, match="deadline: the venue can not be reached"):
                await rig.engine.submit(
                    Order(BTC, "sell", "0.004", reduce_only=True, deadline_seconds=20)
                )
        assert rig.world.clock.monotonic() - began == pytest.approx(20, abs=0.1)

    healthy(body)


def test_the_end_of_the_engine_ends_the_wait_for_the_venue() -> None:
    ended: list[str] = []

    async def main() -> None:
        world = World()

        async def exits(engine: Any) -> None:
            with pytest.raises(NotExecuted) as error:
                await engine.submit(EXIT)
            ended.append(error.value.reason)

        async with anyio.create_task_group() as group, world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(ENTRY)
            world.venue.faults.arm("place", OVERLOADED)
            group.start_soon(exits, engine)
            await anyio.sleep(0.5)
            world.line.set_down("cut")
            await anyio.sleep(30)
            assert not ended

    run(main)
    assert len(ended) == 1


@pytest.mark.parametrize("plain", [True, False])
def test_what_is_unknown_is_waited_for_as_the_order_says_what_it_is(plain: bool) -> None:
    """A plain order that closes a position could open one: it has an entry's deadline. What can
    only reduce waits for the evidence, and is sent again if it is not there."""

    async def body(rig: Rig) -> None:
        engine = rig.engine
        await engine.submit(ENTRY)
        await anyio.sleep(1)
        rig.asked.clear()
        rig.fail("place", Fault.lost_request())
        rig.fail("query", *[UNANSWERED] * 20)
        began = rig.world.clock.monotonic()
        order = Order(BTC, "sell", "0.004", price="64000", reduce_only=not plain)
        if plain:
            with pytest.raises(OutcomeUnknown):
                await engine.submit(order)
            assert rig.world.clock.monotonic() - began == pytest.approx(10, abs=0.1)
            assert engine.level(BTC) is Level.REDUCING
            assert (await engine.submit(EXIT)).status == "accepted", "getting out is possible"
        else:
            assert (await engine.submit(order)).attempts == 2
            assert rig.world.clock.monotonic() - began > 30
        await anyio.sleep(300)
        assert engine.position(BTC) == Decimal("0.006")
        rig.assert_clean()

    healthy(body)
