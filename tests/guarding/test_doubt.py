"""An order whose reply is lost: one execution, whatever loop the bot has around its calls."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest
from guard_rigs import BTC, RUNNERS, Bot, Scenario, ServedVenue, maybe

import holdfast
from holdfast.transports.sim import Fault

D = Decimal


async def naive_loop(exchange: Any, **params: Any) -> Any:
    """What stands in a thousand bots, and in ccxt's own examples."""
    for _ in range(3):
        try:
            return await maybe(exchange.create_order(BTC, "market", "buy", 0.010, None, params))
        except ccxt.NetworkError:
            continue
    raise AssertionError("three times nothing")


def both(scenario: Scenario) -> Any:
    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test(kind: str, served: ServedVenue, tmp_path: Path) -> None:
        RUNNERS[kind](scenario, served, tmp_path, deadline_seconds=1.0)

    test.__doc__ = scenario.__doc__
    return test


@both
async def test_the_loop_doubles_without_the_engine(bot: Bot) -> None:
    """Otherwise the tests below prove nothing."""
    await maybe(bot.raw.load_markets())
    bot.raw.timeout = 300
    bot.served.arm("place", Fault.lost_reply())
    await naive_loop(bot.raw)
    assert bot.served.position == D("0.020")


@both
async def test_the_loop_executes_once(bot: Bot) -> None:
    bot.served.arm("place", Fault.lost_reply())
    order = await naive_loop(bot.exchange)
    assert (order["status"], order["filled"]) == ("closed", 0.010)
    assert bot.served.position == D("0.010")


@both
async def test_the_loop_executes_once_where_the_request_was_lost(bot: Bot) -> None:
    bot.served.arm("place", Fault.lost_request())
    try:
        await naive_loop(bot.exchange)
    except holdfast.NotExecuted:  # a machine under load: the deadline came first
        await naive_loop(bot.exchange)
    assert bot.served.position == D("0.010")


@both
async def test_in_doubt_the_loop_stops_and_nothing_is_sent_again(bot: Bot) -> None:
    await maybe(bot.exchange.load_markets())
    bot.served.lose_an_order(Fault.lost_reply())
    unknown = await bot.fails(lambda: naive_loop(bot.exchange, clientOrderId="signal-3"))
    assert isinstance(unknown, holdfast.OutcomeUnknown)
    assert isinstance(unknown, ccxt.ExchangeError)
    assert not isinstance(unknown, ccxt.OperationFailed)
    cid = unknown.intent.client_order_id
    assert cid in str(unknown)
    # The same decision once more, and another one: neither is sent.
    again = await bot.fails(lambda: bot.buy(clientOrderId="signal-3"))
    assert isinstance(again, holdfast.OutcomeUnknown)
    other = await bot.fails(lambda: bot.buy(clientOrderId="signal-4"))
    assert isinstance(other, holdfast.TradingHalted)
    assert len(bot.served.requests("place")) == 1
    bot.served.mend()

    async def found() -> bool:
        try:
            order = await maybe(bot.exchange.fetch_order("signal-3", BTC))
        except ccxt.NetworkError:
            return False
        assert order["clientOrderId"] == cid
        return bool(order["status"] == "closed")

    await bot.until(found, "the order is found by the bot's own name")
    await bot.until(lambda: not bot.engine.pending(BTC), "it is settled")
    assert (await bot.buy(clientOrderId="signal-3"))["clientOrderId"] == cid
    assert bot.served.position == D("0.010")


@both
async def test_not_there_is_no_answer_in_doubt(bot: Bot) -> None:
    """A bot that is told `OrderNotFound` sends the order again."""
    await maybe(bot.exchange.load_markets())
    bot.served.lose_an_order(Fault.lost_request())
    unknown = await bot.fails(lambda: bot.buy(clientOrderId="signal-5"))
    assert isinstance(unknown, holdfast.OutcomeUnknown)
    bot.served.mend()
    seen: list[type[Exception]] = []

    async def proven_absent() -> bool:
        error = await bot.fails(lambda: bot.exchange.fetch_order("signal-5", BTC))
        seen.append(type(error))
        assert isinstance(error, holdfast.OutcomeUnknown | ccxt.OrderNotFound)
        return isinstance(error, ccxt.OrderNotFound)

    await bot.until(proven_absent, "its absence is proven")
    assert issubclass(seen[0], holdfast.OutcomeUnknown)
    assert (await bot.buy(clientOrderId="signal-5"))["status"] == "closed"
    assert bot.served.position == D("0.010")


