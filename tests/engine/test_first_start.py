"""Where counting begins on an account with a past, and that nothing later is passed over."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from engine_world import BTC, World

from holdfast.model import Order
from holdfast.settings import OrderSettings
from holdfast.simulation import run
from holdfast.transports.sim import SimExecutionClient
from holdfast.transports.sim.records import OrderTicket

ETH = "ETH/USDT:USDT"
RESTING = Order(BTC, "buy", "0.010", price="60000")
KEEP = OrderSettings(on_leaving_active="keep")


@pytest.fixture
def asked_after(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The trade ids after which fills were asked for."""
    ids: list[int] = []
    fills = SimExecutionClient.fills

    async def noted(
        self: SimExecutionClient, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> object:
        ids.append(after_trade_id)
        return await fills(
            self, symbol, after_trade_id=after_trade_id, timeout_seconds=timeout_seconds
        )

    monkeypatch.setattr(SimExecutionClient, "fills", noted)
    return ids


def live_a_past(world: World, *, trades: int = 40) -> int:
    """Trade to and fro under the bot's own prefix, leave nothing; the newest trade id."""
    for number in range(trades):
        world.venue.place(
            OrderTicket(
                symbol=BTC,
                client_order_id=f"hf-alpha-past-{number}",
                side="sell" if number % 2 else "buy",
                quantity=Decimal("0.010"),
                price=None,
            )
        )
    return world.venue.book(BTC).trades[-1].trade_id


def test_a_first_start_asks_for_no_fill_of_the_past(asked_after: list[int]) -> None:
    async def main() -> None:
        world = World()
        newest = live_a_past(world)
        async with world.engine() as engine:
            await engine.until_healthy()
            await anyio.sleep(120)
        assert asked_after
        assert set(asked_after) == {newest}
        assert [e for e in world.events() if e.type == "execution.fill"] == []

    run(main)


@pytest.mark.parametrize("past", [0, 40])
def test_a_fill_of_the_first_life_is_found_by_the_second(past: int) -> None:
    """Also where the account had no trade at all when counting began."""

    async def main() -> None:
        world = World()
        if past:
            live_a_past(world, trades=past)
        async with world.killed(orders=KEEP) as engine:
            await engine.until_healthy()
            await engine.submit(RESTING)
        world.venue.on_price(BTC, Decimal(59000))
        async with world.engine(orders=KEEP) as engine:
            told: list[str] = []
            engine.on_fill(lambda fill: told.append(fill.client_order_id))
            await engine.until_healthy()
            assert len(told) == 1
            assert engine.position(BTC) == Decimal("0.010")

    run(main)


def test_a_symbol_declared_later_begins_where_it_is(asked_after: list[int]) -> None:
    """What was traded in it before is not counted, though it carries the bot's prefix."""

    async def main() -> None:
        world = World()
        world.venue.on_price(ETH, Decimal(3000))
        newest = live_a_past(world)
        async with world.engine(symbols=(ETH,)) as engine:
            await engine.until_healthy()
        asked_after.clear()
        async with world.engine(symbols=(ETH, BTC)) as engine:
            await engine.until_healthy()
            await anyio.sleep(60)
            assert engine.position(BTC) == 0
        assert set(asked_after) == {0, newest}
        assert [e for e in world.events() if e.type == "execution.fill"] == []

    run(main)
