"""The wait before an order is sent again: from the failure on, not from the attempt."""

from __future__ import annotations

from engine_world import BTC, World

from holdfast.model import Order
from holdfast.simulation import run
from holdfast.transports.sim.faults import Fault, RequestKind


def test_a_venue_that_is_slow_to_say_it_is_overloaded_is_left_alone_for_the_whole_wait() -> None:
    async def main() -> None:
        world = World()
        clock = world.clock
        attempts: list[float] = []
        slow = Fault(
            executes=False, reply="error", status=503, code=-1008, delay_before_seconds=1.5
        )

        def decide(kind: RequestKind, _now_ms: int) -> Fault | None:
            if kind != "place":
                return None
            attempts.append(clock.monotonic())
            return slow if len(attempts) < 3 else None

        async with world.engine() as engine:
            await engine.until_healthy()
            world.venue.faults.decide = decide
            report = await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
        assert report.attempts == 3
        first, second, third = attempts
        assert second - first >= 1.5 + 1.0
        assert third - second >= 1.5 + 2.0

    run(main)
