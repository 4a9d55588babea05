"""The served venue: Binance's checks, malformed requests, control API, process."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import anyio
import pytest
from sim_rigs import BTC, start, stop
from yarl import URL

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.transports.sim import SimulatedVenue, factory
from holdfast.transports.sim.http import SimHttpExecutionClient
from holdfast.transports.sim.server import VenueServer
from holdfast.transports.usdm.signing import sign, signature

KEY = {"X-MBX-APIKEY": "k"}
ORDER = [
    ("symbol", "BTCUSDT"),
    ("side", "BUY"),
    ("type", "LIMIT"),
    ("quantity", "0.010"),
    ("price", "49000"),
    ("timeInForce", "GTC"),
    ("newClientOrderId", "w1"),
]


class Wire:
    """A bare HTTP client of a served venue."""

    def __init__(self, session: aiohttp.ClientSession, url: str, venue: SimulatedVenue) -> None:
        self.session = session
        self.url = url
        self.venue = venue

    def now(self) -> tuple[str, str]:
        return ("timestamp", str(self.venue.now_ms()))

    async def ask(
        self, method: str, path: str, query: str = "", *, body: str | None = None, **more: Any
    ) -> tuple[int, Any]:
        more.setdefault("headers", KEY)
        url = URL(f"{self.url}{path}?{query}" if query else self.url + path, encoded=True)
        async with self.session.request(method, url, data=body, **more) as response:
            return response.status, json.loads(await response.text() or "null")

    async def signed(self, method: str, path: str, *params: tuple[str, str]) -> Any:
        status, answer = await self.ask(method, path, sign([*params, self.now()], b"s"))
        assert status == 200, answer
        return answer

    async def code(self, method: str, path: str, query: str, **more: Any) -> int:
        status, answer = await self.ask(method, path, query, **more)
        assert status >= 400
        assert set(answer) == {"code", "msg"}
        return int(answer["code"])

    async def control(self, path: str, command: dict[str, Any]) -> Any:
        status, answer = await self.ask("POST", f"/control/{path}", body=json.dumps(command))
        assert status == 200, answer
        return answer


@asynccontextmanager
async def served() -> AsyncIterator[Wire]:
    venue = SimulatedVenue(time_ns=SystemClock().time_ns)
    venue.on_price("BTCUSDT", Decimal(50000))
    server = VenueServer(venue, key="k", secret="s", entropy=SystemEntropy())
    async with server.serve() as port, aiohttp.ClientSession() as session:
        yield Wire(session, f"http://127.0.0.1:{port}", venue)


def served_test(test: Callable[[Wire], Awaitable[None]]) -> Callable[[], None]:
    async def main() -> None:
        async with served() as wire:
            with anyio.fail_after(30):
                await test(wire)

    def run() -> None:
        anyio.run(main)

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


def test_official_signature_vector():
    """Binance's documented example of HMAC-SHA256 for POST /fapi/v1/order."""
    payload = (
        b"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
        b"&recvWindow=5000&timestamp=1591702613943"
    )
    secret = b"2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    expected = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    assert signature(payload, secret) == expected


@served_test
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


@served_test
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


@served_test
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


