"""What is wrong with the declared symbols is told by name; listeners are plain functions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC, World, healthy, in_a_world

from holdfast import Bar, Order, State
from holdfast.cli.switches import _status_lines
from holdfast.ports import MarketWatch, Subscription
from holdfast.transports.sim.records import OrderTicket

ETH = "ETH/USDT:USDT"


class QuietMarket:
    """Market data that never come."""

    name = "market"

    async def run(self, watch: MarketWatch, subscription: Subscription) -> None:
        await anyio.sleep_forever()

    async def probe(self) -> None: ...

    async def bars(self, *_: Any, **__: Any) -> list[Bar]:
        return []


@in_a_world
async def test_symbols_that_the_venue_does_not_list_are_named_and_nothing_trades(
    world: World,
) -> None:
    async with world.engine(symbols=(BTC, "ETH/USDT", "XYZ/ABC:ABC")) as engine:
        await anyio.sleep(120)
        assert engine.state is State.RECONCILING
        assert not engine.gate.is_open
        (reason,) = engine.waiting_for
        assert "engine.symbols" in reason
        assert "'ETH/USDT'" in reason
        assert f"did you mean {ETH!r}" in reason
        assert "'XYZ/ABC:ABC'" in reason


@in_a_world
async def test_orders_of_ours_in_undeclared_symbols_are_named_and_left_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.venue.on_price(ETH, Decimal(3200))
    left = OrderTicket(
        symbol=ETH,
        client_order_id="hf-alpha-of-another-life",
        side="buy",
        quantity=Decimal("0.010"),
        price=Decimal(3000),
    )
    world.venue.place(left)
    async with world.engine() as engine:
        await engine.until_healthy()
        (named,) = engine.status()["undeclared_orders"]
        assert left.client_order_id in named
        assert ETH in named
        (warned,) = [r for r in caplog.records if "does not declare" in r.message]
        assert warned.__dict__["orders"] == (named,)
        assert len(world.venue.open_orders()) == 1


@pytest.mark.parametrize("name", ["on_transition", "on_fill", "on_alert", "on_market"])
@in_a_world
async def test_an_asynchronous_listener_is_refused(world: World, name: str) -> None:
    async def listener(_told: Any) -> None: ...

    async with world.engine(market_data=QuietMarket()) as engine:
        with pytest.raises(TypeError, match="asynchronous"):
            getattr(engine, name)(listener)


@in_a_world
async def test_a_position_whose_symbol_is_declared_no_more_is_told(world: World) -> None:
    world.venue.on_price(ETH, Decimal(3000))
    async with world.engine(symbols=(BTC, ETH)) as engine:
        await healthy(engine)
        await engine.submit(Order(ETH, "buy", "1"))
        await anyio.sleep(1)
        assert engine.status()["undeclared_positions"] == {}
    async with world.engine() as engine:
        await healthy(engine)
        status = engine.status()
        assert status["undeclared_positions"] == {ETH: "1"}
        (line,) = [line for line in _status_lines(status) if "unwatched" in line]
        assert f"{ETH} 1: held by this bot" in line
