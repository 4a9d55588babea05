"""Market data of the served venue, in Binance's shapes."""

from __future__ import annotations

from decimal import Decimal

from wire_rig import BTC, Wire, wire_test

from holdfast.transports.sim.limits import REAL
from holdfast.transports.sim.tape import DAY_MS, MINUTE_MS


async def trade(wire: Wire, price: str, quantity: str = "1") -> None:
    await wire.control("price", {"symbol": BTC, "price": price, "quantity": quantity})


@wire_test("GET /fapi/v1/ping", "GET /fapi/v1/time", "GET /fapi/v1/exchangeInfo", limits=REAL)
async def test_the_exchange_says_what_it_is(wire: Wire) -> None:
    assert await wire.get("/fapi/v1/ping") == {}
    time = await wire.get("/fapi/v1/time")
    assert abs(time["serverTime"] - wire.venue.now_ms()) < 60_000
    info = await wire.get("/fapi/v1/exchangeInfo")
    assert [row["limit"] for row in info["rateLimits"]] == [2400, 300, 1200]
    market = next(market for market in info["symbols"] if market["symbol"] == BTC)
    assert (market["contractType"], market["status"]) == ("PERPETUAL", "TRADING")
    filters = {item["filterType"]: item for item in market["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.1"
    assert filters["LOT_SIZE"]["stepSize"] == "0.001"
    assert filters["MIN_NOTIONAL"]["notional"] == "100"


@wire_test("GET /fapi/v1/depth", "GET /fapi/v1/ticker/bookTicker")
async def test_the_book_is_what_a_taker_would_get(wire: Wire) -> None:
    await wire.control(
        "quote", {"symbol": BTC, "bid": "49999", "ask": "50001", "bid_quantity": "3"}
    )
    await wire.place(price="49000", quantity="0.5")
    depth = await wire.get("/fapi/v1/depth", symbol=BTC, limit=5)
    assert depth["bids"] == [["49999", "3"], ["49000", "0.5"]]
    assert depth["asks"][0][0] == "50001"
    best = await wire.get("/fapi/v1/ticker/bookTicker", symbol=BTC)
    assert (best["bidPrice"], best["bidQty"], best["askPrice"]) == ("49999", "3", "50001")
    assert best["lastUpdateId"] == depth["lastUpdateId"]
    everywhere = await wire.get("/fapi/v1/ticker/bookTicker")
    assert [row["symbol"] for row in everywhere] == [BTC]
    assert await wire.code("GET", "/fapi/v1/depth", f"symbol={BTC}&limit=7") == -4021
    assert await wire.code("GET", "/fapi/v1/depth") == -1102


@wire_test(
    "GET /fapi/v1/trades",
    "GET /fapi/v1/aggTrades",
    "GET /fapi/v1/historicalTrades",
)
async def test_trades_of_others_are_listed(wire: Wire) -> None:
    before = wire.venue.now_ms()
    for price in ("50010", "50020", "50000"):
        await trade(wire, price, "0.5")
    trades = await wire.get("/fapi/v1/trades", symbol=BTC, limit=2)
    assert [(row["price"], row["qty"], row["isBuyerMaker"]) for row in trades] == [
        ("50020", "0.5", False),
        ("50000", "0.5", True),
    ]
    first = trades[0]["id"]
    older = await wire.ask(
        "GET", "/fapi/v1/historicalTrades", f"symbol={BTC}&fromId={first - 1}&limit=1"
    )
    assert [row["price"] for row in older[1]] == ["50010"]
    assert await wire.code("GET", "/fapi/v1/historicalTrades", f"symbol={BTC}", headers={}) == -2014
    aggregated = await wire.get("/fapi/v1/aggTrades", symbol=BTC, fromId=first)
    assert [(row["p"], row["m"]) for row in aggregated] == [("50020", False), ("50000", True)]
    since = await wire.get("/fapi/v1/aggTrades", symbol=BTC, startTime=before, limit=1)
    assert [row["p"] for row in since] == ["50010"]
    backwards = f"symbol={BTC}&startTime=2&endTime=1"
    assert await wire.code("GET", "/fapi/v1/aggTrades", backwards) == -1023
    assert await wire.code("GET", "/fapi/v1/trades", f"symbol={BTC}&limit=1001") == -1130


@wire_test("GET /fapi/v1/klines", "GET /fapi/v1/continuousKlines")
async def test_candles_are_made_of_the_trades(wire: Wire) -> None:
    now = wire.venue.now_ms()
    opened = now - now % DAY_MS - DAY_MS
    market = wire.server.market
    for minute, (price, quantity) in enumerate((("100", "2"), ("90", "1"), ("120", "4"))):
        market.past(
            "ETHUSDT",
            opened + minute * MINUTE_MS,
            Decimal(price),
            Decimal(quantity),
            seller_took=price == "90",
        )
    day = (await wire.get("/fapi/v1/klines", symbol="ETHUSDT", interval="1d", limit=2))[0]
    assert day[:6] == [opened, "100", "120", "90", "120", "7"]
    assert (day[6], day[7], day[8]) == (opened + DAY_MS - 1, "770", 3)
    assert (day[9], day[10]) == ("6", "680")
    query = {"interval": "1m", "startTime": opened, "endTime": opened + MINUTE_MS}
    minutes = await wire.get("/fapi/v1/klines", symbol="ETHUSDT", **query)
    assert [row[4] for row in minutes] == ["100", "90"]
    same = await wire.get(
        "/fapi/v1/continuousKlines", pair="ETHUSDT", contractType="PERPETUAL", **query
    )
    assert same == minutes
    for query, code in (
        (f"symbol={BTC}&interval=7m", -1120),
        (f"symbol={BTC}", -1102),
        ("symbol=NOPE&interval=1m", -1121),
        (f"symbol={BTC}&interval=1m&limit=1501", -1130),
        (f"symbol={BTC}&interval=1m&startTime=x", -1102),
    ):
        assert await wire.code("GET", "/fapi/v1/klines", query) == code


@wire_test(
    "GET /fapi/v1/ticker/price",
    "GET /fapi/v2/ticker/price",
    "GET /fapi/v1/ticker/24hr",
    "GET /fapi/v1/premiumIndex",
)
async def test_prices_of_the_day_and_the_mark(wire: Wire) -> None:
    await trade(wire, "50000", "1")
    await trade(wire, "51000", "3")
    for version in ("v1", "v2"):
        price = await wire.get(f"/fapi/{version}/ticker/price", symbol=BTC)
        assert price["price"] == "51000"
    assert [row["symbol"] for row in await wire.get("/fapi/v2/ticker/price")] == [BTC]
    assert await wire.code("GET", "/fapi/v2/ticker/price", "symbol=ETHUSDT") == -1121
    day = await wire.get("/fapi/v1/ticker/24hr", symbol=BTC)
    assert (day["openPrice"], day["lastPrice"], day["volume"]) == ("50000", "51000", "4")
    assert (day["priceChange"], day["priceChangePercent"]) == ("1000", "2.000")
    assert (day["weightedAvgPrice"], day["count"]) == ("50750.00000000", 2)
    mark = await wire.get("/fapi/v1/premiumIndex", symbol=BTC)
    assert mark["markPrice"] == "51000"
    await wire.control("mark", {"symbol": BTC, "price": "50990.5"})
    mark = await wire.get("/fapi/v1/premiumIndex", symbol=BTC)
    assert mark["markPrice"] == "50990.5"
    assert mark["nextFundingTime"] % (8 * 3_600_000) == 0


@wire_test("GET /fapi/v1/fundingRate", "GET /fapi/v1/fundingInfo")
async def test_funding_fees_that_came_due_are_listed(wire: Wire) -> None:
    await wire.control("funding", {"symbol": BTC, "rate": "0.0002", "interval_ms": 20})
    paid = await wire.get("/fapi/v1/fundingRate", symbol=BTC)
    while not paid:
        paid = await wire.get("/fapi/v1/fundingRate", symbol=BTC)
    assert (paid[0]["fundingRate"], paid[0]["markPrice"]) == ("0.00020000", "50000")
    assert paid[0]["fundingTime"] % 20 == 0
    (info, *_) = await wire.get("/fapi/v1/fundingInfo")
    assert info["symbol"] == BTC