@served_test
async def test_every_endpoint_answers_in_binances_shape(wire: Wire) -> None:
    info = (await wire.ask("GET", "/fapi/v1/exchangeInfo"))[1]
    assert {market["symbol"] for market in info["symbols"]} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    assert (await wire.ask("GET", "/fapi/v1/ticker/price", "symbol=BTCUSDT"))[1]["price"] == "50000"
    placed = await wire.signed("POST", "/fapi/v1/order", *ORDER, ("newOrderRespType", "RESULT"))
    assert (placed["status"], placed["executedQty"], placed["origType"]) == ("NEW", "0", "LIMIT")
    name = (("symbol", "BTCUSDT"), ("origClientOrderId", "w1"))
    by_number = (("symbol", "BTCUSDT"), ("orderId", str(placed["orderId"])))
    assert await wire.signed("GET", "/fapi/v1/order", *name) == placed
    assert await wire.signed("GET", "/fapi/v1/order", *by_number) == placed
    assert await wire.signed("GET", "/fapi/v1/openOrders") == [placed]
    assert await wire.signed("GET", "/fapi/v1/allOrders", ORDER[0]) == [placed]
    assert len(await wire.signed("GET", "/fapi/v1/leverageBracket")) == 3
    assert (await wire.signed("GET", "/fapi/v1/symbolConfig", ORDER[0]))[0]["leverage"] == 20
    assert not (await wire.signed("GET", "/fapi/v1/positionSide/dual"))["dualSidePosition"]
    assert (await wire.signed("DELETE", "/fapi/v1/order", *name))["status"] == "CANCELED"
    await wire.signed("POST", "/fapi/v1/order", *ORDER)
    answer = await wire.signed("DELETE", "/fapi/v1/allOpenOrders", ORDER[0])
    assert answer["code"] == 200
    assert wire.venue.open_orders() == []
    market = [*ORDER[:2], ("type", "MARKET"), ORDER[3]]
    acknowledged = await wire.signed("POST", "/fapi/v1/order", *market)
    assert (acknowledged["status"], acknowledged["executedQty"]) == ("NEW", "0")
    (trade,) = await wire.signed("GET", "/fapi/v1/userTrades", ORDER[0])
    assert (trade["qty"], trade["commission"], trade["maker"]) == ("0.010", "0.25000000", False)
    for version, rows in (("v2", 3), ("v3", 1)):
        risk = await wire.signed("GET", f"/fapi/{version}/positionRisk")
        assert len(risk) == rows
        assert risk[0]["positionAmt"] == "0.010"
        account = await wire.signed("GET", f"/fapi/{version}/account")
        assert account["totalWalletBalance"] == "99999.75000000"
        (balance,) = await wire.signed("GET", f"/fapi/{version}/balance")
        assert balance["balance"] == "99999.75000000"
    set_to = await wire.signed("POST", "/fapi/v1/leverage", ORDER[0], ("leverage", "5"))
    assert set_to["leverage"] == 5
    countdown = await wire.signed(
        "POST", "/fapi/v1/countdownCancelAll", ORDER[0], ("countdownTime", "50")
    )
    assert countdown == {"symbol": "BTCUSDT", "countdownTime": "50"}
    await wire.signed("POST", "/fapi/v1/order", *ORDER)
    with anyio.fail_after(10):
        while wire.venue.open_orders():  # noqa: ASYNC110
            await anyio.sleep(0.01)


@served_test
async def test_listen_key_opens_one_stream_and_expires(wire: Wire) -> None:
    key = (await wire.ask("POST", "/fapi/v1/listenKey"))[1]["listenKey"]
    assert (await wire.ask("POST", "/fapi/v1/listenKey"))[1]["listenKey"] == key
    assert (await wire.ask("PUT", "/fapi/v1/listenKey"))[0] == 200
    assert (await wire.ask("GET", "/ws/nonsense"))[1]["code"] == -1125
    assert (await wire.ask("GET", f"/ws/{key}"))[0] == 400
    for path in (f"/ws/{key}", f"/private/ws?listenKey={key}"):
        async with wire.session.ws_connect(wire.url + path) as stream:
            await wire.control("order", {"symbol": "BTCUSDT", "side": "buy", "quantity": "0.01"})
            frames = [(await stream.receive_json(timeout=5)) for _ in range(3)]
            assert [frame["o"]["x"] for frame in frames[:2]] == ["NEW", "TRADE"]
            assert frames[2]["e"] == "ACCOUNT_UPDATE"
            (position,) = frames[2]["a"]["P"]
            assert Decimal(position["pa"]) == wire.venue.book(BTC).holdings["BOTH"].quantity
            assert frames[1]["o"]["c"].startswith("web_")
    async with wire.session.ws_connect(f"{wire.url}/ws/{key}") as stream:
        await wire.control("faults", {"expire_listen_key": True})
        assert (await stream.receive_json(timeout=5))["e"] == "listenKeyExpired"
    assert await wire.code("PUT", "/fapi/v1/listenKey", "") == -1125


@served_test
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


@served_test
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
    process, url = start("--prices", "random-walk", "7", "--tick-seconds", "0.01")

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
    path.write_text("BTCUSDT,61000\nBTCUSDT,62000.5,0.4\n")
    process, url = start("--prices", str(path), "--tick-seconds", "0")

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
