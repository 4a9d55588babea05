"""The audit of an engine whose bot never stops trading."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC, World

from holdfast.engine import Engine
from holdfast.errors import HoldfastError
from holdfast.model import Order, Position
from holdfast.settings import ReconcileSettings
from holdfast.simulation import run
from holdfast.states.table import State
from holdfast.transports.sim.records import OrderTicket

EVERY_SECONDS = 0.04
"""Between two orders of the bot: shorter than a look at the venue."""


@asynccontextmanager
async def trading(engine: Engine, *, sides: str = "buy sell") -> AsyncIterator[None]:
    """Inside, a bot places one market order after the other, filled at once or refused."""

    async def trade() -> None:
        number = 0
        while True:
            side: Any = sides.split()[number % len(sides.split())]
            number += 1
            with suppress(HoldfastError):
                await engine.submit(Order(BTC, side, "0.010"))
            await anyio.sleep(EVERY_SECONDS)

    async with anyio.create_task_group() as group:
        group.start_soon(trade)
        yield
        group.cancel_scope.cancel()


def by_hand(world: World, quantity: str, **changes: Any) -> None:
    """The owner trades at the venue, and the stream loses both reports of it."""
    world.venue.faults.arm_stream("drop", count=2)
    world.venue.place(
        OrderTicket(
            symbol=BTC,
            client_order_id="web_1",
            side="buy",
            quantity=Decimal(quantity),
            price=None,
            foreign=True,
            **changes,
        )
    )


def entered(engine: Engine, state: State) -> int:
    return sum(moment.step.dest is state for moment in engine._core.recovery.history)


@pytest.mark.parametrize("sides", ["buy sell", "buy buy buy sell"])
@pytest.mark.parametrize("quantity", ["0.003", "0.010", "0.020"])
def test_a_position_that_drifted_at_the_venue_is_found(sides: str, quantity: str) -> None:
    async def main() -> None:
        world = World(latency_seconds=0.03)
        async with world.engine() as engine:
            await engine.until_healthy()
            async with trading(engine, sides=sides):
                await anyio.sleep(3)
                by_hand(world, quantity)
                assert engine.state is State.HEALTHY, "nobody has told"
                with anyio.fail_after(150):
                    await engine.until(State.RECONCILING)
                await anyio.sleep(10)
            (told,) = engine.status()["differences"]
            assert "position" in told or told.startswith(("size_mismatch", "side_flip"))
            at_venue = sum(h.quantity for _, _, h in world.venue.positions())
            assert at_venue - engine.position(BTC) == Decimal(quantity)

    run(main)


@pytest.mark.parametrize("sides", ["buy sell", "buy"])
def test_equal_books_are_found_equal_without_the_gate_being_shut(sides: str) -> None:
    async def main() -> None:
        world = World(latency_seconds=0.03)
        async with world.engine() as engine:
            await engine.until_healthy()
            entries = entered(engine, State.RECONCILING)
            async with trading(engine, sides=sides):
                await anyio.sleep(100)
            assert entered(engine, State.RECONCILING) == entries
            assert len(world.venue.order_log) > 1000, "the bot has traded all the time"

    run(main)


def test_orders_that_come_and_go_during_a_look_are_no_difference() -> None:
    """Nor do they put the verdict off until the patience is at its end."""

    async def main() -> None:
        world = World(latency_seconds=0.03)
        settings = ReconcileSettings(unaudited_patience_seconds=35)

        async def quote(engine: Engine, pace_seconds: float) -> None:
            while True:
                resting = await engine.submit(Order(BTC, "buy", "0.010", price="60000"))
                await anyio.sleep(pace_seconds)
                await engine.cancel(BTC, resting.client_order_id)

        async with world.engine(reconcile=settings) as engine:
            await engine.until_healthy()
            entries = entered(engine, State.RECONCILING)
            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(quote, engine, EVERY_SECONDS * (1 + number / 7))
                await anyio.sleep(70)
                group.cancel_scope.cancel()
            assert entered(engine, State.RECONCILING) == entries
            assert len(world.venue.order_log) > 1000

    run(main)


def test_a_symbol_that_no_look_can_tell_is_compared_with_the_gate_shut() -> None:
    """What the venue says lags behind by one order, whenever the bot trades."""

    async def main() -> None:
        world = World(latency_seconds=0.03)
        settings = ReconcileSettings(unaudited_patience_seconds=70)
        async with world.engine(reconcile=settings) as engine:
            await engine.until_healthy()
            client = engine._core.exchange
            positions = client.positions

            async def behind(*, timeout_seconds: float) -> list[Position]:
                said = await positions(timeout_seconds=timeout_seconds)
                last = world.venue.order_log[-1]
                if (world.clock.time_ns() - last.accepted_ns) / 1e9 > 0.2:
                    return said
                return [Position(BTC, p.quantity - Decimal("0.010")) for p in said]

            client.positions = behind  # type: ignore[method-assign]
            async with trading(engine, sides="buy"):
                began = world.clock.monotonic()
                with anyio.fail_after(200):
                    await engine.until(State.RECONCILING)
                assert world.clock.monotonic() - began > 70
                cause = engine._core.recovery.history[-1].step.cause
                assert "no look was quiet enough" in cause
                with anyio.fail_after(5):
                    await engine.until_healthy()

    run(main)


def test_a_bot_faster_than_its_audits_has_its_fills_compared_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or the ids of its older fills would be let go before they were."""
    kept = 100
    monkeypatch.setattr("holdfast.book.MAX_COUNTED", kept)

    async def main() -> None:
        world = World(latency_seconds=0.0)
        settings = ReconcileSettings(audit_seconds=3600)
        async with world.engine(reconcile=settings) as engine:
            await engine.until_healthy()
            entries = entered(engine, State.RECONCILING)
            book, most = engine._core.ledger.book, 0
            for number in range(5 * kept):
                await engine.submit(Order(BTC, "sell" if number % 2 else "buy", "0.010"))
                most = max(most, len(book.counted_ids()))
                if not number % 10:
                    await anyio.sleep(0.1)
            assert kept // 2 <= most < kept
            assert entered(engine, State.RECONCILING) == entries
            assert book.synced[BTC] > 4 * kept

    run(main)
