"""A second copy that waits for the lease is silent: no events, no fills of the first one's."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from anyio.abc import TaskStatus
from engine_world import BTC, World

from holdfast import Order, State, TradingHalted
from holdfast.journal import MemoryDisk
from holdfast.simulation import run


def test_a_standby_neither_ships_nor_counts_and_takes_over_when_the_first_is_gone() -> None:
    async def main() -> None:
        world = World()
        ended, engines = anyio.Event(), []

        async def live(*, task_status: TaskStatus[None]) -> None:
            async with world.engine() as first:
                engines.append(first)
                await first.until_healthy()
                task_status.started()
                await ended.wait()

        async with anyio.create_task_group() as group:
            await group.start(live)
            (first,) = engines
            world.disk = MemoryDisk()  # the second copy has a state folder of its own
            async with world.engine() as second:
                await anyio.sleep(5)
                assert second.state is State.DEGRADED
                with pytest.raises(TradingHalted):
                    await second.submit(Order(BTC, "buy", "0.010"))
                heard: list[object] = []
                second.on_fill(heard.append)
                await first.submit(Order(BTC, "buy", "0.010"))
                event = await second.publish("standby.said", {})
                await anyio.sleep(5)
                assert heard == []
                assert second.position(BTC) == 0
                assert event.producer not in {e.producer for e in world.events()}
                await first.submit(Order(BTC, "sell", "0.010", reduce_only=True))
                await anyio.sleep(1)
                ended.set()
                with anyio.fail_after(60):
                    await second.until_healthy()
                await anyio.sleep(1)
                assert (event.producer, event.sequence) in {
                    (e.producer, e.sequence) for e in world.events()
                }
                report = await second.submit(Order(BTC, "buy", "0.020"))
                assert report.status == "accepted"
                await anyio.sleep(1)
                assert second.position(BTC) == Decimal("0.020")

    run(main)
