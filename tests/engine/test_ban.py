"""A venue that asks for silence is left alone until it is over."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from engine_world import BTC, World

from holdfast import NotExecuted, Order
from holdfast.settings import ReconcileSettings
from holdfast.simulation import run
from holdfast.transports.sim.faults import Fault
from holdfast.transports.sim.records import OrderTicket

BAN_SECONDS = 120.0
BAN = Fault(
    executes=False,
    reply="error",
    status=418,
    code=-1003,
    message="banned",
    retry_after_seconds=BAN_SECONDS,
)
OTHERS = OrderTicket(
    symbol=BTC, client_order_id="web_1", side="buy", quantity=Decimal("0.010"), foreign=True
)


def test_nothing_is_asked_of_a_venue_that_has_banned_us() -> None:
    async def main() -> None:
        world = World()
        asked: list[str] = []
        banned_until = float("inf")

        def decide(kind: str, _now_ms: int) -> Fault | None:
            asked.append(kind)
            return BAN if world.clock.monotonic() < banned_until else None

        async with world.engine() as engine:
            await engine.until_healthy()
            banned_until = world.clock.monotonic() + BAN_SECONDS
            world.venue.faults.decide = decide
            with pytest.raises(NotExecuted):
                await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
            assert asked == ["place"]
            await anyio.sleep(BAN_SECONDS - 5)
            assert asked == ["place"]
            assert any("silence" in why for why in engine.waiting_for)
            with anyio.fail_after(30):
                await engine.until_healthy()

    run(main)


def test_books_are_not_compared_while_the_venue_asks_for_silence() -> None:
    """An exit was answered with it, while a difference waits for a person."""

    async def main() -> None:
        world = World()
        asked: list[str] = []
        throttled = Fault(
            executes=False, reply="error", status=429, code=-1015, retry_after_seconds=20
        )

        def decide(kind: str, _now_ms: int) -> Fault | None:
            asked.append(kind)
            return throttled if kind == "place" else None

        async with world.engine(reconcile=ReconcileSettings(audit_seconds=2.0)) as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
            world.venue.place(OTHERS)
            await anyio.sleep(2)
            assert engine.status()["differences"]
            world.venue.faults.decide = decide
            with pytest.raises(NotExecuted):
                await engine.submit(
                    Order(BTC, "sell", "0.010", reduce_only=True, deadline_seconds=1.0)
                )
            await anyio.sleep(15)
            assert asked == ["place"]
            assert any("silence" in why for why in engine.waiting_for)
            await anyio.sleep(10)
            assert "snapshot" in asked

    run(main)


def test_a_way_up_that_keeps_failing_is_gone_ever_more_slowly() -> None:
    async def main() -> None:
        world = World()
        asked: list[str] = []
        refusing = True

        def decide(kind: str, _now_ms: int) -> Fault | None:
            asked.append(kind)
            if kind == "snapshot" and refusing:
                return Fault.refusal(-1003, "Too many requests", status=429)
            return None

        world.venue.faults.decide = decide
        async with world.engine() as engine:
            await anyio.sleep(60)
            assert asked.count("snapshot") < 60
            refusing = False
            with anyio.fail_after(15):
                await engine.until_healthy()
            world.server.down("killed")
            await anyio.sleep(10)
            world.server.up()
            with anyio.fail_after(1):
                await engine.until_healthy()  # a fault that is over is recovered from at once

    run(main)
