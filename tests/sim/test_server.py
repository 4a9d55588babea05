"""The served venue: Binance's checks, malformed requests, control API, process."""

from __future__ import annotations

import asyncio
import signal
import time

import aiohttp
import anyio
import pytest
from sim_rigs import BTC, start, stop
from wire_rig import KEY, Wire, wire_test

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.transports.sim import factory
from holdfast.transports.sim.http import SimHttpExecutionClient
from holdfast.transports.usdm.signing import sign, signature

ORDER = [
    ("symbol", "BTCUSDT"),
    ("side", "BUY"),
    ("type", "LIMIT"),
    ("quantity", "0.010"),
    ("price", "49000"),
    ("timeInForce", "GTC"),
    ("newClientOrderId", "w1"),
]


def test_official_signature_vector():
    """Binance's documented example of HMAC-SHA256 for POST /fapi/v1/order."""
    payload = (
        b"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
        b"&recvWindow=5000&timestamp=1591702613943"
    )
    secret = b"2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    expected = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    assert signature(payload, secret) == expected


@wire_test()
async def test_parameters_may_travel_in_query_body_or_both(wire: Wire) -> None:
    order = ORDER[:-1]
    encoded = sign([*order, ("newClientOrderId", "q"), wire.now()], b"s")
    assert (await wire.ask("POST", "/fapi/v1/order", encoded))[1]["clientOrderId"] == "q"
    encoded = sign([*order, ("newClientOrderId", "b"), wire.now()], b"s")
    form = {**KEY, "Content-Type": "application/x-www-form-urlencoded"}
    _, answer = await wire.ask("POST", "/fapi/v1/order", body=encoded, headers=form)
    assert answer["clientOrderId"] == "b"
    query = "&".join(f"{name}={value}" for name, value in order[:3])
    rest = [*order[3:], ("newClientOrderId", "m"), wire.now()]
    body = "&".join(f"{name}={value}" for name, value in rest)
    mixed = signature((query + body).encode(), b"s")
    _, answer = await wire.ask(
        "POST", "/fapi/v1/order", query, body=f"{body}&signature={mixed}", headers=form
    )
    assert answer["clientOrderId"] == "m"


@wire_test()
async def test_key_time_and_signature_are_checked(wire: Wire) -> None:
    path, good = "/fapi/v1/order", [*ORDER, wire.now()]
    assert await wire.code("POST", path, sign(good, b"s"), headers={}) == -2014
    assert await wire.code("POST", path, sign(good, b"s"), headers={"X-MBX-APIKEY": "x"}) == -2015
    assert await wire.code("POST", path, sign(good, b"wrong")) == -1022
    assert await wire.code("POST", path, sign(good, b"s") + "0") == -1022
    assert await wire.code("POST", path, sign(good, b"s").replace("0.010", "0.020")) == -1022
    assert await wire.code("POST", path, sign(ORDER, b"s")) == -1102
    late = ("timestamp", str(wire.venue.now_ms() - 5001))
    assert await wire.code("POST", path, sign([*ORDER, late], b"s")) == -1021
    ahead = ("timestamp", str(wire.venue.now_ms() + 5000))
    assert await wire.code("POST", path, sign([*ORDER, ahead], b"s")) == -1021
    wide = [*ORDER, ("recvWindow", "60001"), wire.now()]
    assert await wire.code("POST", path, sign(wide, b"s")) == -1131
    unsigned = "&".join(f"{name}={value}" for name, value in good)
    assert await wire.code("POST", path, unsigned) == -1102
    assert wire.venue.order_log == []


@wire_test()
async def test_malformed_requests_get_a_code_and_the_venue_goes_on(wire: Wire) -> None:
    def without(name: str) -> list[tuple[str, str]]:
        return [item for item in ORDER if item[0] != name]

    def having(name: str, value: str) -> list[tuple[str, str]]:
        return [*without(name), (name, value)]

    cases = [
        *((without(name), -1102) for name in ("symbol", "side", "type", "quantity", "price")),
        (without("timeInForce"), -1102),
        (having("side", "HOLD"), -1117),
        (having("type", "STOP_MARKET"), -4120),
        (having("type", "NONSENSE"), -1116),
        (having("timeInForce", "GTX2"), -1115),
        (having("type", "MARKET"), -1106),
        (having("positionSide", "UP"), -4060),
        (having("reduceOnly", "perhaps"), -1102),
        *((having("quantity", bad), -1102) for bad in ("NaN", "1e5", "-", "Infinity", "٣", "1,0")),
        (having("quantity", "-1"), -4003),
        (having("symbol", "NOPE"), -1121),
        (having("newClientOrderId", "a b"), -4015),
    ]
    for params, code in cases:
        encoded = sign([*params, wire.now()], b"s")
        assert await wire.code("POST", "/fapi/v1/order", encoded) == code, params
    for query in ("%ff%fe", "&&&=&=", "timestamp=" + "9" * 400, "signature=x"):
        assert await wire.code("POST", "/fapi/v1/order", query) == -1102
    status, _ = await wire.ask("POST", "/fapi/v1/order", body="\x00\x01" * 100)
    assert status == 400
    status, _ = await wire.ask("POST", "/fapi/v1/order", body="x" * 200_000)
    assert status == 400
    status, answer = await wire.ask("GET", "/fapi/v9/nothing")
    assert (status, answer["code"]) == (404, -5000)
    assert wire.venue.order_log == []
    assert (await wire.ask("GET", "/fapi/v1/ping"))[0] == 200


