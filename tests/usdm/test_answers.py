"""Answers that say less, or something else, than what was asked."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from scripted_venue import Says, ScriptedVenue, with_client
from sim_rigs import BTC, WIRE_CLIENTS

from holdfast.errors import LinkDown
from holdfast.model import QueryKind
from holdfast.transports.usdm import session
from holdfast.transports.usdm.client import UsdmExecutionClient

Make = Callable[[str], UsdmExecutionClient]
COUNTDOWN = "POST /fapi/v1/countdownCancelAll"
WAITING, RESTING = "GET /fapi/v1/openAlgoOrders", "GET /fapi/v1/openOrders"


@pytest.fixture(params=WIRE_CLIENTS)
def make(request: pytest.FixtureRequest) -> Make:
    return WIRE_CLIENTS[request.param]


@pytest.mark.parametrize(
    ("answer", "is_armed"),
    [
        ({"symbol": "BTCUSDT", "countdownTime": "120000"}, True),
        ({"symbol": "BTCUSDT", "countdownTime": 120_000}, True),
        ({"symbol": "BTCUSDT", "countdownTime": "0"}, False),
        ({"symbol": "ETHUSDT", "countdownTime": "120000"}, False),
        ({}, False),  # a gateway's 200
        ([], False),
    ],
)
def test_a_countdown_runs_only_if_the_venue_says_which(
    make: Make, answer: Any, is_armed: bool
) -> None:
    venue = ScriptedVenue({COUNTDOWN: Says(answer)})

    async def act(client: UsdmExecutionClient) -> None:
        if is_armed:
            await client.countdown_cancel_all(BTC, countdown_seconds=120, timeout_seconds=5)
        else:
            with pytest.raises(LinkDown):
                await client.countdown_cancel_all(BTC, countdown_seconds=120, timeout_seconds=5)

    with_client(make, venue, act)


def resting(symbol: str, number: int) -> dict[str, Any]:
    return {
        "orderId": number,
        "clientOrderId": "grid-1",
        "symbol": symbol,
        "status": "NEW",
        "side": "BUY",
        "price": "100",
        "origQty": "1",
        "executedQty": "0",
        "updateTime": 7,
    }


def test_orders_of_two_symbols_may_have_the_same_client_id(make: Make) -> None:
    """Another program of the owner may number the orders of each symbol by itself."""
    rows = [resting("BTCUSDT", 1), resting("ETHUSDT", 2)]
    venue = ScriptedVenue({WAITING: Says([]), RESTING: Says(rows)})

    async def act(client: UsdmExecutionClient) -> None:
        orders = await client.open_orders(timeout_seconds=5)
        assert [order.venue_order_id for order in orders] == ["1", "2"]

    with_client(make, venue, act)


NOTHING: list[dict[str, Any]] = [
    {},
    dict.fromkeys(("quantity", "price", "actualOrderId"), ""),
    dict.fromkeys(("quantity", "price", "actualOrderId")),
]
"""How a field may have nothing in it."""


@pytest.mark.parametrize("more", NOTHING)
def test_a_stop_that_closes_whatever_there_is_need_not_say_how_much(
    make: Make, more: dict[str, Any]
) -> None:
    """One set by hand, on Binance's own page; unreadable, it would keep the gate shut for ever."""
    stop = {
        "algoId": 5,
        "clientAlgoId": "web_5",
        "algoType": "CONDITIONAL",
        "orderType": "STOP_MARKET",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "algoStatus": "NEW",
        "triggerPrice": "45000.00",
        "closePosition": True,
        **more,
    }
    venue = ScriptedVenue({WAITING: Says([stop]), RESTING: Says([])})

    async def act(client: UsdmExecutionClient) -> None:
        (order,) = await client.open_orders(timeout_seconds=5)
        assert order.reduce_only
        assert order.trigger_price == Decimal(45000)
        assert (order.quantity, order.price) == (0, None)

    with_client(make, venue, act)


def test_an_aiohttp_that_does_not_ask_before_it_writes_never_brings_the_link_up(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later one might send by another way: the permit would never be asked again."""
    monkeypatch.setattr(session, "GuardedRequest", aiohttp.ClientRequest)
    venue = ScriptedVenue({"GET /fapi/v1/time": Says({"serverTime": 1_700_000_000_000})})

    async def act(client: UsdmExecutionClient) -> None:
        with pytest.raises(LinkDown, match="aiohttp"):
            await client.probe()

    with_client(make, venue, act)


@pytest.mark.parametrize(("number", "kind"), [(9, QueryKind.FOUND), (10, QueryKind.UNANSWERED)])
def test_only_the_order_that_was_made_of_a_stop_tells_of_it(
    make: Make, number: int, kind: QueryKind
) -> None:
    stop = {
        "algoId": 5,
        "clientAlgoId": "hf-1",
        "orderType": "STOP_MARKET",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "algoStatus": "TRIGGERED",
        "quantity": "1",
        "triggerPrice": "100",
        "actualOrderId": "9",
    }
    made = {**resting("BTCUSDT", number), "side": "SELL", "status": "FILLED", "executedQty": "1"}
    venue = ScriptedVenue({"GET /fapi/v1/algoOrder": Says(stop), "GET /fapi/v1/order": Says(made)})

    async def act(client: UsdmExecutionClient) -> None:
        answer = await client.query(BTC, "hf-1", conditional=True, timeout_seconds=5)
        assert answer.kind is kind

    with_client(make, venue, act)
