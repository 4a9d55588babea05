"""No order gets to the venue through a guarded exchange but by the engine.

Not by one of ccxt's thousands of generated methods, not by `request`, `fetch` or a signed
address, not over the WebSocket API.
"""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import ccxt
import ccxt.pro
import pytest
from ccxt.base.types import Entry
from guard_rigs import BTC, RUNNERS, Bot, Scenario, ServedVenue, ccxt_config, maybe

import holdfast
from holdfast.guarding.writes import message_refusal, request_refusal

ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "MARKET",
    "quantity": "0.010",
    "newClientOrderId": "behind",
}
HARMLESS = ("GET", "DELETE")


def generated(exchange: Any) -> dict[str, Entry]:
    """ccxt's implicit methods, one for each path and method of the venue's API."""
    found = {
        name: inspect.getattr_static(exchange, name)
        for name in dir(type(exchange))
        if not name.startswith("_")
    }
    return {name: entry for name, entry in found.items() if isinstance(entry, Entry)}


def every(scenario: Scenario) -> Any:
    @pytest.mark.parametrize("kind", RUNNERS)
    def test(kind: str, served: ServedVenue, tmp_path: Path) -> None:
        RUNNERS[kind](scenario, served, tmp_path)
        assert served.log() == []
        assert served.requests("place") == []

    return test


@every
async def test_no_generated_method_writes_an_order(bot: Bot) -> None:
    ex = bot.exchange
    entries = generated(ex)
    writing = {name: entry for name, entry in entries.items() if entry.method not in HARMLESS}
    assert len(writing) > 300
    refused = 0
    for name, entry in writing.items():
        params = {**ORDER, **dict.fromkeys(("orderId", "asset", "listId"), "x")}
        error: Exception | None = None
        try:
            await maybe(getattr(ex, name)(params))
        except Exception as raised:  # whatever: those that pass meet a venue without them
            error = raised
        if isinstance(error, ccxt.NotSupported) and isinstance(error, holdfast.HoldfastError):
            refused += 1
        else:
            assert "rder" not in entry.path, name
    assert refused > 250
    assert isinstance(await bot.fails(lambda: ex.fapiPrivatePostOrder(ORDER)), ccxt.NotSupported)
    assert isinstance(await bot.fails(lambda: ex.fapiprivate_put_order(ORDER)), ccxt.NotSupported)


@every
async def test_no_lower_layer_writes_an_order(bot: Bot) -> None:
    ex = bot.exchange
    await maybe(ex.load_markets())
    signed = bot.raw.sign("order", ["fapiPrivate"], "POST", ORDER)
    row = {"symbol": BTC, "type": "market", "side": "buy", "amount": 0.01}
    ways = [
        lambda: ex.request("order", ["fapiPrivate"], "POST", ORDER),
        lambda: ex.fetch2("order", ["fapiPrivate"], "POST", ORDER),
        lambda: ex.fetch2("batchOrders", ["fapiPrivate"], "post", {"batchOrders": "[]"}),
        lambda: ex.fetch(signed["url"], "POST", signed["headers"], signed["body"]),
        lambda: ex.fetch(signed["url"] + "?" + signed["body"], "POST", signed["headers"]),
        lambda: ex.fetch(signed["url"], "post", signed["headers"], signed["body"]),
        lambda: type(bot.raw).create_order(ex, BTC, "market", "buy", 0.01),
        lambda: ex.create_contract_orders([row]),
        lambda: ex.createContractOrders([row]),
        lambda: ex.edit_contract_order("1", BTC, "limit", "buy", 0.01, 48_000),
        lambda: ex.fapiPrivatePutBatchOrders({"batchOrders": "[]"}),
        lambda: ex.fapiPrivatePostBatchOrders({"batchOrders": "[]"}),
        lambda: type(bot.raw).edit_orders(ex, [{"id": "1", **row, "price": 48_000}]),
    ]
    for number, way in enumerate(ways):
        error = await bot.fails(way)
        assert isinstance(error, ccxt.BaseError), number
        assert not isinstance(error, ccxt.OperationFailed), number  # classes that bots retry
    for way in ways[:7]:
        error = await bot.fails(way)
        assert "create_order" in str(error), error


def test_no_websocket_message_writes_an_order(served: ServedVenue, tmp_path: Path) -> None:
    async def scenario(bot: Bot) -> None:
        ex = bot.exchange
        url = ex.urls["api"]["ws"]["ws-api"]["linear"]
        for method in ("order.place", "order.modify", "algoOrder.place", "order.new.one"):
            message = {"id": "1", "method": method, "params": ORDER}
            for call in (
                lambda m=message: ex.watch(url, "1", m, "1", {}),  # type: ignore[misc]
                lambda m=message: ex.watch(url=url, message_hash="1", message=m),  # type: ignore[misc]
                lambda m=message: ex.watch_multiple(url, ["1"], m, ["1"]),  # type: ignore[misc]
            ):
                error = await bot.fails(call)
                assert isinstance(error, ccxt.NotSupported)
                assert method in str(error)
        assert ex.clients == {}

    RUNNERS["pro"](scenario, served, tmp_path)


