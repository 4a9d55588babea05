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
