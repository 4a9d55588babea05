"""Checks of `ExecutionClient.place`: the permit, and what each attempt's outcome proves."""

from __future__ import annotations

from typing import Final

import anyio

from holdfast.errors import TradingHalted
from holdfast.model import OrderStatus, OutcomeKind, PlaceOutcome
from holdfast.ports import PreparesOrders

from .bench import CALL_SECONDS, Bench, Check, on_a_bench
from .venue import NO_SYMBOL, Mishap
from .watching import expect, until

CROWD: Final = 100
"""Orders on their way at once."""


# --- permit ------------------------------------------------------------------------


@on_a_bench
async def what_the_permit_raises_passes_and_nothing_is_sent(bench: Bench) -> None:
    # Some are errors of the network as well: they still are the permit's, not the network's.
    for refusal in (TradingHalted("shut"), ConnectionError("shut"), TimeoutError("shut")):
        order = bench.new_id()

        def refuse(refusal: Exception = refusal) -> None:
            raise refusal

        came: object
        try:
            came = await bench.client.place(
                bench.request(order), permit=refuse, timeout_seconds=CALL_SECONDS
            )
        except Exception as error:  # whatever it is, it has to be the permit's own
            came = error
        assert came is refusal, (
            f"what `permit` raises passes through: {came!r} came in place of {refusal!r}"
        )
        await anyio.sleep(bench.control.timeout_seconds)
        expect("a refused permit proves that nothing was sent", await bench.taken(order), 0)
    await bench.place_accepted()


@on_a_bench
async def the_permit_is_asked_after_connecting(bench: Bench) -> None:
    control, watch = bench.control, bench.watch
    order = bench.new_id()
    await control.line_down()
    await watch.until("`down` is called when the line is cut", lambda: not watch.is_up)
    outcome = await bench.place(order, timeout_seconds=control.timeout_seconds)
    expect("`permit` is asked at the last moment, after connecting", bench.permits, 0)
    expect("what never left is known to be not executed", outcome.kind, OutcomeKind.NOT_EXECUTED)
    await control.line_up()
    await watch.until("`run` reconnects by itself and calls `up`", lambda: watch.is_up)
    expect("a transport repeats nothing by itself", await bench.taken(order), 0)


@on_a_bench
async def an_order_that_is_not_ready_does_not_leave(bench: Bench) -> None:
    """Nothing to check of a client that does not offer it (`PreparesOrders`)."""
    client, order = bench.client, bench.new_id()
    if not isinstance(client, PreparesOrders):
        return
    for failure in (OSError("no disk"), TimeoutError("no disk")):

        async def fail(failure: Exception = failure) -> None:
            raise failure

        came: object
        try:
            came = await client.place_when_ready(
                bench.request(order),
                ready=fail,
                permit=bench.permit,
                timeout_seconds=CALL_SECONDS,
            )
        except Exception as error:  # whatever it is, it has to be what `ready` raised
            came = error
        assert came is failure, (
            f"what `ready` raises passes through: {came!r} came in place of {failure!r}"
        )
        expect("`permit` is asked after `ready`", bench.permits, 0)
        expect("what was never ready was not sent", await bench.taken(order), 0)
    waits, may_go = anyio.Event(), anyio.Event()
    outcomes: list[PlaceOutcome] = []

    async def ready() -> None:
        waits.set()
        await may_go.wait()

    async def place() -> None:
        outcomes.append(
            await client.place_when_ready(
                bench.request(order),
                ready=ready,
                permit=bench.permit,
                timeout_seconds=CALL_SECONDS,
            )
        )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place)
        await until("`ready` is awaited", waits.is_set)
        expect("what is not ready yet is not sent", await bench.taken(order), 0)
        expect("`permit` is asked after `ready`", bench.permits, 0)
        may_go.set()
    expect("`permit` is asked", bench.permits, 1)
    expect("what is ready is sent", outcomes[0].kind, OutcomeKind.ACCEPTED)


# --- placing -----------------------------------------------------------------------


