"""Where counting begins on an account with a past, and that nothing later is passed over."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from engine_world import BTC, World, healthy, in_a_world

from holdfast.model import Order
from holdfast.settings import OrderSettings
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


def fills_told(world: World) -> int:
    return len([e for e in world.events() if e.type == "execution.fill"])


@in_a_world
async def test_a_first_start_asks_for_no_fill_of_the_past(
    world: World, asked_after: list[int]
) -> None:
    newest = live_a_past(world)
    async with world.engine() as engine:
        await healthy(engine)
        await anyio.sleep(120)
    assert asked_after
    assert set(asked_after) == {newest - 1, newest}, "the last one: for when that was"
    assert fills_told(world) == 0


@pytest.mark.parametrize("past", [0, 40])
@in_a_world
async def test_a_fill_of_the_first_life_is_found_by_the_second(world: World, past: int) -> None:
    """Also where the account had no trade at all when counting began."""
    if past:
        live_a_past(world, trades=past)
    async with world.killed(orders=KEEP) as engine:
        await healthy(engine)
        await engine.submit(RESTING)
    world.venue.on_price(BTC, Decimal(59000))
    async with world.engine(orders=KEEP) as engine:
        await healthy(engine)
        assert engine.position(BTC) == Decimal("0.010")
    assert fills_told(world) == 1


@in_a_world
async def test_a_symbol_declared_later_begins_where_it_is(
    world: World, asked_after: list[int]
) -> None:
    """What was traded in it before is not counted, though it carries the bot's prefix."""
    world.venue.on_price(ETH, Decimal(3000))
    newest = live_a_past(world)
    async with world.engine(symbols=(ETH,)) as engine:
        await healthy(engine)
    asked_after.clear()
    async with world.engine(symbols=(ETH, BTC)) as engine:
        await healthy(engine)
        await anyio.sleep(60)
        assert engine.position(BTC) == 0
    assert set(asked_after) == {0, newest - 1, newest}
    assert fills_told(world) == 0
