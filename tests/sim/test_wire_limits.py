"""Request weights and order counts over the wire: headers, 429, 418."""

from __future__ import annotations

import json
from typing import Any

from wire_rig import BTC, KEY, HandClock, Wire, wire_test

from holdfast.transports.sim.limits import FIRST_BAN_MS, REFUSALS_BEFORE_BAN, UNLIMITED, Limits
from holdfast.transports.usdm.signing import sign


def limited(**limits: int) -> dict[str, Any]:
    """Options of a venue whose time stands still until it is turned."""
    return {"clock": HandClock, "limits": Limits(**limits)}


def used(wire: Wire) -> int:
    return int(wire.headers["X-MBX-USED-WEIGHT-1M"])


@wire_test(**limited())
async def test_the_headers_count_the_weight_of_the_minute_and_the_orders(wire: Wire) -> None:
    await wire.get("/fapi/v1/time")
    assert used(wire) == 1
    for path, params, weight in (
        ("/fapi/v1/depth", {"symbol": BTC, "limit": 5}, 2),
        ("/fapi/v1/depth", {"symbol": BTC, "limit": 100}, 5),
        ("/fapi/v1/depth", {"symbol": BTC, "limit": 1000}, 20),
        ("/fapi/v1/klines", {"symbol": BTC, "interval": "1m", "limit": 99}, 1),
        ("/fapi/v1/klines", {"symbol": BTC, "interval": "1m", "limit": 1500}, 10),
        ("/fapi/v1/ticker/24hr", {"symbol": BTC}, 1),
        ("/fapi/v1/ticker/24hr", {}, 40),
        ("/fapi/v1/aggTrades", {"symbol": BTC}, 20),
    ):
        before = used(wire)
        await wire.get(path, **params)
        assert used(wire) - before == weight, (path, params)
    before = used(wire)
    await wire.signed("GET", "/fapi/v1/openOrders")
    assert used(wire) - before == 40
    await wire.signed("GET", "/fapi/v1/openOrders", symbol=BTC)
    assert used(wire) - before == 41
    assert "X-MBX-ORDER-COUNT-10S" not in wire.headers
    await wire.place()
    assert used(wire) - before == 41
    orders = json.dumps([wire.order(), wire.order()])
    await wire.signed("POST", "/fapi/v1/batchOrders", batchOrders=orders)
    assert used(wire) - before == 46
    assert wire.headers["X-MBX-ORDER-COUNT-10S"] == "6"
    assert wire.headers["X-MBX-ORDER-COUNT-1M"] == "2"
    wire.clock.ms += 10_000
    await wire.place()
    assert wire.headers["X-MBX-ORDER-COUNT-10S"] == "1"
    assert wire.headers["X-MBX-ORDER-COUNT-1M"] == "3"
    wire.clock.ms += 50_000
    await wire.get("/fapi/v1/time")
    assert used(wire) == 1


@wire_test(limits=UNLIMITED)
async def test_a_venue_without_limits_says_so_to_clients_that_pace_themselves(wire: Wire) -> None:
    rows = (await wire.get("/fapi/v1/exchangeInfo"))["rateLimits"]
    assert [row["limit"] for row in rows] == [UNLIMITED.weight_per_minute] * 3


@wire_test(**limited(weight_per_minute=5))
async def test_too_much_weight_is_429_and_whoever_goes_on_is_banned(wire: Wire) -> None:
    clock = wire.clock
    clock.ms += 15_500
    for _ in range(5):
        await wire.get("/fapi/v1/time")
    for _ in range(REFUSALS_BEFORE_BAN):
        status, answer = await wire.ask("GET", "/fapi/v1/time")
        assert (status, answer["code"]) == (429, -1003)
        assert wire.headers["Retry-After"] == "45"
    status, answer = await wire.ask("GET", "/fapi/v1/time")
    assert (status, answer["code"]) == (418, -1003)
    until = clock.ms + FIRST_BAN_MS
    assert f"banned until {until}" in answer["msg"]
    assert wire.headers["Retry-After"] == str(FIRST_BAN_MS // 1000)
    clock.ms += FIRST_BAN_MS - 1
    assert (await wire.ask("POST", "/fapi/v1/order"))[0] == 418
    assert (await wire.ask("GET", "/nowhere"))[0] == 418
    clock.ms += 1
    await wire.get("/fapi/v1/time")


@wire_test(**limited(weight_per_minute=2))
async def test_a_second_ban_is_longer(wire: Wire) -> None:
    clock, bans = wire.clock, []
    for _ in range(2):
        while (await wire.ask("GET", "/fapi/v1/time"))[0] != 418:
            pass
        bans.append(int(wire.headers["Retry-After"]))
        clock.ms += bans[-1] * 1000
    assert bans[1] > bans[0]


@wire_test(**limited(orders_per_ten_seconds=3, orders_per_minute=5))
async def test_too_many_orders_are_429_and_nothing_else_is(wire: Wire) -> None:
    clock = wire.clock
    clock.ms += 2_000

    async def not_placed() -> str:
        status, answer = await wire.ask("POST", "/fapi/v1/order", _signed(wire), headers=KEY)
        assert (status, answer["code"]) == (429, -1015)
        return str(wire.headers["Retry-After"])

    for _ in range(3):
        await wire.place()
    assert await not_placed() == "8"
    await wire.signed("GET", "/fapi/v1/openOrders", symbol=BTC)
    await wire.signed("DELETE", "/fapi/v1/allOpenOrders", symbol=BTC)
    clock.ms += 8_000
    await wire.place()
    await wire.place()
    assert await not_placed() == "50"
    assert len(wire.venue.order_log) == 5
    assert [row["limit"] for row in (await wire.get("/fapi/v1/exchangeInfo"))["rateLimits"]] == [
        2400,
        3,
        5,
    ]


def _signed(wire: Wire) -> str:
    pairs = [(name, str(value)) for name, value in wire.order().items()]
    return sign([*pairs, wire.now()], b"s")


@wire_test(**limited(open_orders=2))
async def test_so_many_orders_rest_and_no_more(wire: Wire) -> None:
    await wire.place()
    await wire.place()
    assert await wire.not_placed() == -2025
    await wire.trade("BUY", "0.010")


@wire_test(clock=HandClock)
async def test_without_limits_nothing_is_refused_and_no_count_told(wire: Wire) -> None:
    for _ in range(70):
        assert isinstance(await wire.signed("GET", "/fapi/v1/openOrders"), list)
    await wire.place()
    assert not any(name.startswith("X-MBX") for name in wire.headers)
