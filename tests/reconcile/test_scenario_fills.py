"""Scenarios: fills that were missed, told twice, out of turn, or for too much."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC
from scenario_rig import ENTRY, RESTING, Stage, orders, scenario, wire_scenario

from holdfast.errors import LinkDown, OutcomeUnknown
from holdfast.model import Order, OrderStatus
from holdfast.transports.sim import Fault


def exit_at(price: str, quantity: str = "0.010") -> Order:
    return Order(BTC, "sell", quantity, price=price, reduce_only=True)


@wire_scenario
async def test_missed_fills_of_several_orders_are_counted_in_the_venues_order(
    stage: Stage,
) -> None:
    """Whose orders they are says nothing of when they happened; the bot is told as it was."""
    counted: list[int] = []
    async with stage.healthy_life() as engine:
        engine.on_fill(lambda fill: counted.append(fill.trade_id))
        for price in ("60000", "61000", "62000"):
            await engine.submit(Order(BTC, "buy", "0.010", price=price))
        async with stage.outage():
            for price, quantity in (
                ("62000", "0.004"),
                ("61000", "0.008"),
                ("60000", "0.011"),
                ("60000", None),
            ):
                stage.price(price, quantity)
        trades = stage.venue.trades(BTC)
        names = [t.order.client_order_id for t in trades]
        assert names != sorted(names), "sorted by their orders they would be in another order"
        await stage.settled(
            told=["adopt missed_fill"] * len(trades) + ["adopt missing_order"] * 3,
            position="0.030",
        )
        assert counted == [t.trade_id for t in trades]
        paid = sum(t.quantity * t.price for t in trades)
        (held,) = engine.positions()
        assert held.entry_price is not None
        assert abs(held.entry_price * Decimal("0.030") - paid) < Decimal("1e-15")


@wire_scenario
async def test_a_position_that_was_closed_and_opened_again_meanwhile(stage: Stage) -> None:
    """Counted in another order it would have been short in between, with its stop forgotten."""
    passed: list[Decimal] = []
    async with stage.healthy_life() as engine:
        engine.on_fill(lambda _fill: passed.append(engine.position(BTC)))
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        await engine.submit(RESTING)
        await engine.submit(exit_at("65000"))
        async with stage.outage():
            stage.price("65000")
            stage.price("60000")
        await stage.settled(
            told=["adopt missed_fill"] * 2 + ["adopt missing_order"] * 2, position="0.010"
        )
        assert passed == [Decimal("0.010"), 0, Decimal("0.010")]


@pytest.mark.parametrize("action", ["swap", "duplicate", "drop"])
@wire_scenario
async def test_fills_told_before_their_order_or_twice_or_not_at_all(
    stage: Stage, action: Any
) -> None:
    counted: list[int] = []
    async with stage.healthy_life() as engine:
        engine.on_fill(lambda fill: counted.append(fill.trade_id))
        stage.venue.faults.arm_stream(action, count=50)
        for _ in range(3):
            await engine.submit(ENTRY)
        if action != "drop":
            await stage.until(lambda: counted, "a fill is told")
        async with stage.outage():
            stage.venue.faults.clear()
            missed = 3 - len(counted)
        assert missed or action != "drop"
        await stage.settled(told=["adopt missed_fill"] * missed, position="0.030")
        assert counted == [t.trade_id for t in stage.venue.trades(BTC)]


@wire_scenario
async def test_a_fill_shown_before_its_order_whose_outcome_is_unknown(stage: Stage) -> None:
    """Trades are listed while a query still answers that there is no such order."""
    async with stage.healthy_life(orders=orders(timeout_seconds=0.3)) as engine:
        faults = stage.venue.faults
        faults.query_lag_ms = 1200
        faults.arm("place", Fault.lost_reply())
        faults.arm_stream("drop", count=2)
        stage.begin()
        async with anyio.create_task_group() as group:
            group.start_soon(engine.submit, Order(BTC, "buy", "0.010", key="once"))
            await stage.until(lambda: engine._core.ledger.unknown, "it is in doubt")
            stage.look_again()
            assert stage.venue.trades(BTC)
        await stage.settled(told=["adopt missed_fill"], position="0.010")
        assert len(stage.venue.order_log) == 1


@wire_scenario
async def test_an_order_lost_with_the_line_and_filled(stage: Stage) -> None:
    async with stage.healthy_life(orders=orders(timeout_seconds=0.3)) as engine:
        stage.venue.faults.arm("place", Fault.lost_reply())
        stage.venue.faults.arm_stream("drop", count=2)
        stage.begin()
        async with anyio.create_task_group() as group:

            async def submit() -> None:
                with pytest.raises(OutcomeUnknown):
                    await engine.submit(Order(BTC, "buy", "0.010", deadline_seconds=0.5))

            group.start_soon(submit)
            await stage.until(lambda: stage.venue.order_log, "the venue has it")
            sent = len(stage.sent)
            async with stage.outage():
                await anyio.sleep(1)
        assert sent == 1
        await stage.settled(told=["adopt missed_fill"], position="0.010")


def overfilled(stage: Stage, *quantities: str) -> None:
    """What rests is filled like this by the venue, which was asked for less."""
    stage.venue.order_log[-1].quantity = sum(map(Decimal, quantities), Decimal(0))
    for quantity in quantities:
        stage.price("60000", quantity)


@pytest.mark.parametrize("quantities", [("0.015",), ("0.004", "0.011"), ("0.010", "0.005")])
@pytest.mark.parametrize("rule", ["adopt", "hold"])
@scenario
async def test_more_was_filled_than_was_ordered(
    stage: Stage, quantities: tuple[str, ...], rule: Any
) -> None:
    """The venue's fills are what the account holds, whatever was asked for."""
    async with stage.healthy_life(rules={"overfill": rule}) as engine:
        await engine.submit(RESTING)
        async with stage.outage():
            overfilled(stage, *quantities)
        told = ["adopt missed_fill"] * (len(quantities) - 1)
        if rule == "hold":
            await stage.held("overfill", "size_mismatch" if told else "orphan_position")
            await engine.adopt(by="owner")
        else:
            told.append("adopt overfill")
        await stage.settled(told=[*told, "adopt missing_order"], position="0.015")
        exposure = engine._core.ledger.exposure(RESTING, None)
        assert exposure.pending_quantity == 0


