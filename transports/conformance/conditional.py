"""Checks of conditional orders: one order under one id, before and after its trigger."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

from holdfast.model import OrderSnapshot, OrderStatus, OutcomeKind, QueryKind

from .answering import UNANSWERED
from .bench import CALL_SECONDS, Bench, Check, on_a_bench
from .venue import Mishap
from .watching import expect


@on_a_bench
async def a_conditional_order_waits_and_is_cancelled(bench: Bench) -> None:
    terms = await bench.waiting()
    order = await bench.place_accepted(**terms)
    await bench.watch.until(
        "a conditional order is reported when it is taken", lambda: bool(bench.watch.of(order))
    )
    found = (await bench.look("query", order, conditional=True)).order
    listed = await _listed(bench, order)
    for told in (found, listed, bench.watch.of(order)[0].order):
        assert told is not None, "a conditional order that waits is FOUND"
        expect("... under its own id", told.client_order_id, order)
        expect("... open, and nothing of it filled", (told.status, told.filled), _UNTOUCHED)
        _tells_its_trigger(told, terms["trigger_price"])
    for promise in ("the answer tells how the order stands", "`cancel` is safe to repeat"):
        outcome = await bench.look("cancel", order, conditional=True)
        expect(promise, outcome.order and outcome.order.status, OrderStatus.CANCELED)
    expect("it is open no more", await bench.client.open_orders(timeout_seconds=CALL_SECONDS), [])
    await bench.until_final(order)


@on_a_bench
async def a_triggered_order_is_told_as_one_with_the_order_made_of_it(bench: Bench) -> None:
    last, terms = await bench.last_trade_id(), await bench.waiting()
    order = await bench.place_accepted(**terms)
    await bench.control.set_price(terms["trigger_price"])
    await bench.until_final(order)
    for look in _LOOKS:
        found = (await bench.look(look, order, conditional=True)).order
        assert found is not None, f"a triggered order is FOUND by a {look}"
        expect("... under the id it was placed with", found.client_order_id, order)
        expect("... with the status of the order made", found.status, OrderStatus.FILLED)
        expect("... and what was filled of that", found.filled, bench.control.quantity)
        _tells_its_trigger(found, terms["trigger_price"])
    fills = await bench.fills(last)
    expect("its fills name it", {fill.client_order_id for fill in fills}, {order})
    expect(
        "... and make it up",
        sum((fill.signed_quantity for fill in fills), Decimal(0)),
        bench.control.quantity,
    )
    for report in bench.watch.of(order):
        _tells_its_trigger(report.order, terms["trigger_price"])


@on_a_bench
async def a_triggered_order_that_rests_is_open_and_can_be_cancelled(bench: Bench) -> None:
    terms = await bench.waiting()
    instruments = await bench.client.instruments(timeout_seconds=CALL_SECONDS)
    lower = terms["trigger_price"] - instruments[bench.control.symbol].price_step
    order = await bench.place_accepted(**terms, price=lower)
    await bench.control.set_price(terms["trigger_price"])
    await bench.watch.until(
        "the order made of it is reported", lambda: len(bench.watch.of(order)) > 1
    )
    _tells_its_trigger(await _listed(bench, order), terms["trigger_price"])
    outcome = await bench.look("cancel", order, conditional=True)
    expect(
        "a cancel reaches the order made of it",
        outcome.order and outcome.order.status,
        OrderStatus.CANCELED,
    )
    expect("it is open no more", await bench.client.open_orders(timeout_seconds=CALL_SECONDS), [])


@on_a_bench
async def an_attempt_at_a_conditional_order_is_judged_as_any(bench: Bench) -> None:
    terms = await bench.waiting()
    for mishap, taken in (
        (Mishap.LOST_REQUEST, 0),
        (Mishap.LOST_REPLY, 1),
        (Mishap.CUT_AFTER, 1),
        (Mishap.TRUNCATED, 1),
    ):
        order, outcome = await bench.spoiled(mishap, **terms)
        expect(f"{mishap}: nobody can tell", outcome.kind, OutcomeKind.UNKNOWN)
        expect(f"{mishap}: an attempt is sent once", await bench.taken(order), taken)
        found = await bench.look("query", order, conditional=True)
        expect("a question tells", found.kind, QueryKind.FOUND if taken else QueryKind.ABSENT)
    order = await bench.place_accepted(**terms)
    again = await bench.place(order, **terms)
    expect("an id that an open order has", again.kind, OutcomeKind.EXISTS)
    at_once = {"trigger": "stop", "trigger_price": terms["trigger_price"]}
    outcome = await bench.place(bench.new_id(), **at_once)
    expect("what would trigger at once is refused", outcome.kind, OutcomeKind.REJECTED)


@on_a_bench
async def questions_after_a_conditional_order_can_fail(bench: Bench) -> None:
    order = await bench.place_accepted(**await bench.waiting())
    for look in _LOOKS:
        absent = await bench.look(look, bench.new_id(), conditional=True)
        expect(f"a {look} of one that was never there", absent.kind, QueryKind.ABSENT)
    for mishap in UNANSWERED:
        for look in _LOOKS:
            await bench.control.spoil(look, mishap)
            lost = await bench.look(
                look, order, conditional=True, timeout_seconds=bench.control.timeout_seconds
            )
            expect(f"{mishap}: nobody answered a {look}", lost.kind, QueryKind.UNANSWERED)
            await bench.control.mend()
    outcome = await bench.look("cancel", order, conditional=True)
    expect(
        "`cancel` is safe to repeat", outcome.order and outcome.order.status, OrderStatus.CANCELED
    )


_LOOKS: Final[tuple[Literal["query", "cancel"], ...]] = ("query", "cancel")
_UNTOUCHED: Final = (OrderStatus.OPEN, Decimal(0))


async def _listed(bench: Bench, client_order_id: str) -> OrderSnapshot:
    found = await bench.client.open_orders(timeout_seconds=CALL_SECONDS)
    names = [order.client_order_id for order in found]
    expect("it is among the open orders, once", names, [client_order_id])
    return found[0]


def _tells_its_trigger(order: OrderSnapshot, price: Decimal) -> None:
    expect("... with what it waits, or waited, for", order.trigger, "take_profit")
    expect("... and the price of it", order.trigger_price, price)


CONDITIONAL_CHECKS: Final[tuple[Check, ...]] = (
    a_conditional_order_waits_and_is_cancelled,
    a_triggered_order_is_told_as_one_with_the_order_made_of_it,
    a_triggered_order_that_rests_is_open_and_can_be_cancelled,
    an_attempt_at_a_conditional_order_is_judged_as_any,
    questions_after_a_conditional_order_can_fail,
)
