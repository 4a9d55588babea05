"""The way of one order, one event and one fault, through all real parts in virtual time."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from engine_world import BTC, World, healthy, in_a_world

from holdfast.errors import TradingHalted
from holdfast.model import Order
from holdfast.simulation import run
from holdfast.states.table import State, Trigger
from holdfast.transports.sim.faults import Fault


def test_cold_start_order_event_fault_and_recovery() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            assert engine.state is State.DEGRADED
            with pytest.raises(TradingHalted):
                engine.gate.check()
            with anyio.fail_after(10):
                await engine.until_healthy()
            report = await engine.submit(Order(BTC, "buy", "0.010", price="64000", key="s1"))
            assert report.status == "accepted"
            await anyio.sleep(1)
            assert engine.position(BTC) == Decimal("0.010")
            await engine.publish("trade.opened", {"order": report.client_order_id})

            world.server.down("killed")
            assert engine.state is State.DEGRADED
            with pytest.raises(TradingHalted):
                await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
            await engine.publish("trade.closed", {"order": report.client_order_id})
            exit_ = await engine.submit(
                Order(BTC, "sell", "0.004", price="64000", reduce_only=True)
            )
            assert exit_.status == "accepted"
            await anyio.sleep(60)
            assert engine.state is State.DEGRADED
            world.server.up()
            with anyio.fail_after(10):
                await engine.until_healthy()
            again = await engine.submit(Order(BTC, "buy", "0.010", price="64000", key="s1"))
            assert again.client_order_id == report.client_order_id
        types = [e.type for e in world.events()]
        assert types.index("trade.opened") < types.index("trade.closed")
        assert "system.redis_lost" in types
        recovered = next(e for e in world.events() if e.type == "system.redis_recovered")
        assert 60 <= recovered.body["downtime_seconds"] < 62
        assert [e.sequence for e in world.events()] == list(range(1, len(types) + 1))

    run(main)


@in_a_world
async def test_news_that_a_fallen_engine_can_do_nothing_with_does_not_keep_it_down(
    world: World,
) -> None:
    """A bot whose exit the venue refuses, again and again, while the way up makes a pause."""
    async with world.engine() as engine, anyio.create_task_group() as group:
        await healthy(engine)
        world.venue.faults.arm("snapshot", Fault.refusal(-1000, "unknown error"), count=40)

        async def insist() -> None:
            while True:
                engine._core.fire(Trigger.DIVERGED, "an exit was refused")
                await anyio.sleep(0.5)

        engine.fault("feed", "gone")
        while engine._core.recovery.failed_climbs < 8:  # noqa: ASYNC110  virtual time
            await anyio.sleep(0.01)
        world.venue.faults.clear()
        group.start_soon(insist)
        await healthy(engine)
        group.cancel_scope.cancel()