@both
async def test_cancelling_all_reaches_what_was_on_its_way(bot: Bot) -> None:
    await maybe(bot.exchange.load_markets())
    bot.served.lose_an_order(Fault.lost_reply())
    assert isinstance(await bot.fails(bot.limit), holdfast.OutcomeUnknown)
    unknown = await bot.fails(lambda: bot.exchange.cancel_all_orders(BTC))
    assert isinstance(unknown, holdfast.OutcomeUnknown)
    assert not isinstance(unknown, ccxt.NetworkError)
    bot.served.mend()

    async def settled() -> bool:
        try:
            await maybe(bot.exchange.cancel_all_orders(BTC))
        except (holdfast.OutcomeUnknown, ccxt.NetworkError):
            return False
        return True

    await bot.until(settled, "all is cancelled")
    assert bot.served.venue.open_orders(None) == []


@both
async def test_a_batch_with_a_doubt_tells_of_the_others(bot: Bot) -> None:
    await maybe(bot.exchange.load_markets())
    await bot.limit(48_000)
    row = {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": 47_000}
    bot.served.lose_an_order(Fault.lost_reply())
    error: Any = await bot.fails(lambda: bot.exchange.create_orders([row, row]))
    assert isinstance(error, holdfast.OutcomeUnknown)
    doubtful, halted = error.orders
    assert doubtful["status"] is None
    assert doubtful["clientOrderId"] == error.intent.client_order_id
    assert halted["status"] == "rejected"
    assert len(bot.served.requests("place")) == 2


@both
async def test_an_edit_in_doubt_is_the_same_edit_when_repeated(bot: Bot) -> None:
    order = await bot.limit()

    async def edit() -> Any:
        call = bot.exchange.edit_order(order["id"], BTC, "limit", "buy", 0.010, 48_000)
        return await maybe(call)

    bot.served.arm("query", Fault(), count=1)  # the edit's own look at the old order
    bot.served.lose_an_order(Fault.lost_reply())
    error = await bot.fails(edit)
    assert isinstance(error, holdfast.OutcomeUnknown)
    assert any("is cancelled" in note for note in error.__notes__)
    bot.served.mend()
    await bot.until(lambda: not bot.engine.pending(BTC), "it is settled")
    edited = await edit()
    (resting,) = bot.served.venue.open_orders(None)
    assert str(resting.order_id) == edited["id"]
    assert len(bot.served.log()) == 2


@both
async def test_an_edit_whose_cancel_got_no_answer_goes_on_when_repeated(bot: Bot) -> None:
    """The order was cancelled by this very edit, and none would stand in its place."""
    order = await bot.limit()

    async def edit() -> Any:
        call = bot.exchange.edit_order(order["id"], BTC, "limit", "buy", 0.010, 48_000)
        return await maybe(call)

    bot.served.arm("cancel", Fault.lost_reply())
    error = await bot.fails(edit)
    assert isinstance(error, ccxt.NetworkError)
    assert bot.served.venue.open_orders(None) == []
    edited = await edit()
    assert (await edit())["id"] == edited["id"]
    (resting,) = bot.served.venue.open_orders(None)
    assert str(resting.order_id) == edited["id"]
    assert len(bot.served.log()) == 2
    other = await bot.limit()  # one that somebody else has cancelled is not placed again
    await maybe(bot.raw.cancel_order(other["id"], BTC))
    call = lambda: bot.exchange.edit_order(other["id"], BTC, "limit", "buy", 0.01, 48_000)  # noqa: E731
    assert isinstance(await bot.fails(call), ccxt.OrderNotFound)


@both
async def test_not_shown_yet_is_no_answer_about_an_order_that_rests(bot: Bot) -> None:
    """The venue's answers may lag behind its own word that it has the order."""
    bot.served.lag(60_000)
    order = await bot.limit(clientOrderId="signal-6")
    for name in ("signal-6", order["id"]):
        error = await bot.fails(lambda name=name: bot.exchange.fetch_order(name, BTC))
        assert isinstance(error, ccxt.NetworkError), error
    bot.served.lag(0)
    assert (await maybe(bot.exchange.fetch_order("signal-6", BTC)))["status"] == "open"


@both
async def test_stops_that_the_bot_cancels_all_at_once_are_not_missed(bot: Bot) -> None:
    """One that is gone without the bot's doing shuts the gate and waits for a person."""
    await bot.buy()
    for price in (48_000, 47_000):
        params = {"stopLossPrice": price, "reduceOnly": True}
        await maybe(bot.exchange.create_order(BTC, "market", "sell", 0.010, None, params))
    await maybe(bot.exchange.cancel_all_orders(BTC, {"trigger": True}))

    async def gone() -> bool:
        return not await maybe(bot.engine.open_orders())

    await bot.until(gone, "the engine hears of it")
    assert (await bot.buy())["status"] == "closed"