@on_a_bench
async def accepts_and_reports_an_order(bench: Bench) -> None:
    order = await bench.place_accepted()
    await bench.until_final(order)
    reports = bench.watch.of(order)
    filled = [report.order.filled for report in reports]
    assert filled == sorted(filled), f"reports come in the venue's order: filled {filled}"
    fills = {report.fill.trade_id: report.fill for report in reports if report.fill is not None}
    expect(
        "the fills that are reported make up the order",
        sum(fill.signed_quantity for fill in fills.values()),
        bench.control.quantity,
    )
    assert all(fill.client_order_id == order for fill in fills.values()), "a fill names its order"
    found = (await bench.look("query", order)).order
    assert found is not None, "an order that was filled is found"
    expect("a query tells what was filled", found.filled, bench.control.quantity)


@on_a_bench
async def reports_come_in_the_venues_order(bench: Bench) -> None:
    order = await bench.rest()
    price = await bench.control.resting_price()
    watch = bench.watch
    await watch.until("a resting order is reported", lambda: bool(watch.of(order)))
    await bench.control.set_price(price)
    await bench.until_final(order)
    # By the time a later order is told, everything of this one has been.
    later = await bench.place_accepted()
    await bench.until_final(later)
    statuses = [report.order.status for report in watch.of(order)]
    assert statuses[0] is OrderStatus.OPEN, f"an order is open before it is filled: {statuses}"
    assert statuses == sorted(statuses, key=lambda status: status.final), (
        f"reports come in the venue's order: {statuses}"
    )


@on_a_bench
async def a_lost_request_is_unknown(bench: Bench) -> None:
    order, outcome = await bench.spoiled(Mishap.LOST_REQUEST)
    expect("without an answer nobody can tell", outcome.kind, OutcomeKind.UNKNOWN)
    expect("a transport never repeats an attempt", await bench.taken(order), 0)


@on_a_bench
async def a_lost_reply_is_unknown_and_sent_once(bench: Bench) -> None:
    for mishap in (Mishap.LOST_REPLY, Mishap.LATE_REPLY):
        order, outcome = await bench.spoiled(mishap)
        expect("without an answer in time nobody can tell", outcome.kind, OutcomeKind.UNKNOWN)
        expect("an attempt is sent once", await bench.taken(order), 1)


@on_a_bench
async def a_broken_connection_is_unknown(bench: Bench) -> None:
    for mishap, taken in ((Mishap.CUT_BEFORE, 0), (Mishap.CUT_AFTER, 1), (Mishap.TRUNCATED, 1)):
        order, outcome = await bench.spoiled(mishap)
        expect(f"{mishap}: nobody can tell", outcome.kind, OutcomeKind.UNKNOWN)
        expect(f"{mishap}: an attempt is sent once", await bench.taken(order), taken)


@on_a_bench
async def a_request_held_up_is_unknown(bench: Bench) -> None:
    """It arrives when its caller has long given up: nothing else would be true."""
    order, outcome = await bench.spoiled(Mishap.HELD_UP)
    expect("without an answer in time nobody can tell", outcome.kind, OutcomeKind.UNKNOWN)
    await anyio.sleep(3 * bench.control.timeout_seconds)
    await bench.taken(order)


@on_a_bench
async def a_failing_venue_is_unknown(bench: Bench) -> None:
    order, outcome = await bench.spoiled(Mishap.SERVER_ERROR)
    expect("an error that says nothing of the order", outcome.kind, OutcomeKind.UNKNOWN)
    await bench.taken(order)


@on_a_bench
async def too_many_requests_are_told_as_such(bench: Bench) -> None:
    order, outcome = await bench.spoiled(Mishap.THROTTLED)
    assert outcome.kind in (OutcomeKind.THROTTLED, OutcomeKind.BANNED), (
        f"a refusal for too many requests is THROTTLED or BANNED: {outcome}"
    )
    expect("what was refused is not repeated", await bench.taken(order), 0)


