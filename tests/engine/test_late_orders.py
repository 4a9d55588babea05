"""What changes between the decision and the write is asked for at the write."""

from __future__ import annotations

from decimal import Decimal
from math import inf
from typing import Any

import anyio
import pytest
from engine_world import BTC, Delayed, World

from holdfast import Limits, Mode, Order, OrderReport, Policy, Rejected, State, TradingHalted
from holdfast.journal import MemoryJournal
from holdfast.settings import PolicySettings
from holdfast.simulation import run

EXIT = Order(BTC, "sell", "0.010", reduce_only=True)


def test_an_exit_is_not_written_once_the_lease_has_run_out_by_the_clock() -> None:
    """Its keeper's timers may not have run yet: the floor of the gate still says REDUCING."""

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "buy", "0.010"))
            engine.fault("test", "the gate is shut, exits pass")
            engine._core.lease._expires_at = -inf
            with pytest.raises(TradingHalted, match="lease"):
                await engine.submit(EXIT)
            assert len(world.venue.order_log) == 1

    run(main)


def test_an_entry_whose_journalling_took_longer_than_its_deadline_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stalls = 0.0

    def slow(self: MemoryJournal, *arguments: Any, **named: Any) -> Delayed:
        return Delayed(append(self, *arguments, **named), before=lambda: anyio.sleep(stalls))

    append = MemoryJournal.append
    monkeypatch.setattr(MemoryJournal, "append", slow)

    async def main() -> None:
        nonlocal stalls
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "buy", "0.010"))
            stalls = 15.0
            with pytest.raises(TradingHalted, match="deadline"):
                await engine.submit(Order(BTC, "buy", "0.010", key="late"))
            assert len(world.venue.order_log) == 1
            stalls = 0.0  # nothing was sent, so its key is free
            await engine.submit(Order(BTC, "buy", "0.010", key="late"))
            assert len(world.venue.order_log) == 2

    run(main)


def test_orders_on_their_way_count_as_filled_in_the_position_limit() -> None:
    async def main() -> None:
        world = World(latency_seconds=0.5)
        limited = Policy(Mode.NORMAL, Limits(max_position_notional=Decimal(1000)))
        ended: list[OrderReport | Rejected] = []

        async def buy(engine: Any) -> None:
            try:
                ended.append(await engine.submit(Order(BTC, "buy", "0.010", price="60000")))
            except Rejected as error:
                ended.append(error)

        async with world.engine(policy=PolicySettings(initial=limited)) as engine:
            await engine.until_healthy()
            async with anyio.create_task_group() as group:
                group.start_soon(buy, engine)
                await anyio.sleep(0.1)
                group.start_soon(buy, engine)
            assert [type(e) for e in ended] == [Rejected, OrderReport]
            assert len(world.venue.order_log) == 1

    run(main)


def test_under_the_mode_halt_no_entry_rests_and_exits_stay() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "buy", "0.010"))
            await engine.submit(Order(BTC, "buy", "0.010", price="60000"))
            await engine.submit(Order(BTC, "sell", "0.010", price="70000", reduce_only=True))
            await engine.set_policy(Policy(Mode.HALT))
            await anyio.sleep(5)
            assert engine.state is State.HEALTHY
            assert [order.side for order in world.venue.open_orders()] == ["sell"]

    run(main)


def test_a_venue_that_asks_for_silence_is_not_audited() -> None:
    async def main() -> None:
        world = World()
        asked: list[str] = []

        def watch(kind: str, _now_ms: int) -> None:
            asked.append(kind)

        async with world.engine() as engine:
            await engine.until_healthy()
            world.venue.faults.decide = watch
            engine._core.execution.silence.keep(120.0)
            await anyio.sleep(110)
            assert "snapshot" not in asked
            await anyio.sleep(60)
            assert "snapshot" in asked

    run(main)
