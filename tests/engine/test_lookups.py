"""What the engine tells of an order by any of its names, and what it refuses beforehand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC, World
from msgspec.structs import replace

from holdfast import InvalidOrder, NotExecuted, Order, OutcomeUnknown, TradingHalted, simulation
from holdfast.ledger import Ledger
from holdfast.model import OrderReport, OrderSnapshot, OrderStatus
from holdfast.records import OrderSeen, Resolved
from holdfast.transports.sim import Fault

D = Decimal


def test_an_order_goes_by_three_names() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            report = await engine.submit(Order(BTC, "buy", "0.010", "60000", key="entry"))
            cid, number = report.client_order_id, report.venue_order_id
            assert number is not None
            for name in ("entry", cid, number):
                assert engine.identify(BTC, name) == cid
            assert engine.identify("ETH/USDT:USDT", "entry") is None
            assert engine.identify("ETH/USDT:USDT", number) is None
            assert engine.identify(BTC, "another") is None
            assert engine.identify(BTC, "web_1") is None
            # Ours by its beginning, even if the engine has forgotten it.
            assert engine.identify(BTC, "hf-alpha-old-0-1") == "hf-alpha-old-0-1"
            assert engine.outcome("entry") == report
            assert engine.outcome("another") is None
            await engine.cancel(BTC, cid)
            outcome = engine.outcome("entry")
            assert outcome is not None
            assert outcome.order_status is OrderStatus.CANCELED
            assert engine.identify(BTC, "entry") == cid
            assert engine.identify(BTC, number) is None  # known only while it rests

    simulation.run(main)


def test_what_is_pending_has_no_outcome_yet() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            world.venue.faults.arm("place", Fault.lost_reply())
            world.venue.faults.arm("query", Fault.lost_request(), count=1_000)
            world.venue.faults.arm_stream("drop", count=1_000)
            with pytest.raises(OutcomeUnknown) as unknown:
                await engine.submit(Order(BTC, "buy", "0.010", "60000", key="entry"))
            assert engine.pending() == engine.pending(BTC) == [unknown.value.intent]
            assert engine.pending("ETH/USDT:USDT") == []
            assert engine.outcome("entry") is None
            assert engine.identify(BTC, "entry") == unknown.value.intent.client_order_id
            world.venue.faults.clear()
            with anyio.fail_after(60):
                await unknown.value.resolved()
            assert engine.pending() == []

    simulation.run(main)


def test_a_check_refuses_what_a_submit_would_and_writes_nothing() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            engine.check(Order(BTC, "buy", "0.010", "60000"))
            wrong: list[dict[str, Any]] = [{"symbol": "ETH/USDT:USDT"}, {"quantity": "0.0105"}]
            for values in wrong:
                with pytest.raises(InvalidOrder):
                    engine.check(Order(**{"symbol": BTC, "side": "buy", "quantity": "1", **values}))
            written = engine.status()["journal"]["records"]
            await engine.halt("by the test")
            halted = engine.status()["journal"]["records"]
            with pytest.raises(TradingHalted, match="by the test"):
                engine.check(Order(BTC, "buy", "0.010", "60000"))
            assert world.venue.order_log == []
            assert written < halted
            assert engine.pending() == []

    simulation.run(main)


def test_a_key_remembers_all_that_its_order_is_told_by() -> None:
    """Number, limit and time: in a checkpoint too, and the latest of them."""
    ledger = Ledger(keys_kept=100)
    snapshot = OrderSnapshot(
        BTC, "c1", "17", "buy", D("0.02"), D(60_000), D(0), OrderStatus.OPEN, updated_ms=5
    )
    report = OrderReport(
        "c1",
        BTC,
        "buy",
        D("0.02"),
        "accepted",
        venue_order_id="17",
        order_status=OrderStatus.OPEN,
        key="entry",
        price=D(60_000),
        updated_ms=5,
    )
    ledger.apply(Resolved(report, snapshot))
    other = Ledger(keys_kept=100)
    other.restore(ledger.checkpoint())
    kept = other.keyed["entry"]
    assert (kept.venue_order_id, kept.price, kept.updated_ms) == ("17", D(60_000), 5)
    assert other.client_order_id(BTC, "17") == "c1"
    other.apply(OrderSeen(replace(snapshot, filled=D("0.01"), updated_ms=9)))
    assert (other.keyed["entry"].filled, other.keyed["entry"].updated_ms) == (D("0.01"), 9)


def test_a_try_that_failed_is_an_outcome() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            overloaded = Fault.refusal(-1008, "Server is overloaded.", status=503)
            world.venue.faults.arm("place", overloaded, count=100)
            with pytest.raises(NotExecuted):
                await engine.submit(Order(BTC, "buy", "0.010", key="entry"))
            outcome = engine.outcome("entry")
            assert outcome is not None
            assert outcome.status == "not_executed"

    simulation.run(main)
