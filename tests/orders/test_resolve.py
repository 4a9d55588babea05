"""Orders whose outcome no answer of the venue can tell: a person's word settles them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import msgspec
import pytest
from engine_world import World
from order_rig import BTC, ENTRY, ETH, EXIT, Rig, healthy

from holdfast.engine import Engine
from holdfast.errors import InvalidOrder, NotExecuted, OutcomeUnknown, ResolveRefused
from holdfast.model import Order, OutcomeKind, PlaceOutcome, QueryKind, QueryOutcome
from holdfast.resolution import Verdict
from holdfast.settings import OrderSettings, ReconcileSettings
from holdfast.simulation import run
from holdfast.states.table import Level, State
from holdfast.transports.sim.faults import Fault

GONE = Order(ETH, "buy", "0.010", price="64000", key="signal-1")
STOP = Order(BTC, "sell", "0.004", reduce_only=True, trigger="stop", trigger_price="60000")
UNANSWERED = [Fault.lost_request()] * 5000


def delist(world: World, symbol: str = ETH) -> None:
    """From now on the venue answers -1121 to whatever names the symbol."""
    book = world.venue.book(symbol)
    del world.venue._by_name[book.market.symbol], world.venue._by_name[book.market.name]
    del world.venue.books[book.market.name]


async def unknown(engine: Engine, order: Order) -> OutcomeUnknown:
    with pytest.raises(OutcomeUnknown) as raised:
        await engine.submit(order)
    return raised.value


@pytest.mark.parametrize("verdict", ["not_executed", "accepted"])
def test_an_order_of_a_delisted_symbol_waits_for_a_person_and_for_nothing_else(
    verdict: Verdict,
) -> None:
    async def main() -> None:
        world = World()
        world.venue.on_price(ETH, Decimal(64000))
        async with world.killed(symbols=(BTC, ETH)) as engine:
            await engine.until_healthy()
            world.venue.faults.arm("place", Fault.lost_request())
            world.venue.faults.arm("query", Fault.lost_request(), count=1000)
            cid = (await unknown(engine, GONE)).intent.client_order_id
        world.venue.faults.clear()
        delist(world)
        async with world.engine() as engine:  # the symbol is not declared any more
            await anyio.sleep(600)
            assert engine.state is State.RECONCILING
            assert any(cid in why for why in engine.waiting_for)
            (remedy,) = engine.status()["remedies"]
            assert f"holdfast resolve {cid} --not-executed" in remedy
            assert "Invalid symbol" in remedy, "what the venue says to the question"
            report = await engine.resolve(cid, verdict, reason="asked their support", by="ann")
            assert report.status == verdict
            with anyio.fail_after(60):
                await engine.until_healthy()
            status = engine.status()
            assert (status["unknown_orders"], status["remedies"]) == ([], [])
            assert engine.level(ETH) is Level.ACTIVE
        async with world.engine() as engine:  # it was written down
            await engine.until_healthy()
            kept = engine._core.ledger.keyed["signal-1"]
            assert (kept.client_order_id, kept.status) == (cid, verdict)
        told = [e.body for e in world.events() if e.type == "execution.order_resolved"]
        assert [(t["client_order_id"], t["status"]) for t in told] == [(cid, verdict)]
        assert "ann" in told[0]["evidence"]
        assert "asked their support" in told[0]["evidence"]
        assert world.venue.order_log == []

    run(main)


def test_the_key_of_a_settled_order_is_used_up() -> None:
    async def body(rig: Rig) -> None:
        keyed = Order(BTC, "buy", "0.010", price="64000", key="signal-1")
        rig.fail("place", Fault.lost_request())
        rig.fail("query", *UNANSWERED)
        cid = (await unknown(rig.engine, keyed)).intent.client_order_id
        await rig.engine.resolve(cid, "not_executed", reason="not in the history")
        with pytest.raises(NotExecuted, match="not in the history"):
            await rig.engine.submit(keyed)
        rig.plan["query"].clear()
        await rig.engine.until_healthy()
        assert rig.orders == []
        rig.assert_clean()

    healthy(body)


def test_a_stop_that_the_venue_does_not_show_is_asked_for_ever_more_slowly() -> None:
    """Its absence can not be proven, so it is not sent again and not given up."""

    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        asked: list[bool] = []

        async def vanish(*_: Any, permit: Any, **__: Any) -> PlaceOutcome:
            permit()
            return PlaceOutcome(OutcomeKind.UNKNOWN, "the connection was cut")

        async def deny(*_: Any, conditional: bool, **__: Any) -> QueryOutcome:
            asked.append(conditional)
            return QueryOutcome(QueryKind.ABSENT, reason="Order does not exist.")

        rig.core.exchange.place, rig.core.exchange.query = vanish, deny
        doubt = await unknown(rig.engine, STOP)
        asked.clear()
        await anyio.sleep(3600)
        assert 600 < len(asked) < 800
        assert all(asked), "asked for as a conditional order"
        assert not doubt.intent.has_ended()
        async with anyio.create_task_group() as group:
            told: list[str] = []

            async def wait() -> None:
                told.append((await doubt.resolved()).status)

            group.start_soon(wait)
            await anyio.sleep(1)
            cid = doubt.intent.client_order_id
            await rig.engine.resolve(cid, "not_executed", reason="not on the venue's page")
        assert told == ["not_executed"]
        with anyio.fail_after(60):
            await rig.engine.until_healthy()
        rig.assert_clean()

    healthy(body)


def test_a_fill_that_nobody_heard_of_is_counted_while_an_order_waits_for_a_person() -> None:
    """Exits are open meanwhile: without it a bot believed for weeks in what its stop had sold."""

    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        stop = Order(BTC, "sell", "0.010", reduce_only=True, trigger="stop", trigger_price="61000")
        await rig.engine.submit(stop)
        rig.fail("place", Fault.lost_request())
        cid = (await unknown(rig.engine, STOP)).intent.client_order_id
        await anyio.sleep(120)
        assert rig.engine.state is State.RECONCILING
        rig.venue.faults.arm_stream("drop", count=50)
        rig.venue.on_price(BTC, Decimal(61000))
        assert rig.venue.trades(BTC)[-1].order.closing
        await anyio.sleep(2 * ReconcileSettings().audit_seconds)
        assert rig.engine.status()["unknown_orders"] == [cid]
        assert rig.engine.position(BTC) == 0
        assert rig.engine.open_orders() == []
        rig.venue.faults.clear()
        await rig.engine.resolve(cid, "not_executed", reason="not on the venue's page")
        await rig.engine.until_healthy()
        rig.assert_clean()

    healthy(body)


@pytest.mark.parametrize("verdict", ["accepted", "not_executed"])
def test_whatever_the_word_the_books_are_compared_and_the_fills_counted(verdict: Verdict) -> None:
    """It was executed, and nobody heard of it: also a wrong word costs no position."""

    async def body(rig: Rig) -> None:
        rig.fail("place", Fault.lost_reply())
        rig.fail("query", *UNANSWERED)
        rig.venue.faults.arm_stream("drop", count=2)
        doubt = await unknown(rig.engine, ENTRY)
        assert rig.engine.position(BTC) == 0
        await rig.engine.resolve(doubt.intent.client_order_id, verdict, reason="a look")
        assert rig.engine.state is State.RECONCILING
        assert (await doubt.resolved()).status == verdict
        with anyio.fail_after(60):
            await rig.engine.until_healthy()
        assert rig.engine.position(BTC) == Decimal("0.010")
        assert len(rig.orders) == 1
        rig.assert_clean()

    healthy(body)


def test_the_venues_own_word_comes_before_a_persons() -> None:
    """It does not answer questions for the order, but its list of open orders has it."""

    async def body(rig: Rig) -> None:
        resting = Order(BTC, "buy", "0.010", price="60000")
        rig.fail("place", Fault.lost_reply())
        rig.fail("query", *UNANSWERED)
        rig.venue.faults.arm_stream("drop", count=1)
        doubt = await unknown(rig.engine, resting)
        cid = doubt.intent.client_order_id
        with pytest.raises(ResolveRefused, match=r"answered after all.* accepted"):
            await rig.engine.resolve(cid, "not_executed", reason="a look at the wrong page")
        assert (await doubt.resolved()).status == "accepted"
        assert [o.client_order_id for o in rig.engine.open_orders()] == [cid]
        rig.plan["query"].clear()
        await rig.engine.until_healthy()
        rig.assert_clean()

    healthy(body)


def test_what_is_not_unknown_or_not_yet_is_refused() -> None:
    async def body(rig: Rig) -> None:
        engine = rig.engine
        resolve: Any = engine.resolve
        with pytest.raises(ResolveRefused, match=r"no order of this id waits.*waiting: none"):
            await resolve("hf-alpha-x-1-1", "accepted", reason="a guess")
        ended = await engine.submit(ENTRY)
        with pytest.raises(ResolveRefused, match="no order of this id waits"):
            await resolve(ended.client_order_id, "not_executed", reason="a guess")
        rig.fail("place", Fault.lost_request())
        rig.fail("query", *UNANSWERED)
        async with anyio.create_task_group() as group:

            async def submit() -> None:
                await unknown(engine, msgspec.structs.replace(EXIT, deadline_seconds=10.0))

            group.start_soon(submit)
            await anyio.sleep(0.1)
            (cid,) = engine._core.ledger.intents
            with pytest.raises(ResolveRefused, match="being sent"):
                await resolve(cid, "not_executed", reason="a guess")
            await anyio.sleep(0.5)
            assert engine.status()["unknown_orders"] == [cid]
            with pytest.raises(ResolveRefused, match=r"may still accept it for 1\.\d s"):
                await resolve(cid, "not_executed", reason="a guess")
            with pytest.raises(ResolveRefused, match="'perhaps' is not one of"):
                await resolve(cid, "perhaps", reason="a guess")
            with pytest.raises(ResolveRefused, match=f"waiting: {cid}"):
                await resolve(cid + "0", "accepted", reason="a guess")
            assert engine.status()["unknown_orders"] == [cid]
        await resolve(cid, "not_executed", reason="no guess")
        rig.plan["query"].clear()
        await engine.until_healthy()
        rig.assert_clean()

    healthy(body, orders=OrderSettings(timeout_seconds=0.5))


def test_a_symbol_that_is_not_listed_is_refused_before_anything_is_written() -> None:
    async def main() -> None:
        world = World()
        world.venue.on_price(ETH, Decimal(64000))
        async with world.engine() as engine:
            await engine.until_healthy()
            delist(world)
            with pytest.raises(InvalidOrder):
                await engine.submit(GONE)

    run(main)
