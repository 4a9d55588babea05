"""What every execution client promises, as functions that take a rig."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from sim_rigs import BTC, TIMEOUT_SECONDS, Rig

from holdfast.errors import LinkDown, TradingHalted
from holdfast.model import OrderStatus, OutcomeKind, QueryKind
from holdfast.transports.sim import Fault, OrderTicket, SimExecutionClient
from holdfast.transports.sim.http import SimHttpExecutionClient

D = Decimal


async def accepts_and_reports_an_order(rig: Rig) -> None:
    outcome = await rig.place()
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert outcome.order is not None
    assert outcome.order.symbol == BTC
    assert (outcome.order.client_order_id, outcome.order.filled) == ("h1", D("0.010"))
    assert outcome.order.status is OrderStatus.FILLED
    assert outcome.order.average_price == D(50000)
    await rig.watch.until(lambda watch: len(watch.reports) == 2)
    new, filled = rig.watch.reports
    assert (new.order.status, new.fill) == (OrderStatus.OPEN, None)
    assert filled.order.status is OrderStatus.FILLED
    assert filled.fill is not None
    assert (filled.fill.trade_id, filled.fill.price) == (1, D(50000))
    assert filled.fill.fee == D("0.25")
    assert rig.permits == 1


async def answers_what_is_open_held_and_filled(rig: Rig) -> None:
    await rig.place("a")
    await rig.place("b", price="49000")
    (order,) = await rig.client.open_orders(timeout_seconds=1)
    assert (order.client_order_id, order.price, order.filled) == ("b", D(49000), D(0))
    (position,) = await rig.client.positions(timeout_seconds=1)
    assert (position.symbol, position.quantity) == (BTC, D("0.010"))
    assert position.entry_price == D(50000)
    (fill,) = await rig.client.fills(BTC, after_trade_id=0, timeout_seconds=1)
    assert (fill.client_order_id, fill.trade_id, fill.fee_asset) == ("a", 1, "USDT")
    assert await rig.client.fills(BTC, after_trade_id=1, timeout_seconds=1) == []
    instruments = await rig.client.instruments(timeout_seconds=1)
    assert instruments[BTC].quantity_step == D("0.001")
    assert instruments[BTC].min_notional == D(100)


async def flat_and_empty_are_empty_lists(rig: Rig) -> None:
    assert await rig.client.open_orders(timeout_seconds=1) == []
    assert await rig.client.positions(timeout_seconds=1) == []
    assert await rig.client.fills(BTC, after_trade_id=0, timeout_seconds=1) == []


async def names_the_order_of_a_fill_it_never_saw(rig: Rig) -> None:
    rig.venue.faults.arm_stream("drop", count=2)
    rig.venue.place(
        OrderTicket(symbol=BTC, client_order_id="theirs", side="sell", quantity=D("0.010"))
    )
    (fill,) = await rig.client.fills(BTC, after_trade_id=0, timeout_seconds=1)
    assert (fill.client_order_id, fill.signed_quantity) == ("theirs", D("-0.010"))


async def reads_fills_over_all_pages(rig: Rig) -> None:
    for number in range(2105):
        side = "buy" if number % 2 else "sell"
        rig.venue.place(
            OrderTicket(symbol=BTC, client_order_id="same", side=side, quantity=D("0.002"))
        )
    fills = await rig.client.fills(BTC, after_trade_id=4, timeout_seconds=20)
    assert [fill.trade_id for fill in fills] == list(range(5, 2106))


async def tells_found_absent_and_unanswered_apart(rig: Rig) -> None:
    await rig.place("a", price="49000")
    found = await rig.client.query(BTC, "a", timeout_seconds=1)
    assert found.kind is QueryKind.FOUND
    assert found.order is not None
    assert found.order.client_order_id == "a"
    absent = await rig.client.query(BTC, "nobody", timeout_seconds=1)
    assert (absent.kind, absent.order) == (QueryKind.ABSENT, None)
    rig.venue.faults.arm("query", Fault.lost_reply())
    lost = await rig.client.query(BTC, "a", timeout_seconds=TIMEOUT_SECONDS)
    assert lost.kind is QueryKind.UNANSWERED
    rig.venue.faults.arm("query", Fault.refusal(-1000, "An unknown error occurred.", status=500))
    failed = await rig.client.query(BTC, "a", timeout_seconds=1)
    assert failed.kind is QueryKind.UNANSWERED


async def cancel_tells_how_the_order_stands(rig: Rig) -> None:
    await rig.place("a", price="49000")
    cancelled = await rig.client.cancel(BTC, "a", timeout_seconds=1)
    assert cancelled.order is not None
    assert cancelled.order.status is OrderStatus.CANCELED
    again = await rig.client.cancel(BTC, "a", timeout_seconds=1)
    assert again.order is not None
    assert again.order.status is OrderStatus.CANCELED
    await rig.place("filled")
    filled = await rig.client.cancel(BTC, "filled", timeout_seconds=1)
    assert filled.order is not None
    assert filled.order.status is OrderStatus.FILLED
    absent = await rig.client.cancel(BTC, "nobody", timeout_seconds=1)
    assert absent.kind is QueryKind.ABSENT


async def a_countdown_cancels_unless_it_is_renewed(rig: Rig) -> None:
    client = rig.client
    assert isinstance(client, SimExecutionClient | SimHttpExecutionClient)
    await rig.place("a", price="49000")
    await client.countdown_cancel_all(BTC, countdown_seconds=30, timeout_seconds=2)
    await client.countdown_cancel_all(BTC, countdown_seconds=0, timeout_seconds=2)
    assert len(await client.open_orders(timeout_seconds=2)) == 1
    await client.countdown_cancel_all(BTC, countdown_seconds=0.1, timeout_seconds=2)
    await anyio.sleep(0.5)
    assert await client.open_orders(timeout_seconds=2) == []


async def lagging_query_is_absent_for_a_while(rig: Rig) -> None:
    rig.venue.faults.query_lag_ms = 60_000
    assert (await rig.place("a", price="49000")).kind is OutcomeKind.ACCEPTED
    assert (await rig.client.query(BTC, "a", timeout_seconds=1)).kind is QueryKind.ABSENT
    rig.venue.faults.query_lag_ms = 0
    assert (await rig.client.query(BTC, "a", timeout_seconds=1)).kind is QueryKind.FOUND


async def a_lost_request_is_unknown_and_not_there(rig: Rig) -> None:
    rig.venue.faults.arm("place", Fault.lost_request())
    assert (await rig.place("a")).kind is OutcomeKind.UNKNOWN
    assert rig.venue.executions("a") == 0


async def a_lost_reply_is_unknown_and_there(rig: Rig) -> None:
    rig.venue.faults.arm("place", Fault.lost_reply())
    assert (await rig.place("a")).kind is OutcomeKind.UNKNOWN
    assert rig.venue.executions("a") == 1
    await rig.watch.until(lambda watch: any(r.fill is not None for r in watch.reports))


async def a_reset_connection_is_unknown(rig: Rig) -> None:
    for number, executes in enumerate((False, True)):
        rig.venue.faults.arm("place", Fault(executes=executes, reply="reset"))
        assert (await rig.place(f"a{number}")).kind is OutcomeKind.UNKNOWN
        assert rig.venue.executions(f"a{number}") == executes


async def a_late_reply_is_unknown_and_there(rig: Rig) -> None:
    rig.venue.faults.arm("place", Fault(delay_after_seconds=10 * TIMEOUT_SECONDS))
    assert (await rig.place("a")).kind is OutcomeKind.UNKNOWN
    assert rig.venue.executions("a") == 1


async def a_request_held_up_arrives_after_its_caller_gave_up(rig: Rig) -> None:
    rig.venue.faults.arm("place", Fault(delay_before_seconds=2 * TIMEOUT_SECONDS))
    assert (await rig.place("a")).kind is OutcomeKind.UNKNOWN
    assert rig.venue.executions("a") == 0
    await anyio.sleep(3 * TIMEOUT_SECONDS)
    assert rig.venue.executions("a") == 1


async def recv_window_stops_a_request_held_up_for_longer(rig: Rig) -> None:
    rig.venue.faults.arm("place", Fault(delay_before_seconds=2 * TIMEOUT_SECONDS))
    request = rig.request("a")
    short = type(request)(
        client_order_id="a",
        order=request.order,
        timestamp_ms=request.timestamp_ms,
        recv_window_ms=200,
    )
    outcome = await rig.client.place(short, permit=rig.permit, timeout_seconds=TIMEOUT_SECONDS)
    assert outcome.kind is OutcomeKind.UNKNOWN
    await anyio.sleep(3 * TIMEOUT_SECONDS)
    assert rig.venue.executions("a") == 0


async def a_refused_permit_leaves_nothing_at_the_venue(rig: Rig) -> None:
    def refuse() -> None:
        raise TradingHalted("the gate is shut")

    with pytest.raises(TradingHalted, match="the gate is shut"):
        await rig.client.place(rig.request(), permit=refuse, timeout_seconds=1)
    assert rig.venue.order_log == []
    assert (await rig.place()).kind is OutcomeKind.ACCEPTED


async def cancellation_passes_through_and_the_request_still_arrives(rig: Rig) -> None:
    rig.venue.faults.arm("place", Fault(delay_before_seconds=0.2))
    with anyio.move_on_after(0.1) as scope:
        await rig.client.place(rig.request("a"), permit=rig.permit, timeout_seconds=5)
    assert scope.cancelled_caught
    assert rig.venue.executions("a") == 0
    await anyio.sleep(0.4)
    assert rig.venue.executions("a") == 1


async def an_id_of_an_open_order_exists(rig: Rig) -> None:
    await rig.place("a", price="49000")
    assert (await rig.place("a", price="49000")).kind is OutcomeKind.EXISTS
    await rig.place("b")
    assert (await rig.place("b")).kind is OutcomeKind.ACCEPTED
    assert rig.venue.executions("b") == 2


async def a_time_stamp_out_of_the_window_is_clock(rig: Rig) -> None:
    for skew_ms in (-60_000, 60_000):
        rig.venue.faults.clock_skew_ms = skew_ms
        assert (await rig.place()).kind is OutcomeKind.CLOCK
    assert rig.venue.order_log == []
    venue_ms = await rig.client.venue_time_ms(timeout_seconds=1)
    assert abs(venue_ms - rig.clock.time_ns() // 1_000_000 - 60_000) < 5_000


async def what_the_venue_says_no_to_is_rejected(rig: Rig) -> None:
    cases = [
        ({"quantity": "0.0015"}, -1111),
        ({"quantity": "0.001"}, -4164),
        ({"reduce_only": True}, -2022),
        ({"price": "51000", "time_in_force": "GTX"}, -5022),
        ({"quantity": "900"}, -2019),
        ({"symbol": "NOPE/USDT:USDT"}, -1121),
        ({"position_side": "LONG"}, -4061),
    ]
    for number, (order, code) in enumerate(cases):
        outcome = await rig.place(f"r{number}", **order)
        assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, code)
    assert (await rig.place("not an id!")).code == -4015
    assert rig.venue.order_log == []


async def reads_fail_loudly_not_emptily(rig: Rig) -> None:
    client = rig.client
    asked = [
        lambda: client.open_orders(timeout_seconds=TIMEOUT_SECONDS),
        lambda: client.positions(timeout_seconds=TIMEOUT_SECONDS),
        lambda: client.fills(BTC, after_trade_id=0, timeout_seconds=TIMEOUT_SECONDS),
    ]
    faults = [
        Fault.lost_reply(),
        Fault(reply="reset"),
        Fault.refusal(-1003, "Too many requests.", status=429),
        Fault(reply="truncated"),
    ]
    for fault in faults:
        for ask in asked:
            rig.venue.faults.arm("snapshot", fault)
            with pytest.raises(LinkDown):
                await ask()
            rig.venue.faults.clear()


async def stream_faults_reach_the_watch(rig: Rig) -> None:
    faults = rig.venue.faults
    faults.arm_stream("duplicate")
    await rig.place("a")
    await rig.watch.until(lambda watch: len(watch.reports) == 3)
    assert rig.watch.reports[0] == rig.watch.reports[1]
    rig.watch.reports.clear()
    faults.arm_stream("swap")
    await rig.place("b")
    await rig.watch.until(lambda watch: len(watch.reports) == 2)
    assert [report.fill is None for report in rig.watch.reports] == [False, True]
    rig.watch.reports.clear()
    faults.arm_stream("drop", count=2)
    await rig.place("c")
    await rig.place("d", price="49000")
    await rig.watch.until(lambda watch: len(watch.reports) == 1)
    assert rig.watch.reports[0].order.client_order_id == "d"


async def a_cut_stream_comes_back(rig: Rig) -> None:
    rig.watch.heard.clear()
    rig.cut_stream()
    await rig.watch.until(lambda watch: "stream_up" in watch.heard)
    assert rig.watch.heard[:2] == ["stream_down", "stream_up"]
    await rig.place("a")
    await rig.watch.until(lambda watch: len(watch.reports) == 2)


async def hundred_orders_at_once_keep_their_answers_apart(rig: Rig) -> None:
    answers: dict[str, str] = {}

    async def one(name: str) -> None:
        outcome = await rig.client.place(
            rig.request(name, price="49000", quantity="0.003"),
            permit=rig.permit,
            timeout_seconds=10,
        )
        assert outcome.order is not None
        answers[name] = outcome.order.client_order_id

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(one, f"n{number}")
    assert len(answers) == 100
    assert all(asked == answered for asked, answered in answers.items())


CASES = [
    accepts_and_reports_an_order,
    answers_what_is_open_held_and_filled,
    flat_and_empty_are_empty_lists,
    names_the_order_of_a_fill_it_never_saw,
    reads_fills_over_all_pages,
    tells_found_absent_and_unanswered_apart,
    cancel_tells_how_the_order_stands,
    a_countdown_cancels_unless_it_is_renewed,
    lagging_query_is_absent_for_a_while,
    a_lost_request_is_unknown_and_not_there,
    a_lost_reply_is_unknown_and_there,
    a_reset_connection_is_unknown,
    a_late_reply_is_unknown_and_there,
    a_request_held_up_arrives_after_its_caller_gave_up,
    recv_window_stops_a_request_held_up_for_longer,
    a_refused_permit_leaves_nothing_at_the_venue,
    cancellation_passes_through_and_the_request_still_arrives,
    an_id_of_an_open_order_exists,
    a_time_stamp_out_of_the_window_is_clock,
    what_the_venue_says_no_to_is_rejected,
    reads_fail_loudly_not_emptily,
    stream_faults_reach_the_watch,
    a_cut_stream_comes_back,
    hundred_orders_at_once_keep_their_answers_apart,
]