@pytest.mark.parametrize("quantities", [("0.015",), ("0.004", "0.011")])
@wire_scenario
async def test_more_is_filled_than_was_ordered_while_it_trades(
    stage: Stage, quantities: tuple[str, ...]
) -> None:
    """The stream tells it: the gate shuts, and it is told as what it is and not passed over."""
    async with stage.healthy_life() as engine:
        await engine.submit(RESTING)
        stage.begin()
        overfilled(stage, *quantities)
        await stage.until(lambda: stage.openings, "it was compared")
        await stage.settled(told=["adopt overfill"], position="0.015")


@pytest.mark.parametrize("when", ["while it trades", "while it is out of reach"])
@wire_scenario
async def test_more_is_filled_when_all_was_filled_and_counted(stage: Stage, when: str) -> None:
    """The order is done with by then, and remembered for that."""
    async with stage.healthy_life() as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC) == Decimal("0.010"), "it is counted")
        assert not engine.open_orders()
        stage.begin()
        venue = stage.venue
        with_it = (venue.book(BTC), venue.order_log[-1], Decimal("0.005"), Decimal(64_000))
        if when == "while it trades":
            venue._matching.fill(*with_it, maker=False)
        else:
            async with stage.outage():
                venue._matching.fill(*with_it, maker=False)
        await stage.until(lambda: stage.openings, "it was compared")
        await stage.settled(told=["adopt overfill"], position="0.015")


# --- a cancel that meets a fill ----------------------------------------------------------


@pytest.mark.parametrize("filled", ["0.004", "0.010"])
@wire_scenario
async def test_a_fill_that_comes_before_the_cancel(stage: Stage, filled: str) -> None:
    async with stage.healthy_life() as engine:
        report = await engine.submit(RESTING)
        stage.begin()
        stage.venue.faults.arm("cancel", Fault(delay_before_seconds=0.2))
        ended: list[Any] = []

        async def cancel() -> None:
            ended.append(await engine.cancel(BTC, report.client_order_id))

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            await anyio.sleep(0.1)
            stage.price("60000", filled)
        whole = filled == "0.010"
        (order,) = ended
        assert order.status is (OrderStatus.FILLED if whole else OrderStatus.CANCELED)
        assert order.filled == Decimal(filled)
        stage.look_again()
        await stage.settled(told=[], position=filled)


@pytest.mark.parametrize("filled", ["0", "0.004", "0.010"])
@wire_scenario
async def test_a_cancel_whose_answer_was_lost_with_the_line(stage: Stage, filled: str) -> None:
    async with stage.healthy_life(orders=orders(timeout_seconds=0.3)) as engine:
        report = await engine.submit(RESTING)
        if Decimal(filled):
            stage.venue.faults.arm_stream("drop", count=1)
            stage.price("60000", filled)
        stage.venue.faults.arm_stream("drop", count=5)
        stage.venue.faults.arm("cancel", Fault.lost_reply())
        with pytest.raises(LinkDown):
            await engine.cancel(BTC, report.client_order_id)
        async with stage.outage():
            assert stage.venue.open_orders() == []
        told = ["adopt missed_fill"] if Decimal(filled) else []
        await stage.settled(told=[*told, "adopt missing_order"], position=filled)


