"""What a guarded exchange promises, one function each; every kind of exchange runs them all.

Functions that take a bot. `bot.exchange` is guarded, `bot.raw` is the same exchange without.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import ccxt
from guard_rigs import BTC, Bot, maybe

import holdfast
from holdfast.transports.sim import Fault

D = Decimal


# --- placing -------------------------------------------------------------------------


async def the_reply_is_what_ccxt_would_have_said(bot: Bot) -> None:
    rows: list[tuple[Any, ...]] = [
        ("market", "buy", 0.010, None, {}),
        ("limit", "buy", 0.020, 49_000.5, {}),
        ("limit", "buy", 0.010, 51_000, {"timeInForce": "IOC"}),
        ("limit", "sell", 0.010, 52_000, {"postOnly": True}),
        ("market", "sell", 0.010, None, {"reduceOnly": True}),
    ]
    passing = ("id", "clientOrderId", "info", "timestamp", "datetime")
    passing += ("lastUpdateTimestamp", "lastTradeTimestamp")
    guarded = [await maybe(bot.exchange.create_order(BTC, *row)) for row in rows]
    fetched = [await maybe(bot.exchange.fetch_order(ours["id"], BTC)) for ours in guarded]
    # Afterwards, because the engine stops trading, and cancels what rests, where another hand
    # trades.
    plain = [await maybe(bot.raw.create_order(BTC, *row)) for row in rows]
    for row, ours, found, theirs in zip(rows, guarded, fetched, plain, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - set(passing):
            if name != "timeInForce" or row[0] == "limit":  # the venue fills in its own default
                assert ours[name] == theirs[name], (row, name)
        for name in ("id", "timestamp", "datetime", "lastUpdateTimestamp"):
            assert type(ours[name]) is type(theirs[name])
        shared = ours["info"].keys() & theirs["info"].keys()
        assert {"orderId", "status", "executedQty", "avgPrice", "cumQuote"} <= shared
        assert type(ours["info"]["orderId"]) is type(theirs["info"]["orderId"])
        assert found["clientOrderId"] == ours["clientOrderId"]
        # The query tells when it was accepted, the reply to the order when it last changed.
        assert found["timestamp"] <= ours["timestamp"]


async def every_way_to_place_an_order_goes_through_the_engine(bot: Bot) -> None:
    ex = bot.exchange
    rows = [{"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": 48_000}]
    ways = [
        lambda: ex.create_order(BTC, "market", "buy", 0.010),
        lambda: ex.createOrder(symbol=BTC, type="market", side="buy", amount=0.010),
        lambda: ex.create_limit_order(BTC, "buy", 0.010, 48_000),
        lambda: ex.create_limit_buy_order(BTC, 0.010, 48_000),
        lambda: ex.createLimitSellOrder(BTC, 0.010, 52_000),
        lambda: ex.create_market_order(BTC, "buy", 0.010),
        lambda: ex.createMarketBuyOrder(BTC, 0.010),
        lambda: ex.create_market_sell_order(BTC, 0.010),
        lambda: ex.create_post_only_order(BTC, "limit", "buy", 0.010, 48_000),
        lambda: ex.create_reduce_only_order(BTC, "market", "sell", 0.010),
        lambda: ex.create_order_ws(BTC, "market", "buy", 0.010),
        lambda: ex.createOrderWs(BTC, "market", "buy", 0.010),
        lambda: ex.create_orders(rows),
        lambda: ex.createOrders(rows),
        lambda: ex.create_orders_ws(rows),
    ]
    for way in ways:
        await maybe(way())
    assert len(bot.served.log()) == len(ways)
    ids = [order.client_order_id for order in bot.served.venue.order_log]
    assert all(cid.startswith("hf-guarded-") for cid in ids)
    assert len(bot.served.requests("place")) == len(ways)


async def numbers_are_rounded_as_ccxt_rounds_them(bot: Bot) -> None:
    rows: list[tuple[Any, Any]] = [
        (0.0109, 48_000.07),
        ("0.0199", "47999.96"),
        (D("0.0109999"), D("48000.04")),
        (1, 48_000),
        (0.1 + 0.2, 48_000.149999),
    ]
    for amount, price in rows:
        await bot.limit(price, amount)
        await maybe(bot.raw.create_order(BTC, "limit", "buy", amount, price))
        ours, theirs = bot.served.log()[-2:]
        assert ours == theirs
    taken = len(bot.served.log())
    error = await bot.fails(lambda: bot.limit(48_000, 0.0009))
    assert isinstance(error, holdfast.InvalidOrder)
    assert isinstance(error, ccxt.InvalidOrder)
    assert len(bot.served.log()) == taken


async def what_is_not_carried_is_refused_before_anything_is_sent(bot: Bot) -> None:
    asked: list[dict[str, Any]] = [
        {"test": True},
        {"stopPrice": 0},
        {"takeProfit": {"triggerPrice": 52_000}},
        {"trailingPercent": 1},
        {"reduceOnyl": True},
        {"timeInForce": "FOK"},
        {"recvWindow": 5000},
    ]
    for params in asked:
        error = await bot.fails(lambda p=params: bot.limit(**p))  # type: ignore[misc]
        assert isinstance(error, holdfast.InvalidOrder), params
        assert isinstance(error, ccxt.InvalidOrder)
        assert next(iter(params)) in str(error)
    trailing = lambda: bot.exchange.create_trailing_percent_order(  # noqa: E731
        BTC, "market", "sell", 0.01, None, 1
    )
    assert isinstance(await bot.fails(trailing), ccxt.ExchangeError)
    assert bot.served.requests("place") == []


async def a_batch_tells_of_each_order(bot: Bot) -> None:
    def row(price: Any, amount: Any = 0.010, **params: Any) -> dict[str, Any]:
        shape = {"symbol": BTC, "type": "limit", "side": "buy", "amount": amount}
        return {**shape, "price": price, "params": params}

    # The second would take, though it is post-only.
    structures = await maybe(
        bot.exchange.create_orders([row(48_000), row(51_000, postOnly=True), row(47_000)])
    )
    assert [s["status"] for s in structures] == ["open", "rejected", "open"]
    assert structures[1]["info"]["code"] == "-5022"
    taken = len(bot.served.log())
    assert taken == 2
    # One that is not even well-formed: none is sent.
    error = await bot.fails(
        lambda: bot.exchange.create_orders([row(48_000), row(48_000, amount="none")])
    )
    assert isinstance(error, holdfast.InvalidOrder)
    # None was accepted: the first error is raised.
    error = await bot.fails(lambda: bot.exchange.create_orders([row(51_000, postOnly=True)]))
    assert isinstance(error, holdfast.Rejected)
    assert len(bot.served.log()) == taken


# --- what may go wrong ---------------------------------------------------------------


async def a_shut_gate_lets_nothing_out(bot: Bot) -> None:
    await bot.buy()
    await maybe(bot.engine.halt("by the test"))
    placed = bot.served.requests("place")
    entry = await bot.fails(bot.buy)
    assert isinstance(entry, holdfast.TradingHalted)
    assert isinstance(entry, ccxt.ExchangeError)
    assert not isinstance(entry, ccxt.NetworkError)
    assert "by the test" in entry.reason
    batch = [{"symbol": BTC, "type": "market", "side": "buy", "amount": 0.01}]
    assert isinstance(
        await bot.fails(lambda: bot.exchange.create_orders(batch)), holdfast.TradingHalted
    )
    # An exit is one that the bot should go on trying.
    exit_ = await bot.fails(
        lambda: bot.exchange.create_order(BTC, "market", "sell", 0.01, None, {"reduceOnly": True})
    )
    assert isinstance(exit_, holdfast.TradingHalted)
    assert isinstance(exit_, ccxt.NetworkError)
    assert bot.served.requests("place") == placed


async def the_same_client_id_is_the_same_order(bot: Bot) -> None:
    first = await bot.limit(clientOrderId="signal-17")
    again = await bot.limit(newClientOrderId="signal-17")
    assert again["id"] == first["id"]
    assert again["timestamp"] == first["timestamp"]
    # A bot that has thought again is told that it would be another order, and what differs.
    asked: list[tuple[str, Callable[[], Any]]] = [
        ("price", lambda: bot.limit(48_000, clientOrderId="signal-17")),
        ("quantity", lambda: bot.limit(amount=0.020, clientOrderId="signal-17")),
    ]
    for what, other in asked:
        error = await bot.fails(other)
        assert isinstance(error, holdfast.InvalidOrder)
        assert "signal-17" in str(error)
        assert f"{what} was" in str(error)
    assert len(bot.served.log()) == 1


async def a_client_id_is_free_again_if_nothing_reached_the_venue(bot: Bot) -> None:
    # Given up before the journal, …
    await maybe(bot.engine.halt("by the test"))
    error = await bot.fails(lambda: bot.buy(clientOrderId="signal-18"))
    assert isinstance(error, holdfast.TradingHalted)
    await maybe(bot.engine.resume())
    await maybe(bot.engine.until_healthy())
    # … after it, twice, …
    overloaded = Fault.refusal(-1008, "Server is overloaded.", status=503)
    for _ in range(2):
        bot.served.arm("place", overloaded, count=3)
        error = await bot.fails(lambda: bot.buy(clientOrderId="signal-18"))
        assert isinstance(error, holdfast.NotExecuted)
        assert isinstance(error, ccxt.ExchangeError)
        assert not isinstance(error, ccxt.NetworkError)
    assert bot.served.log() == []
    # … and it goes through.
    order = await bot.buy(clientOrderId="signal-18")
    assert order["status"] == "closed"
    for _ in range(2):
        assert (await bot.buy(clientOrderId="signal-18"))["id"] == order["id"]
    found = await maybe(bot.exchange.fetch_order(None, BTC, {"clientOrderId": "signal-18"}))
    assert found["id"] == order["id"]
    assert len(bot.served.log()) == 1


async def an_exit_that_was_not_sent_may_be_retried(bot: Bot) -> None:
    await bot.buy()
    later = Fault(executes=False, reply="error", status=429, code=-1003, retry_after_seconds=30)
    bot.served.arm("place", later)
    error = await bot.fails(
        lambda: bot.exchange.create_order(BTC, "market", "sell", 0.01, None, {"reduceOnly": True})
    )
    assert isinstance(error, holdfast.NotExecuted)
    assert isinstance(error, ccxt.ExchangeNotAvailable)


async def a_refusal_has_ccxts_own_class(bot: Bot) -> None:
    rows: list[tuple[Any, dict[str, Any], type[Exception], int]] = [
        (900, {}, ccxt.InsufficientFunds, -2019),
        (0.010, {"reduceOnly": True}, ccxt.InvalidOrder, -2022),
        (0.010, {"positionSide": "LONG"}, ccxt.OperationRejected, -4061),
    ]
    for amount, params, expected, code in rows:
        error = await bot.fails(lambda a=amount, p=params: bot.buy("market", a, None, **p))  # type: ignore[misc]
        assert isinstance(error, holdfast.Rejected)
        assert isinstance(error, expected)
        assert error.code == code
    assert bot.served.log() == []


# --- cancelling ----------------------------------------------------------------------


async def an_order_is_cancelled_by_any_of_its_names(bot: Bot) -> None:
    ex = bot.exchange
    ways = [
        lambda order: ex.cancel_order(order["id"], BTC),
        lambda order: ex.cancelOrder(int(order["id"]), symbol=BTC),
        lambda order: ex.cancel_order(order["clientOrderId"], BTC),
        lambda order: ex.cancel_order(None, BTC, {"origClientOrderId": order["clientOrderId"]}),
        lambda order: ex.cancel_order(
            None, BTC, {"clientOrderId": order["info"]["holdfast"]["key"]}
        ),
        lambda order: ex.cancel_order_with_client_order_id(order["clientOrderId"], BTC),
        lambda order: ex.cancel_order_ws(order["id"], BTC),
        lambda order: ex.cancel_order(order["id"], BTC, {"recvWindow": 5000}),
    ]
    for number, cancel in enumerate(ways):
        order = await bot.limit(clientOrderId=f"mine-{number}")
        cancelled = await maybe(cancel(order))
        assert (cancelled["id"], cancelled["status"]) == (order["id"], "canceled")
        assert cancelled["remaining"] == 0.010
    assert bot.served.venue.open_orders(None) == []
    # In batches.
    orders = [await bot.limit() for _ in range(4)]
    await maybe(ex.cancel_orders([order["id"] for order in orders[:2]], BTC))
    by_client = [order["clientOrderId"] for order in orders[2:]]
    gone = await maybe(ex.cancel_orders_with_client_order_ids(by_client, BTC))
    assert [order["status"] for order in gone] == ["canceled", "canceled"]
    again = await maybe(ex.cancel_orders([orders[0]["id"], "12345"], BTC))
    assert [order["status"] for order in again][1] == "rejected"
    assert bot.served.venue.open_orders(None) == []


async def what_is_filled_can_not_be_cancelled(bot: Bot) -> None:
    order = await bot.buy(clientOrderId="filled")
    for name in (order["id"], order["clientOrderId"], "filled"):
        error = await bot.fails(lambda n=name: bot.exchange.cancel_order(n, BTC))  # type: ignore[misc]
        assert isinstance(error, ccxt.OrderNotFound)


async def orders_of_another_hand_are_cancelled_as_ccxt_does(bot: Bot) -> None:
    number = bot.served.foreign_order("48000")
    cancelled = await maybe(bot.exchange.cancel_order(number, BTC))
    assert cancelled["status"] == "canceled"
    error = await bot.fails(lambda: bot.exchange.cancel_order("777", BTC))
    assert isinstance(error, ccxt.OrderNotFound)


async def a_cancel_without_an_answer_may_be_repeated(bot: Bot) -> None:
    order = await bot.limit()
    bot.served.arm("cancel", Fault.lost_reply())
    error = await bot.fails(lambda: bot.exchange.cancel_order(order["id"], BTC))
    assert isinstance(error, holdfast.LinkDown)
    assert isinstance(error, ccxt.NetworkError)
    cancelled = await maybe(bot.exchange.cancel_order(order["clientOrderId"], BTC))
    assert cancelled["status"] == "canceled"


# --- editing -------------------------------------------------------------------------


async def an_edit_replaces_what_is_not_filled(bot: Bot) -> None:
    order = await bot.limit(49_000, 0.030, clientOrderId="entry", postOnly=True)
    bot.served.price("48999", "0.010")

    async def partly_filled() -> bool:
        return (await maybe(bot.exchange.fetch_order("entry", BTC)))["filled"] > 0

    await bot.until(partly_filled, "it is partly filled")
    filled = bot.served.position
    bot.served.price("50000")
    edited = await maybe(bot.exchange.edit_order(order["id"], BTC, "limit", "buy", 0.040, 48_500))
    assert (edited["price"], edited["status"], edited["postOnly"]) == (48_500, "open", True)
    assert D(str(edited["amount"])) == D("0.040") - filled
    # The same edit once more is the same order, and ccxt's other words for it.
    for call in (
        lambda: bot.exchange.editOrder(order["id"], BTC, "limit", "buy", 0.040, 48_500),
        lambda: bot.exchange.edit_limit_order(order["clientOrderId"], BTC, "buy", 0.040, 48_500),
    ):
        assert (await maybe(call()))["id"] == edited["id"]
    assert len(bot.served.log()) == 2
    # What is not given stays as it was.
    last = await maybe(
        bot.exchange.edit_order(edited["id"], BTC, "limit", "buy", None, 48_000, {"postOnly": True})
    )
    assert (last["amount"], last["price"]) == (edited["amount"], 48_000)
    (resting,) = bot.served.venue.open_orders(None)
    assert str(resting.order_id) == last["id"]


async def a_batch_of_edits_tells_of_each_order(bot: Bot) -> None:
    ex = bot.exchange
    first, second = await bot.limit(48_000), await bot.limit(47_000)
    gone = await bot.limit(46_000)
    await maybe(ex.cancel_order(gone["id"], BTC))

    def row(order: Any, price: Any) -> dict[str, Any]:
        shape = {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.010}
        return {"id": order["id"], **shape, "price": price}

    rows = [row(first, 48_100), row(gone, 46_100), row(second, 51_000)]
    rows[2]["params"] = {"postOnly": True}  # it would take: its order is gone, and that is told
    for _ in range(2):  # the same edits once more change nothing
        structures = await maybe(ex.edit_orders(rows))
        assert [s["status"] for s in structures] == ["open", "rejected", "rejected"]
        (resting,) = bot.served.venue.open_orders(None)
        assert structures[0]["id"] == str(resting.order_id)
    assert "nothing is left to edit" in structures[1]["info"]["msg"]
    assert len(bot.served.log()) == 4
    assert await maybe(ex.editOrders([])) == []
    nameless = [row(structures[0], 48_200), {**row(second, 47_100), "id": None}]
    error = await bot.fails(lambda: ex.editOrders(nameless))
    assert isinstance(error, ccxt.InvalidOrder)
    assert await bot.fails(lambda: ex.edit_orders([row(gone, 46_100)]))
    assert len(bot.served.log()) == 4


async def an_edit_that_can_not_end_well_changes_nothing(bot: Bot) -> None:
    order = await bot.limit()
    ex = bot.exchange

    async def refused(expected: type[Exception], *arguments: Any) -> None:
        error = await bot.fails(lambda: ex.edit_order(*arguments))
        assert isinstance(error, expected), arguments
        assert not isinstance(error, ccxt.NetworkError)
        assert len(bot.served.venue.open_orders(None)) == 1

    await refused(holdfast.InvalidOrder, order["id"], BTC, "limit", "sell", 0.010, 48_000)
    await refused(holdfast.InvalidOrder, order["id"], BTC, "market", "buy", 0.010)
    await refused(holdfast.InvalidOrder, order["id"], BTC, "limit", "buy", 0.001, 48_000)
    await refused(holdfast.InvalidOrder, order["id"], BTC, "limit", "buy", 0.01, 48_000, {"x": 1})
    assert bot.served.requests("cancel") == []
    bot.served.arm("probe", Fault.lost_request(), count=1_000)  # so that it can not recover
    bot.engine.fault("test", "shut by the test")
    placed = bot.served.requests("place")
    error = await bot.fails(lambda: ex.edit_order(order["id"], BTC, "limit", "buy", 0.01, 48_000))
    assert isinstance(error, holdfast.TradingHalted)
    assert bot.served.requests("place") == placed
    assert bot.served.requests("cancel") == []
    assert len(bot.served.venue.open_orders(None)) == 1


async def an_edit_of_what_is_gone_or_foreign_is_refused(bot: Bot) -> None:
    order = await bot.limit()
    await maybe(bot.exchange.cancel_order(order["id"], BTC))
    error = await bot.fails(
        lambda: bot.exchange.edit_order(order["clientOrderId"], BTC, "limit", "buy", 0.01, 48_000)
    )
    assert isinstance(error, ccxt.OrderNotFound)
    number = bot.served.foreign_order("48000")
    error = await bot.fails(
        lambda: bot.exchange.edit_order(number, BTC, "limit", "buy", 0.01, 47_000)
    )
    assert isinstance(error, ccxt.NotSupported)
    assert len(bot.served.venue.open_orders(None)) == 1
    assert len(bot.served.log()) == 2


# --- what passes through -------------------------------------------------------------


async def the_rest_is_as_it_was(bot: Bot) -> None:
    ex = bot.exchange
    assert isinstance(ex, type(bot.raw))
    assert ex.id == "binanceusdm"
    assert ex.has == bot.raw.has
    assert ex.options == bot.raw.options
    markets = await maybe(ex.load_markets())
    assert BTC in markets
    order = await bot.limit()
    (open_order,) = await maybe(ex.fetch_open_orders(BTC))
    assert open_order["id"] == order["id"]
    await bot.buy()
    (position,) = await maybe(ex.fetch_positions([BTC]))
    assert position["contracts"] == 0.010
    assert (await maybe(ex.fetch_balance()))["USDT"]["total"] > 0
    assert len(await maybe(ex.fetch_my_trades(BTC))) == 1
    leverage = await maybe(ex.set_leverage(7, BTC))
    assert leverage["leverage"] == 7
    assert await maybe(ex.fetch_time()) > 0
    foreign = bot.served.foreign_order("47000")
    assert (await maybe(ex.fetch_order(foreign, BTC)))["status"] == "open"


# --- conditional orders --------------------------------------------------------------


async def a_stop_is_kept_at_the_algo_service_under_the_engines_name(bot: Bot) -> None:
    ex, venue = bot.exchange, bot.served.venue
    await bot.buy()
    params = {"stopLossPrice": 48_000, "reduceOnly": True, "clientOrderId": "my-stop"}
    stop = await maybe(ex.create_order(BTC, "market", "sell", 0.010, None, params))
    paths = [seen.path for seen in bot.served.requests("place")]
    assert paths == ["/fapi/v1/order", "/fapi/v1/algoOrder"]
    (kept,) = venue.conditional_log
    assert kept.client_id.startswith("hf-guarded-")
    assert (kept.type, kept.side, kept.trigger_price) == ("STOP_MARKET", "sell", D(48_000))
    assert (kept.quantity, kept.reduce_only, kept.waiting) == (D("0.010"), True, True)
    assert (stop["status"], stop["side"], stop["triggerPrice"]) == ("open", "sell", 48_000)
    assert (stop["amount"], stop["filled"], stop["reduceOnly"]) == (0.010, 0, True)

    again = await maybe(ex.create_order(BTC, "market", "sell", 0.010, None, params))
    assert again["clientOrderId"] == stop["clientOrderId"] == kept.client_id
    assert len(venue.conditional_log) == 1, "the same name is the same stop"

    for name in ("my-stop", stop["clientOrderId"]):
        found = await maybe(ex.fetch_order(name, BTC))
        assert (found["status"], found["triggerPrice"]) == ("open", 48_000)
    cancelled = await maybe(ex.cancel_order("my-stop", BTC))
    assert cancelled["status"] == "canceled"
    assert not kept.waiting
    assert bot.served.requests("cancel")[-1].path == "/fapi/v1/algoOrder"
    assert bot.served.position == D("0.010")


async def each_of_ccxts_words_for_a_trigger_means_the_same_as_in_ccxt(bot: Bot) -> None:
    """What reaches the venue for the guarded exchange and for the plain one is one order."""
    await bot.buy("market", 0.100)
    rows: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("market", "sell", None, {"stopLossPrice": 48_000, "reduceOnly": True}),
        ("market", "sell", None, {"takeProfitPrice": 52_000, "reduceOnly": True}),
        ("market", "sell", None, {"triggerPrice": 48_000, "reduceOnly": True}),
        ("market", "sell", None, {"stopPrice": 48_000, "workingType": "MARK_PRICE"}),
        ("limit", "sell", 47_900, {"stopLossPrice": 48_000, "reduceOnly": True}),
        ("limit", "sell", 52_100, {"takeProfitPrice": 52_000, "reduceOnly": True}),
        ("limit", "buy", 52_100, {"triggerPrice": 52_000.04}),
        ("STOP_MARKET", "sell", None, {"triggerPrice": 48_000, "reduceOnly": True}),
        ("TAKE_PROFIT_MARKET", "sell", None, {"triggerPrice": 52_000, "reduceOnly": True}),
    ]
    for type_, side, price, params in rows:
        for exchange in (bot.exchange, bot.raw):
            await maybe(exchange.create_order(BTC, type_, side, 0.010, price, params))
        ours, theirs = bot.served.venue.conditional_log[-2:]
        said = ("type", "side", "quantity", "price", "trigger_price", "trigger_by", "reduce_only")
        for name in (*said, "position_side", "close_position"):
            assert getattr(ours, name) == getattr(theirs, name), (type_, params, name)
        assert ours.client_id.startswith("hf-guarded-")


async def a_stop_that_is_reached_closes_and_is_told(bot: Bot) -> None:
    ex = bot.exchange
    await bot.buy()
    params = {"stopLossPrice": 48_000, "reduceOnly": True, "clientOrderId": "my-stop"}
    await maybe(ex.create_order(BTC, "market", "sell", 0.010, None, params))
    bot.served.price("47990")
    assert bot.served.position == 0

    async def is_flat() -> bool:
        return bool(await maybe(bot.engine.position(BTC)) == 0)

    await bot.until(is_flat, "the engine hears of it")
    found = await maybe(ex.fetch_order("my-stop", BTC))
    assert found["status"] == "closed"
    error = await bot.fails(lambda: ex.cancel_order("my-stop", BTC))
    assert isinstance(error, ccxt.OrderNotFound)


async def a_stop_whose_reply_is_lost_is_unknown_and_never_doubled(bot: Bot) -> None:
    ex = bot.exchange
    await bot.buy()
    params = {"stopLossPrice": 48_000, "reduceOnly": True, "clientOrderId": "my-stop"}
    bot.served.lose_an_order(Fault.lost_reply())
    place = lambda: ex.create_order(BTC, "market", "sell", 0.010, None, params)  # noqa: E731
    error = await bot.fails(place)
    assert isinstance(error, holdfast.OutcomeUnknown)
    assert not isinstance(error, ccxt.NetworkError)
    bot.served.mend()

    async def is_settled() -> bool:
        return not await maybe(bot.engine.pending(BTC))

    await bot.until(is_settled, "the stop is found")
    told = await maybe(place())
    assert told["status"] == "open"
    assert len(bot.served.venue.conditional_log) == 1


# --- all of it -----------------------------------------------------------------------


async def all_orders_are_cancelled_at_once(bot: Bot) -> None:
    for _ in range(3):
        await bot.limit()
    bot.served.foreign_order("47000")
    await maybe(bot.exchange.cancel_all_orders(BTC))
    assert bot.served.venue.open_orders(None) == []
    error = await bot.fails(bot.exchange.cancel_all_orders)
    assert isinstance(error, ccxt.ArgumentsRequired)


SCENARIOS = [
    value
    for value in list(globals().values())
    if callable(value) and getattr(value, "__module__", None) == __name__
]