def test_a_user_stream_passes(served: ServedVenue, tmp_path: Path) -> None:
    """ccxt.pro watches the orders that go through the engine."""

    async def scenario(bot: Bot) -> None:
        watching = asyncio.create_task(bot.exchange.watch_orders(BTC))
        await bot.until(lambda: bot.exchange.clients, "it connects")
        while not watching.done():
            order = await bot.limit()
            await bot.sleep(0.2)
        (seen,) = (await watching)[-1:]
        assert seen["symbol"] == BTC
        assert seen["clientOrderId"].startswith("hf-guarded-")
        assert order["clientOrderId"].startswith("hf-guarded-")

    RUNNERS["pro"](scenario, served, tmp_path)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", "https://fapi.binance.com/fapi/v1/order"),
        ("PUT", "https://fapi.binance.com/fapi/v1/order?x=/fapi/v1/leverage"),
        ("POST", "https://fapi.binance.com/fapi/v1/order#/fapi/v1/leverage"),
        ("POST", "https://fapi.binance.com/fapi/v1/leverage/../order"),
        ("POST", "https://fapi.binance.com/fapi/v1/order/fapi/v1/leverage"),
        ("POST", "https://fapi.binance.com/fapi/v1/leverage/"),
        ("POST", "https://fapi.binance.com/fapi/v1/leverage\n"),
        ("POST", "https://fapi.binance.com/fapi/v1/leverage%2f..%2forder"),
        ("PATCH", "https://fapi.binance.com/fapi/v1/order"),
        ("", "https://fapi.binance.com/fapi/v1/order"),
        ("POST", "https://api.binance.com/sapi/v1/algo/futures/newOrderTwap"),
        ("POST", "https://api.binance.com/sapi/v1/leverage"),
        ("POST", "https://papi.binance.com/papi/v1/um/order"),
        ("POST", "https://elsewhere.example"),
        ("POST", "https://fapi.binance.com/fapi/v1/countdownCancelAll?countdownTime=0"),
    ],
)
def test_what_may_not_pass(method: str, url: str) -> None:
    refusal = request_refusal(method, url)
    assert refusal is not None
    assert ("dead_man_seconds" if "countdown" in url else "create_order") in refusal


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "https://fapi.binance.com/fapi/v1/order?orderId=1"),
        ("DELETE", "https://fapi.binance.com/fapi/v1/allOpenOrders"),
        ("POST", "https://fapi.binance.com/fapi/v1/leverage"),
        ("post", "https://testnet.binancefuture.com/fapi/v1/marginType?x=1"),
        ("POST", "http://127.0.0.1:9000/fapi/v1/positionSide/dual"),
        ("PUT", "https://fapi.binance.com/fapi/v1/listenKey"),
        ("POST", "https://api.binance.com/sapi/v1/asset/transfer"),
        ("POST", "https://api.binance.com/sapi/v1/capital/withdraw/apply"),
    ],
)
def test_what_may_pass(method: str, url: str) -> None:
    assert request_refusal(method, url) is None


def test_ccxts_own_methods_that_write_no_order_pass() -> None:
    """What ccxt's unified methods send besides orders is known: leverage, transfers, keys."""
    sent: list[tuple[str, str]] = []

    class Recorder(ccxt.binanceusdm):  # type: ignore[misc]
        def fetch(
            self, url: str, method: str = "GET", headers: Any = None, body: Any = None
        ) -> Any:
            sent.append((method, url))
            raise ccxt.ExchangeError("recorded")

    exchange = Recorder(ccxt_config(9))
    exchange.markets = {}
    for call in (
        lambda: exchange.fapiPrivatePostLeverage({}),
        lambda: exchange.fapiPrivatePostMarginType({}),
        lambda: exchange.fapiPrivatePostPositionMargin({}),
        lambda: exchange.set_position_mode(True),
        lambda: exchange.fapiPrivatePostListenKey({}),
        lambda: exchange.fapiPrivatePutListenKey({}),
        lambda: exchange.sapiPostAssetTransfer({}),
        lambda: exchange.sapiPostCapitalWithdrawApply({}),
        lambda: exchange.sapiPostAssetGetFundingAsset({}),
    ):
        with pytest.raises(ccxt.ExchangeError, match="recorded"):
            call()
    assert len(sent) == 9
    assert [request_refusal(method, url) for method, url in sent] == [None] * 9


@pytest.mark.parametrize(
    "message", [None, {}, {"method": "SUBSCRIBE", "params": []}, {"method": "order.cancel"}]
)
def test_messages_that_may_pass(message: Any) -> None:
    assert message_refusal(message) is None


@pytest.mark.parametrize(
    "message",
    [{"params": 1}, {"method": "order.Place"}, {"method": ["SUBSCRIBE"]}, ["SUBSCRIBE"], "ping"],
)
def test_messages_that_may_not_pass(message: Any) -> None:
    assert message_refusal(message) is not None
