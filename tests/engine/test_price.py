"""Market orders under a notional limit are judged by a price that was asked for."""

from __future__ import annotations

from decimal import Decimal

import anyio
import msgspec
import pytest
from engine_world import BTC, World

from holdfast import Limits, LinkDown, Mode, Order, Policy, Rejected, TradingHalted
from holdfast.settings import PolicySettings
from holdfast.simulation import run
from holdfast.transports.sim import SimExecutionClient

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


@pytest.mark.parametrize("answer", [None, "0", "-1", "NaN", "Infinity"])
@pytest.mark.parametrize(
    "order", [Order(BTC, "buy", "0.015"), Order(BTC, "sell", "0.015", price="60000")]
)
def test_an_order_whose_worth_nobody_knows_is_held_back_until_there_is_a_price(
    order: Order, answer: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_price = SimExecutionClient.last_price
    answers = [answer]

    async def told(client: SimExecutionClient, symbol: str, *, timeout_seconds: float) -> Decimal:
        if not answers:
            return await last_price(client, symbol, timeout_seconds=timeout_seconds)
        if (price := answers.pop()) is None:
            raise LinkDown("no answer")
        return Decimal(price)

    monkeypatch.setattr(SimExecutionClient, "last_price", told)

    async def main() -> None:
        world = World()
        async with world.engine(policy=LIMITED) as engine:
            await engine.until_healthy()
            keyed = msgspec.structs.replace(order, key="signal-17")
            with pytest.raises(TradingHalted, match="nobody knows what this order would be filled"):
                await engine.submit(keyed)
            assert world.venue.order_log == []
            assert engine.outcome("signal-17") is None, "nothing was sent, so its key is free"
            assert (await engine.submit(keyed)).status == "accepted"

    run(main)


def test_a_conditional_entry_is_worth_what_it_would_be_triggered_at() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(policy=LIMITED) as engine:
            await engine.until_healthy()
            for side in ("buy", "sell"):
                trigger = "stop" if side == "buy" else "take_profit"
                breakout = Order(BTC, side, "0.015", trigger=trigger, trigger_price="70000")
                with pytest.raises(Rejected, match="notional 1050"):  # 960 at 64,000
                    await engine.submit(breakout)

    run(main)


ETH = "ETH/USDT:USDT"


def test_the_limit_on_open_orders_is_the_bots_and_not_each_symbols() -> None:
    async def main() -> None:
        world = World()
        world.venue.on_price(ETH, Decimal(3000))
        two = PolicySettings(initial=Policy(Mode.NORMAL, Limits(max_open_orders=2)))
        async with world.engine(policy=two, symbols=(BTC, ETH)) as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "buy", "0.010", price="60000"))
            await engine.submit(Order(ETH, "buy", "1", price="2000"))
            for symbol, price in ((BTC, "60000"), (ETH, "2000")):
                with pytest.raises(Rejected, match="2 orders are open, 2 are allowed"):
                    await engine.submit(Order(symbol, "buy", "1", price=price))
            assert len(engine.open_orders()) == 2

    run(main)
