"""Resting entries are cancelled for as long as the bot may not trade, whatever gets in between."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from engine_world import BTC, World

from holdfast.errors import LinkDown
from holdfast.model import Order
from holdfast.settings import OrderSettings
from holdfast.simulation import run
from holdfast.states.table import State
from holdfast.transports.sim.faults import Fault
from holdfast.transports.sim.records import OrderTicket

RESTING = Order(BTC, "buy", "0.010", price="60000")


def test_an_entry_on_its_way_at_the_fault_does_not_rest_in_the_dark() -> None:
    async def main() -> None:
        world = World(latency_seconds=0.05)
        async with world.engine() as engine:
            await engine.until_healthy()
            async with anyio.create_task_group() as group:
                group.start_soon(engine.submit, RESTING)
                await anyio.sleep(0.02)
                world.server.down("cut")
            await anyio.sleep(10)
            assert engine.state is State.DEGRADED
            assert world.venue.open_orders() == []

    run(main)


def test_a_venue_that_comes_back_before_the_bus_is_left_with_no_entry() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(RESTING)
            world.line.set_down("cut")
            world.server.down("cut")
            await anyio.sleep(5)
            assert len(world.venue.open_orders()) == 1
            world.line.set_up()
            await anyio.sleep(10)
            assert engine.state is State.DEGRADED
            assert world.venue.open_orders() == []

    run(main)


def test_a_lost_cancel_is_sent_again_under_a_hold() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(RESTING)
            world.venue.faults.arm("cancel", Fault.lost_request())
            await engine.halt("operator")
            await anyio.sleep(60)
            assert world.venue.open_orders() == []

    run(main)


def test_while_healthy_nothing_is_cancelled() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(RESTING)
            await anyio.sleep(600)
            assert len(world.venue.open_orders()) == 1

    run(main)


@pytest.mark.parametrize("rule", ["cancel", "keep"])
def test_flatten_cancels_first(rule: str) -> None:
    """Whatever the rule: an entry that fills afterwards would undo it."""

    async def main() -> None:
        world = World()
        orders = OrderSettings(on_leaving_active=rule)  # type: ignore[arg-type]
        async with world.engine(orders=orders) as engine:
            await engine.until_healthy()
            await engine.submit(RESTING)
            await engine.halt("operator")
            await engine.flatten()
            assert world.venue.open_orders() == []
            world.venue.on_price(BTC, Decimal(59000))
            await anyio.sleep(1)
            assert engine.position(BTC) == 0

    run(main)


def test_flatten_closes_what_the_venue_holds_not_what_the_book_says() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            world.venue.place(
                OrderTicket(
                    symbol=BTC,
                    client_order_id="web_1",
                    side="buy",
                    quantity=Decimal("0.030"),
                    price=Decimal(64000),
                    foreign=True,
                )
            )
            assert engine.position(BTC) == 0
            (report,) = await engine.flatten()
            assert report.filled == Decimal("0.030")
            assert [h.quantity for _, _, h in world.venue.positions() if h.quantity] == []

    run(main)


def test_flatten_goes_by_the_book_when_the_venue_does_not_tell_its_positions() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
            await anyio.sleep(1)

            async def silent(**_: object) -> None:
                raise LinkDown("no answer")

            engine._core.exchange.positions = silent  # type: ignore[method-assign,assignment]
            (report,) = await engine.flatten()
            assert report.filled == Decimal("0.010")

    run(main)