@wire_test()
async def test_control_moves_prices_and_trades_by_another_hand(wire: Wire) -> None:
    await wire.control("price", {"symbol": BTC, "price": "51000"})
    assert wire.venue.book(BTC).last == 51000
    before_us = time.time_ns() // 1000
    await wire.control("position", {"symbol": BTC, "quantity": "-0.25"})
    await wire.control("order", {"symbol": BTC, "side": "buy", "quantity": "0.1", "price": "40000"})
    await wire.control("position", {"symbol": BTC, "quantity": "0"})
    _, log = await wire.ask("GET", "/control/orders")
    assert [entry["filled"] for entry in log] == ["0.25", "0", "0.25"]
    assert all(entry["foreign"] for entry in log)
    assert before_us <= log[0]["acceptedUs"] <= log[2]["acceptedUs"] <= time.time_ns() // 1000
    assert (await wire.ask("GET", "/control/orders", "after=2"))[1] == log[2:]
    _, state = await wire.ask("GET", "/control/state")
    assert (state["positions"], len(state["open_orders"])) == ([], 1)


@wire_test()
async def test_control_arms_faults_and_refuses_nonsense(wire: Wire) -> None:
    fault = {"executes": False, "reply": "error", "status": 503, "code": -1008}
    await wire.control("faults", {"kind": "query", "fault": fault, "count": 2, "clock_skew_ms": 5})
    assert wire.venue.faults.clock_skew_ms == 5
    for expected in (-1008, -1008, -1102):
        encoded = sign([wire.now()], b"s")
        assert (await wire.ask("GET", "/fapi/v1/order", encoded))[1]["code"] == expected
    await wire.control("faults", {"kind": "query", "fault": fault, "for_seconds": 60})
    await wire.control("faults", {"clear": True})
    assert wire.venue.faults.idle
    for path, body in (
        ("faults", '{"kind":"query"}'),
        ("faults", '{"nope":1}'),
        ("faults", '{"stream":"drop","count":0}'),
        ("faults", "not json"),
        ("price", '{"symbol":"NOPE","price":"1"}'),
        ("price", '{"symbol":"BTCUSDT","price":"NaN"}'),
        ("position", '{"symbol":"ETHUSDT","quantity":"1"}'),
        ("order", '{"symbol":"BTCUSDT","side":"up","quantity":"1"}'),
    ):
        status, answer = await wire.ask("POST", f"/control/{path}", body=body)
        assert (status, bool(answer)) == (400, True), body
    assert (await wire.ask("GET", "/control/nothing"))[0] == 404
    assert (await wire.ask("GET", "/control/orders", "after=x"))[0] == 400


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_serves_and_ends_cleanly(number: signal.Signals) -> None:
    process, url = start("--walk", "7", "--tick-seconds", "0.01")

    async def main() -> None:
        client = factory(url, clock=SystemClock(), entropy=SystemEntropy())
        assert isinstance(client, SimHttpExecutionClient)
        try:
            await client.probe()
            assert await client.positions(timeout_seconds=5) == []
        finally:
            await client.aclose()

    try:
        anyio.run(main)
    finally:
        code, errors = stop(process, number)
    assert (code, errors) == (0, "")


def test_prices_come_from_a_file(tmp_path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("time,price,quantity\n1750000000000,61000,1\n1750000060000,62000.5,0.4\n")
    process, url = start("--data", f"BTCUSDT={path}", "--speed", "600")

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            with anyio.fail_after(10):
                while True:
                    address = url.replace("sim", "http") + "/fapi/v1/ticker/price?symbol=BTCUSDT"
                    async with session.get(address) as response:
                        if (await response.json())["price"] == "62000.5":
                            return
                    await asyncio.sleep(0.02)

    try:
        anyio.run(main)
    finally:
        code, errors = stop(process, signal.SIGTERM)
    assert (code, errors) == (0, "")


class Link:
    """Hears what a client says of its link."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def up(self) -> None:
        self.heard.append("up")

    def down(self, reason: str) -> None:
        self.heard.append("down")

    def stream_up(self) -> None:
        self.heard.append("stream_up")

    def stream_down(self, reason: str) -> None:
        self.heard.append("stream_down")

    def report(self, report: object) -> None:
        self.heard.append("report")


def test_killed_venue_is_noticed_and_its_return_too() -> None:
    process, url = start()
    port = url.rpartition(":")[2]

    async def main() -> None:
        nonlocal process
        link = Link()
        client = factory(url, clock=SystemClock(), entropy=SystemEntropy())

        async def until(count: int, word: str) -> None:
            with anyio.fail_after(20):
                while link.heard.count(word) < count:  # noqa: ASYNC110
                    await anyio.sleep(0.002)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.run, link)
            await until(1, "up")
            await until(1, "stream_up")
            process.kill()
            killed = time.monotonic()
            await until(1, "stream_down")
            await until(1, "down")
            assert time.monotonic() - killed < 5
            process.communicate(timeout=10)
            process, _ = start("--port", port)
            await until(2, "up")
            await until(2, "stream_up")
            tasks.cancel_scope.cancel()

    try:
        anyio.run(main)
    finally:
        stop(process, signal.SIGTERM)