# --- what happens at the venue by itself -------------------------------------------------


STOP = Order(BTC, "sell", "0.010", reduce_only=True, trigger="stop", trigger_price="63000")


@wire_scenario
async def test_a_stop_that_triggered_meanwhile(stage: Stage) -> None:
    async with stage.healthy_life() as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        await engine.submit(STOP)
        async with stage.outage():
            stage.price("62500")
        await stage.settled(told=["adopt missed_fill", "adopt missing_order"])


@pytest.mark.parametrize("side", ["buy", "sell"])
@wire_scenario
async def test_liquidated_meanwhile(stage: Stage, side: Any) -> None:
    """The venue closed the position and cancelled what rested: a person has to know."""
    stage.venue.set_isolated(BTC, isolated=True)
    worse, far = ("50000", "45000") if side == "buy" else ("78000", "85000")
    async with stage.healthy_life() as engine:
        await engine.submit(Order(BTC, side, "0.010"))
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        await engine.submit(Order(BTC, side, "0.010", price=far))
        async with stage.outage():
            stage.price(worse)
            assert stage.venue.order_log[-1].client_order_id.startswith("autoclose-")
            assert stage.at_venue() == {}
        await stage.held("phantom_position")
        await engine.adopt(by="owner")
        await stage.settled(told=["adopt missing_order"])


@pytest.mark.parametrize("taken", ["0.004", "0.010"])
@pytest.mark.parametrize("rule", ["hold", "adopt"])
@wire_scenario
async def test_deleveraged_meanwhile(stage: Stage, taken: str, rule: Any) -> None:
    kind = "size_mismatch" if taken == "0.004" else "phantom_position"
    async with stage.healthy_life(rules={kind: rule}) as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        async with stage.outage():
            stage.venue.deleverage(BTC, quantity=Decimal(taken))
        if rule == "hold":
            await stage.held(kind)
            await engine.adopt(by="owner")
        left = f"{Decimal('0.010') - Decimal(taken):f}"
        told = [f"adopt {kind}"] if rule == "adopt" else []
        await stage.settled(told=told, position=left)


# --- a leg that can not be observed ------------------------------------------------------


@pytest.mark.parametrize("reply", ["error", "reset", "garbage", "truncated"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 8])
@wire_scenario
async def test_a_leg_that_failed_is_not_empty(stage: Stage, number: int, reply: Any) -> None:
    """Whichever question of the comparisons it is; taken for empty it would tell a difference.

    What was settled before the failure is told with what is settled after it.
    """
    async with stage.healthy_life() as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        await engine.submit(RESTING)
        asked = 0

        def fail_one(kind: str, _now_ms: int) -> Fault | None:
            nonlocal asked
            asked += kind == "snapshot"
            failed = kind == "snapshot" and asked == number
            return Fault(executes=False, reply=reply, status=503) if failed else None

        async with stage.outage():
            stage.price("60000", "0.004")
        stage.venue.faults.decide = fail_one
        await stage.settled(
            told=["adopt missed_fill", "adopt stale_order"], position="0.014", resting=1
        )
        assert asked > number or number == 8


@pytest.mark.parametrize("leg", ["positions", "open_orders", "fills", "balances"])
@wire_scenario
async def test_nothing_is_settled_while_a_leg_can_not_be_observed(stage: Stage, leg: str) -> None:
    async with stage.healthy_life() as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        await engine.submit(RESTING)
        client: Any = engine._core.exchange
        asks = getattr(client, leg)
        failures = 0

        async def fails(*_: Any, **__: Any) -> Any:
            nonlocal failures
            failures += 1
            await anyio.sleep(0.01)
            raise LinkDown(f"{leg} could not be asked")

        setattr(client, leg, fails)
        async with stage.outage():
            stage.price("60000", "0.004")
        await stage.until(lambda: failures > 3, "it is asked again and again")
        assert not stage.openings
        assert engine.position(BTC) == Decimal("0.010")
        assert [o.filled for o in engine.open_orders()] == [0]
        with pytest.raises(LinkDown):
            await engine.reconcile()
        setattr(client, leg, asks)
        await stage.settled(
            told=["adopt missed_fill", "adopt stale_order"], position="0.014", resting=1
        )
