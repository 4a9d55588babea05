"""Checks of an execution client's link, its questions, its reads and its user stream."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from holdfast.model import OrderStatus, QueryKind

from .bench import CALL_SECONDS, READS, Bench, Check, on_a_bench
from .venue import NO_SYMBOL, Mishap, NotChecked
from .watching import expect, raises_link_down

UNANSWERED: Final = (
    Mishap.LOST_REPLY,
    Mishap.CUT_AFTER,
    Mishap.TRUNCATED,
    Mishap.SERVER_ERROR,
    Mishap.THROTTLED,
)
"""What leaves a question without an answer."""


# --- the link ----------------------------------------------------------------------


@on_a_bench
async def connects_and_answers_a_probe(bench: Bench) -> None:
    client = bench.client
    assert client.name, "`name` says which link it is"
    assert client.venue, "`venue` says which venue it is"
    assert bench.watch.heard.count("up") == 1, f"`up` is called once: {bench.watch.heard}"
    await client.probe()


@on_a_bench
async def a_line_that_is_down_is_told_and_comes_back(bench: Bench) -> None:
    control, watch = bench.control, bench.watch
    known = await bench.rest()
    await control.line_down()
    await watch.until("`down` is called when the line is cut", lambda: not watch.is_up)
    await watch.until("`stream_down` is called, too", lambda: not watch.stream_is_up)
    assert all(watch.reasons), f"`down` and `stream_down` say why: {watch.reasons}"
    await raises_link_down("probe", bench.client.probe())
    for call in READS:
        await raises_link_down(call, bench.read(call))
    for look in ("query", "cancel"):
        outcome = await bench.look(look, known)
        expect(f"a {look} that could not be asked", outcome.kind, QueryKind.UNANSWERED)
    await control.line_up()
    await watch.until("`run` reconnects by itself and calls `up`", lambda: watch.is_up)
    await watch.until("... and `stream_up`", lambda: watch.stream_is_up)
    await bench.client.probe()
    expect("an order outlives the line", (await bench.look("query", known)).kind, QueryKind.FOUND)


@on_a_bench
async def a_client_that_ended_is_silent(bench: Bench) -> None:
    async with bench.another() as other:
        pass
    heard = list(other.watch.heard)
    order = await bench.place_accepted()
    await bench.until_final(order)
    assert not other.watch.of(order), "a client whose `run` ended reports nothing more"
    expect("... and tells nothing more", other.watch.heard, heard)


# --- asking after an order ---------------------------------------------------------


@on_a_bench
async def found_absent_and_unanswered_are_told_apart(bench: Bench) -> None:
    order = await bench.rest()
    found = await bench.look("query", order)
    assert found.order is not None, f"an order that is there is FOUND: {found}"
    expect("... by its own name", found.order.client_order_id, order)
    expect("... as it stands", found.order.status, OrderStatus.OPEN)
    absent = await bench.look("query", bench.new_id())
    expect("the venue answered that it has no such order", absent.kind, QueryKind.ABSENT)
    for mishap in UNANSWERED:
        await bench.control.spoil("query", mishap)
        lost = await bench.look("query", order, timeout_seconds=bench.control.timeout_seconds)
        expect(f"{mishap}: nobody answered", lost.kind, QueryKind.UNANSWERED)
        await bench.control.mend()


@on_a_bench
async def cancel_tells_how_the_order_stands(bench: Bench) -> None:
    order = await bench.rest()
    for promise in ("the answer tells how the order stands", "`cancel` is safe to repeat"):
        outcome = await bench.look("cancel", order)
        expect(promise, outcome.order and outcome.order.status, OrderStatus.CANCELED)
    filled = await bench.place_accepted()
    outcome = await bench.look("cancel", filled)
    expect(
        "what was filled is told as filled",
        outcome.order and outcome.order.status,
        OrderStatus.FILLED,
    )
    absent = await bench.look("cancel", bench.new_id())
    expect("an order that was never there", absent.kind, QueryKind.ABSENT)


@on_a_bench
async def a_cancel_without_an_answer_can_be_repeated(bench: Bench) -> None:
    for mishap in UNANSWERED:
        order = await bench.rest()
        await bench.control.spoil("cancel", mishap)
        lost = await bench.look("cancel", order, timeout_seconds=bench.control.timeout_seconds)
        expect(f"{mishap}: nobody answered", lost.kind, QueryKind.UNANSWERED)
        await bench.control.mend()
        again = await bench.look("cancel", order)
        expect(
            "`cancel` is safe to repeat", again.order and again.order.status, OrderStatus.CANCELED
        )


# --- reading -----------------------------------------------------------------------


@on_a_bench
async def reads_fail_loudly_never_emptily(bench: Bench) -> None:
    await bench.place_accepted()
    for call in READS:
        for mishap in UNANSWERED:
            await bench.control.spoil(call, mishap)
            await raises_link_down(f"{call} ({mishap})", bench.read(call))
            await bench.control.mend()


@on_a_bench
async def tells_what_is_open_and_held(bench: Bench) -> None:
    client, control = bench.client, bench.control
    expect("no open order", await client.open_orders(timeout_seconds=CALL_SECONDS), [])
    expect("no position", await client.positions(timeout_seconds=CALL_SECONDS), [])
    price = await control.resting_price()
    resting = await bench.rest()
    await bench.place_accepted()
    orders = await client.open_orders(timeout_seconds=CALL_SECONDS)
    expect(
        "all open orders, and no other",
        [(order.client_order_id, order.price, order.filled) for order in orders],
        [(resting, price, Decimal(0))],
    )
    await _holds(bench, control.quantity)
    await bench.place_accepted(side="sell", reduce_only=True)
    await _holds(bench, None)
    await bench.place_accepted(side="sell")
    await _holds(bench, -control.quantity)


@on_a_bench
async def fills_ascend_after_the_id_given(bench: Bench) -> None:
    last = await bench.last_trade_id()
    orders = [await bench.place_accepted() for _ in range(3)]
    fills = await bench.fills(last)
    ids = [fill.trade_id for fill in fills]
    assert ids == sorted(set(ids)), f"fills ascend by trade id, each once: {ids}"
    assert ids, "fills of orders that were filled are told"
    assert ids[0] > last, f"only fills with a greater trade id than {last}: {ids}"
    expect("every fill is told", list(dict.fromkeys(f.client_order_id for f in fills)), orders)
    total = sum(fill.signed_quantity for fill in fills)
    expect("fills make up their orders", total, 3 * bench.control.quantity)
    rest = [fill.trade_id for fill in await bench.fills(ids[0])]
    expect("only fills with a greater trade id", rest, ids[1:])
    expect("nothing came after the last", await bench.fills(ids[-1]), [])


@on_a_bench
async def the_newest_trade_is_the_last_of_the_fills(bench: Bench) -> None:
    for number in range(3):
        await bench.control.foreign_order("sell" if number % 2 else "buy")
    async with bench.another() as other:
        newest = await other.client.newest_trade_id(
            bench.control.symbol, timeout_seconds=CALL_SECONDS
        )
    expect("the newest trade id", newest, await bench.last_trade_id())
    expect("nothing came after it", await bench.fills(newest), [])


@on_a_bench
async def a_foreign_hand_is_seen(bench: Bench) -> None:
    last = await bench.last_trade_id()
    foreign = await bench.control.foreign_order("sell")
    await bench.until_final(foreign)
    await _holds(bench, -bench.control.quantity)
    async with bench.another() as other:
        fills = await other.fills(last)
    assert fills, "fills by another hand are told"
    assert {fill.client_order_id for fill in fills} == {foreign}, (
        f"a fill names its order, also one that this client never saw: {fills}"
    )


@on_a_bench
async def fills_are_read_over_all_pages(bench: Bench) -> None:
    page = bench.control.page_of_fills
    if page is None:
        raise NotChecked("page_of_fills")
    last = await bench.last_trade_id()
    wanted = 2 * page + 5
    for number in range(wanted):
        await bench.control.foreign_order("sell" if number % 2 else "buy")
    fills = await bench.client.fills(
        bench.control.symbol, after_trade_id=last, timeout_seconds=4 * CALL_SECONDS
    )
    ids = [fill.trade_id for fill in fills]
    assert ids == sorted(set(ids)), "fills ascend by trade id, each once, over all pages"
    assert len(ids) >= wanted, f"all pages are read: {len(ids)} fills of {wanted} orders"


@on_a_bench
async def instruments_say_what_the_venue_accepts(bench: Bench) -> None:
    control = bench.control
    instruments = await bench.client.instruments(timeout_seconds=CALL_SECONDS)
    assert control.symbol in instruments, f"by unified symbol: {sorted(instruments)[:5]}..."
    for symbol, instrument in instruments.items():
        expect("each under its own symbol", instrument.symbol, symbol)
        for name in ("price_step", "quantity_step", "min_quantity", "min_notional"):
            value = getattr(instrument, name)
            assert isinstance(value, Decimal), f"{symbol}: {name} is exact, no {type(value)}"
            assert value >= 0, f"{symbol}: {name} is {value}"
    traded, price = instruments[control.symbol], await control.resting_price()
    expect("`quantity_step` divides what is accepted", control.quantity % traded.quantity_step, 0)
    expect("`price_step` divides what is accepted", price % traded.price_step, 0)
    assert control.quantity >= traded.min_quantity, "`min_quantity` is below what is accepted"
    assert control.quantity * price >= traded.min_notional, "so is `min_notional`"


@on_a_bench
async def the_last_price_is_the_markets(bench: Bench) -> None:
    price = await bench.control.resting_price()
    await bench.control.set_price(price)
    last = await bench.read("last_price")
    assert isinstance(last, Decimal), f"a price is exact, no {type(last)}"
    expect("what the symbol last traded at", last, price)
    await raises_link_down(
        "last_price of no symbol",
        bench.client.last_price(NO_SYMBOL, timeout_seconds=CALL_SECONDS),
    )


@on_a_bench
async def the_time_is_the_venues(bench: Bench) -> None:
    before = await bench.read("venue_time_ms")
    await bench.control.skew_clock(60_000)
    after = await bench.read("venue_time_ms")
    assert 60_000 <= after - before < 90_000, (
        f"the venue's clock, not ours: it was put 60000 ms ahead, and tells {after - before}"
    )


# --- the user stream ---------------------------------------------------------------


@on_a_bench
async def a_cut_stream_comes_back(bench: Bench) -> None:
    watch = bench.watch
    watch.heard.clear()
    await bench.control.cut_stream()
    await watch.until("the stream reconnects by itself", lambda: "stream_up" in watch.heard)
    expect("the stream has its own health", watch.heard, ["stream_down", "stream_up"])
    assert all(watch.reasons), f"`stream_down` says why: {watch.reasons}"
    await bench.until_final(await bench.place_accepted())


async def _holds(bench: Bench, quantity: Decimal | None) -> None:
    positions = await bench.client.positions(timeout_seconds=CALL_SECONDS)
    expect(
        "all positions that are not flat, short ones negative",
        [(position.symbol, position.quantity) for position in positions],
        [] if quantity is None else [(bench.control.symbol, quantity)],
    )


ANSWERING_CHECKS: Final[tuple[Check, ...]] = (
    connects_and_answers_a_probe,
    a_line_that_is_down_is_told_and_comes_back,
    a_client_that_ended_is_silent,
    found_absent_and_unanswered_are_told_apart,
    cancel_tells_how_the_order_stands,
    a_cancel_without_an_answer_can_be_repeated,
    reads_fail_loudly_never_emptily,
    tells_what_is_open_and_held,
    fills_ascend_after_the_id_given,
    the_newest_trade_is_the_last_of_the_fills,
    a_foreign_hand_is_seen,
    instruments_say_what_the_venue_accepts,
    the_last_price_is_the_markets,
    the_time_is_the_venues,
    a_cut_stream_comes_back,
    fills_are_read_over_all_pages,
)
