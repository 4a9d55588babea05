"""What is wrong with the declared symbols is told by name; listeners are plain functions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC, World

from holdfast import Bar, State
from holdfast.ports import MarketWatch, Subscription
from holdfast.simulation import run
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


def test_a_symbol_that_the_venue_does_not_list_is_named_and_nothing_trades() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(symbols=(BTC, "ETH/USDT")) as engine:
            await anyio.sleep(120)
            assert engine.state is State.RECONCILING
            assert not engine.gate.is_open
            (reason,) = engine.waiting_for
            assert "engine.symbols" in reason
            assert "'ETH/USDT'" in reason
            assert f"did you mean {ETH!r}" in reason

    run(main)


def test_orders_of_ours_in_undeclared_symbols_are_named_and_left_alone() -> None:
    async def main() -> None:
        world = World()
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
            assert len(world.venue.open_orders()) == 1

    run(main)


@pytest.mark.parametrize("name", ["on_transition", "on_fill", "on_alert", "on_market"])
def test_an_asynchronous_listener_is_refused(name: str) -> None:
    async def main() -> None:
        world = World()

        async def listener(_told: Any) -> None: ...

        async with world.engine(market_data=QuietMarket()) as engine:
            with pytest.raises(TypeError, match="asynchronous"):
                getattr(engine, name)(listener)

    run(main)
