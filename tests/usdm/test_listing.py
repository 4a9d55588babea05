"""What exchangeInfo says a venue accepts, exactly, and what of it may be wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from scripted_venue import Says, ScriptedVenue, with_client
from sim_rigs import WIRE_CLIENTS

from holdfast.errors import LinkDown
from holdfast.model import Instrument
from holdfast.transports.usdm.client import UsdmExecutionClient
from holdfast.transports.usdm.limits import Limit

D = Decimal
INFO = "GET /fapi/v1/exchangeInfo"


@pytest.fixture(params=WIRE_CLIENTS)
def make(request: pytest.FixtureRequest) -> Callable[[str], UsdmExecutionClient]:
    return WIRE_CLIENTS[request.param]


def market(name: str = "BTCUSDT", base: str = "BTC", **changes: Any) -> dict[str, Any]:
    return {
        "symbol": name,
        "status": "TRADING",
        "contractType": "PERPETUAL",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "1", "maxPrice": "9"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.002", "maxQty": "1000"},
            {
                "filterType": "MARKET_LOT_SIZE",
                "stepSize": "0.010",
                "minQty": "0.020",
                "maxQty": "120",
            },
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        ],
        **changes,
    }


def instruments(
    make: Callable[[str], UsdmExecutionClient], *markets: dict[str, Any], **more: Any
) -> dict[str, Instrument]:
    found: dict[str, Instrument] = {}
    venue = ScriptedVenue({INFO: Says({"symbols": list(markets), **more})})

    async def act(client: UsdmExecutionClient) -> None:
        found.update(await client.instruments(timeout_seconds=5))

    with_client(make, venue, act)
    return found


def test_every_bound_is_read_as_it_stands(make: Callable[[str], UsdmExecutionClient]) -> None:
    assert instruments(make, market()) == {
        "BTC/USDT:USDT": Instrument(
            symbol="BTC/USDT:USDT",
            price_step=D("0.10"),
            quantity_step=D("0.001"),
            min_quantity=D("0.002"),
            min_notional=D(100),
            max_quantity=D(1000),
            market_quantity_step=D("0.010"),
            market_min_quantity=D("0.020"),
            market_max_quantity=D(120),
        )
    }


def test_contracts_that_expire_have_names_of_their_own(
    make: Callable[[str], UsdmExecutionClient],
) -> None:
    found = instruments(
        make, market(), market("BTCUSDT_261225"), market("1000PEPEUSDT", "1000PEPE")
    )
    assert list(found) == ["BTC/USDT:USDT", "BTC/USDT:USDT-261225", "1000PEPE/USDT:USDT"]


def test_a_contract_that_was_settled_does_not_take_the_name_of_the_one_that_trades(
    make: Callable[[str], UsdmExecutionClient],
) -> None:
    """Binance lists the old one on, as BNXUSDTSETTLED, with the assets of the new one."""
    settled = market("BTCUSDTSETTLED", status="SETTLING")
    for markets in ((market(), settled), (settled, market())):
        found = instruments(make, *markets)
        assert found["BTC/USDT:USDT"].trading
        assert not found["BTCUSDTSETTLED"].trading


@pytest.mark.parametrize("missing", ["PRICE_FILTER", "LOT_SIZE"])
def test_a_contract_without_its_steps_is_not_listed(
    make: Callable[[str], UsdmExecutionClient], missing: str
) -> None:
    whole, broken = market(), copy.deepcopy(market("ETHUSDT", "ETH"))
    broken["filters"] = [f for f in broken["filters"] if f["filterType"] != missing]
    assert list(instruments(make, whole, broken)) == ["BTC/USDT:USDT"]
    with pytest.raises(LinkDown, match="ETHUSDT"):
        instruments(make, broken)


@pytest.mark.parametrize("body", [{}, [], "<html>", {"symbols": [{"symbol": "BTCUSDT"}]}])
def test_what_is_no_listing_is_an_error(
    make: Callable[[str], UsdmExecutionClient], body: Any
) -> None:
    venue = ScriptedVenue({INFO: Says(body)})

    async def act(client: UsdmExecutionClient) -> None:
        with pytest.raises(LinkDown):
            await client.instruments(timeout_seconds=5)

    with_client(make, venue, act)


def with_filters(**changes: dict[str, Any] | None) -> dict[str, Any]:
    """:param changes: by the filter's name; None takes it away."""
    rows = {row["filterType"]: row for row in market()["filters"]}
    for name, values in changes.items():
        if values is None:
            del rows[name]
        else:
            rows[name] = {**rows[name], **values}
    return market(filters=list(rows.values()))


def test_zero_and_nothing_mean_that_there_is_no_such_bound(
    make: Callable[[str], UsdmExecutionClient],
) -> None:
    zeros = {"stepSize": "0.00000000", "minQty": "0", "maxQty": "0.0"}
    zero = with_filters(
        LOT_SIZE={"minQty": "0", "maxQty": "0"}, MARKET_LOT_SIZE=zeros, MIN_NOTIONAL=None
    )
    (told,) = instruments(make, zero).values()
    assert told.min_quantity == D("0.001"), "nothing is less than a step"
    assert told.min_notional == 0
    assert told.max_quantity is None
    assert told.market_quantity_step is None, "a step of zero fits nothing"
    assert told.market_min_quantity is None
    assert told.market_max_quantity is None
    (bare,) = instruments(make, with_filters(MARKET_LOT_SIZE=None)).values()
    assert bare.market_quantity_step is bare.market_max_quantity is None


@pytest.mark.parametrize("name", ["PRICE_FILTER", "LOT_SIZE"])
def test_a_step_of_zero_is_none(make: Callable[[str], UsdmExecutionClient], name: str) -> None:
    step = "tickSize" if name == "PRICE_FILTER" else "stepSize"
    with pytest.raises(LinkDown, match="BTCUSDT"):
        instruments(make, with_filters(**{name: {step: "0.00"}}))


@pytest.mark.parametrize("status", ["SETTLING", "PENDING_TRADING", "BREAK"])
def test_a_contract_that_rests_is_listed_as_such(
    make: Callable[[str], UsdmExecutionClient], status: str
) -> None:
    found = instruments(make, market(), market("ETHUSDT", "ETH", status=status))
    assert {name: one.trading for name, one in found.items()} == {
        "BTC/USDT:USDT": True,
        "ETH/USDT:USDT": False,
    }


def test_the_limits_it_tells_are_those_that_are_kept(
    make: Callable[[str], UsdmExecutionClient],
) -> None:
    def row(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
        return {
            "rateLimitType": kind,
            "interval": interval,
            "intervalNum": number,
            "limit": limit,
        }

    told = [
        row("REQUEST_WEIGHT", "MINUTE", 1, 600),
        row("ORDERS", "SECOND", 10, 50),
        row("ORDERS", "DAY", 2, 900),
        row("RAW_REQUESTS", "MINUTE", 5, 6100),
        row("ORDERS", "FORTNIGHT", 1, 1),
    ]
    venue = ScriptedVenue({INFO: Says({"symbols": [market()], "rateLimits": told})})

    async def act(client: UsdmExecutionClient) -> None:
        await client.instruments(timeout_seconds=5)
        kept = [window.limit for window in client._line.pacer.budget._windows]
        assert kept == [
            Limit("weight", 60_000, 1, 600),
            Limit("orders", 1000, 10, 50),
            Limit("orders", 86_400_000, 2, 900),
        ]

    with_client(make, venue, act)
