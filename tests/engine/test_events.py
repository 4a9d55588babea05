"""The engine's events come back from the bus in the types that are promised."""

from __future__ import annotations

import anyio
from engine_world import BTC, World

from holdfast import Order, events
from holdfast.simulation import run


def test_every_event_of_the_engine_has_its_type_and_a_recovery_one_trace() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            report = await engine.submit(Order(BTC, "buy", "0.010"))
            await anyio.sleep(1)
            before = len(world.events())
            world.server.down("killed")
            await anyio.sleep(5)
            world.server.up()
            await engine.until_healthy()
            await anyio.sleep(1)
            await engine.publish("mine", {"any": "thing"})
        published = world.events()
        bodies = {type(events.body_of(e)) for e in published}
        assert {
            events.RedisLost,
            events.RedisRecovered,
            events.TransitionMade,
            events.PolicyChanged,
            events.FillCounted,
            events.PositionsReconciled,
            type(None),
        } <= bodies
        fill = next(e for e in published if e.type == "execution.fill")
        assert fill.trace_id == report.client_order_id
        outage = [e for e in published[before:] if e.type != "mine"]
        assert len({e.trace_id for e in outage}) == 1
        assert outage[0].trace_id != published[0].trace_id

    run(main)
