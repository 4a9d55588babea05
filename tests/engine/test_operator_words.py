"""An emergency switch does not succeed at nothing, and wrong words do not leave the gate open."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from engine_world import BTC, World

from holdfast import InvalidOrder, Limits, Mode, Order, Policy, State, TradingHalted
from holdfast.settings import PolicySettings
from holdfast.simulation import run
from holdfast.transports.sim.faults import Fault


def test_flatten_of_a_symbol_that_is_not_declared_is_refused_by_name() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "buy", "0.010"))
            with pytest.raises(InvalidOrder, match=r"^symbol: 'BTC/USDT' .*did you mean"):
                await engine.flatten("BTC/USDT")
            assert engine.state is State.HEALTHY

    run(main)


@pytest.mark.parametrize("reason", [None, 5, "\ud800"])
def test_a_halt_shuts_the_gate_whatever_its_reason_is(reason: Any) -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.halt(reason)
            assert not engine.gate.is_open
            assert engine.status()["hold"] is not None

    run(main)


def test_a_sell_whose_worth_nobody_knows_waits_for_a_price() -> None:
    async def main() -> None:
        world = World()
        limited = Policy(Mode.NORMAL, Limits(max_order_notional=Decimal(1000)))
        async with world.engine(policy=PolicySettings(initial=limited)) as engine:
            await engine.until_healthy()
            world.venue.faults.decide = lambda kind, _now: (
                Fault.refusal(-1003, "busy") if kind == "snapshot" else None
            )
            with pytest.raises(TradingHalted, match="nobody knows"):
                await engine.submit(Order(BTC, "sell", "1", price="1000"))
            assert world.venue.order_log == []

    run(main)