@on_a_bench
async def cancellation_passes_through(bench: Bench) -> None:
    control = bench.control
    await control.spoil("place", Mishap.LATE_REPLY)
    order = bench.new_id()
    with anyio.move_on_after(control.timeout_seconds) as scope:
        await bench.client.place(
            bench.request(order), permit=bench.permit, timeout_seconds=CALL_SECONDS
        )
    assert scope.cancelled_caught, "cancellation passes through `place`"
    await control.mend()
    await bench.place_accepted()
    taken = await bench.taken(order)
    assert bench.permits == 2 or not taken, "nothing is written without asking `permit`"


@on_a_bench
async def a_call_cancelled_at_once_keeps_its_word(bench: Bench) -> None:
    order = bench.new_id()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await bench.client.place(
            bench.request(order), permit=bench.permit, timeout_seconds=CALL_SECONDS
        )
    await anyio.sleep(bench.control.timeout_seconds)
    taken = await bench.taken(order)
    assert bench.permits or not taken, "where `permit` was not asked, nothing is sent"
    await bench.place_accepted()


@on_a_bench
async def an_id_of_an_open_order_exists(bench: Bench) -> None:
    order = await bench.rest()
    again = await bench.place(order, price=await bench.control.resting_price())
    expect("an id that an open order has", again.kind, OutcomeKind.EXISTS)
    expect("the order is not placed twice", await bench.taken(order), 1)


@on_a_bench
async def what_the_venue_says_no_to_is_rejected(bench: Bench) -> None:
    for wrong in ({"symbol": NO_SYMBOL}, {"reduce_only": True}):
        order = bench.new_id()
        outcome = await bench.place(order, **wrong)
        expect(f"{wrong}: what will never be accepted", outcome.kind, OutcomeKind.REJECTED)
        expect("what is rejected was not taken", await bench.taken(order), 0)


@on_a_bench
async def the_venue_judges_the_signed_time_and_window(bench: Bench) -> None:
    control = bench.control
    for skew_ms in (6_000, -6_000):
        await control.skew_clock(skew_ms)
        order = bench.new_id()
        outcome = await bench.place(order, recv_window_ms=3_000)
        expect(
            f"`timestamp_ms` and `recv_window_ms` are signed as given (skew {skew_ms} ms)",
            outcome.kind,
            OutcomeKind.CLOCK,
        )
        expect("what was refused for its time was not taken", await bench.taken(order), 0)
    await control.skew_clock(6_000)
    await bench.place_accepted(recv_window_ms=50_000)


@on_a_bench
async def many_at_once_keep_their_answers_apart(bench: Bench) -> None:
    price = await bench.control.resting_price()
    answers: dict[str, str] = {}

    async def place(order: str) -> None:
        outcome = await bench.answer(
            "place",
            bench.client.place(
                bench.request(order, price=price),
                permit=bench.permit,
                timeout_seconds=2 * CALL_SECONDS,
            ),
            2 * CALL_SECONDS,
        )
        answers[order] = outcome.order.client_order_id if outcome.order is not None else ""

    async with anyio.create_task_group() as group:
        for _ in range(CROWD):
            group.start_soon(place, bench.new_id())
    wrong = {asked: found for asked, found in answers.items() if asked != found}
    assert not wrong, f"each call gets its own answer: {wrong}"
    expect("`permit` is asked once for each", bench.permits, CROWD)


PLACING_CHECKS: Final[tuple[Check, ...]] = (
    what_the_permit_raises_passes_and_nothing_is_sent,
    the_permit_is_asked_after_connecting,
    an_order_that_is_not_ready_does_not_leave,
    accepts_and_reports_an_order,
    reports_come_in_the_venues_order,
    a_lost_request_is_unknown,
    a_lost_reply_is_unknown_and_sent_once,
    a_broken_connection_is_unknown,
    a_request_held_up_is_unknown,
    a_failing_venue_is_unknown,
    too_many_requests_are_told_as_such,
    cancellation_passes_through,
    a_call_cancelled_at_once_keeps_its_word,
    an_id_of_an_open_order_exists,
    what_the_venue_says_no_to_is_rejected,
    the_venue_judges_the_signed_time_and_window,
    many_at_once_keep_their_answers_apart,
)
