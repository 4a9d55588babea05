"""Market orders under a notional limit are judged by a price that was asked for."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from engine_world import BTC, World

from holdfast import Limits, Mode, Order, Policy, Rejected
from holdfast.settings import PolicySettings
from holdfast.simulation import run

LIMITED = PolicySettings(initial=Policy(Mode.NORMAL, Limits(max_order_notional=Decimal(1000))))


def test_market_order_is_judged_by_the_venues_last_price() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(policy=LIMITED) as engine:
            await engine.until_healthy()
            report = await engine.submit(Order(BTC, "buy", "0.015"))  # 960 at 64,000
            assert report.status == "accepted"
            with pytest.raises(Rejected, match="notional 1024"):
                await engine.submit(Order(BTC, "buy", "0.016"))
            world.venue.on_price(BTC, Decimal(70_000))
            await anyio.sleep(60)
            with pytest.raises(Rejected, match="notional 1050"):
                await engine.submit(Order(BTC, "buy", "0.015"))

    run(main)


POSITION_LIMITED = PolicySettings(
    initial=Policy(Mode.NORMAL, Limits(max_position_notional=Decimal(6500)))
)


def test_a_resting_order_of_the_other_side_makes_no_room() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(policy=POSITION_LIMITED) as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "sell", "0.1", price="65000"))
            with pytest.raises(Rejected, match="position notional"):
                await engine.submit(Order(BTC, "buy", "0.2", price="64000"))

    run(main)


def test_a_sell_is_worth_what_it_would_be_filled_at() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(policy=LIMITED) as engine:
            await engine.until_healthy()
            with pytest.raises(Rejected, match="notional 6400"):
                await engine.submit(Order(BTC, "sell", "0.1", price="1000"))

    run(main)
