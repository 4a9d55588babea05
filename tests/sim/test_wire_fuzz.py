"""Malformed requests, many of them: each gets a code of Binance's, and the venue stays up."""

from __future__ import annotations

import json
import logging
import random
from typing import Any
from urllib.parse import quote

import aiohttp
import anyio
import pytest
from wire_rig import BTC, PATIENCE_SECONDS, Wire, wire_test
from yarl import URL

from holdfast.transports.sim.api import Security
from holdfast.transports.sim.routes import ROUTES
from holdfast.transports.sim.ws_api import METHODS
from holdfast.transports.usdm.signing import sign, signature

SEEDS = range(4)
REQUESTS = 250
NAMES = (
    "symbol",
    "side",
    "type",
    "quantity",
    "price",
    "timeInForce",
    "newClientOrderId",
    "positionSide",
    "reduceOnly",
    "closePosition",
    "newOrderRespType",
    "recvWindow",
    "orderId",
    "origClientOrderId",
    "orderIdList",
    "origClientOrderIdList",
    "batchOrders",
    "limit",
    "startTime",
    "endTime",
    "fromId",
    "interval",
    "pair",
    "contractType",
    "leverage",
    "marginType",
    "amount",
    "dualSidePosition",
    "multiAssetsMargin",
    "countdownTime",
    "algoType",
    "algoId",
    "clientAlgoId",
    "triggerPrice",
    "workingType",
    "callbackRate",
    "activatePrice",
    "priceProtect",
    "incomeType",
    "autoCloseType",
    "page",
    "listenKey",
)
GOOD = (
    BTC,
    "ETHUSDT",
    "BUY",
    "SELL",
    "LIMIT",
    "MARKET",
    "STOP_MARKET",
    "TRAILING_STOP_MARKET",
    "GTC",
    "GTX",
    "BOTH",
    "LONG",
    "CONDITIONAL",
    "ISOLATED",
    "1m",
    "1M",
    "PERPETUAL",
    "true",
    "1",
    "5",
    "0.010",
    "49000",
)
BAD = (
    "",
    "0",
    "-1",
    "NaN",
    "Infinity",
    "1e9",
    "1e-9",
    "0x10",
    "00000000000000000000",
    "9" * 19,
    "9" * 40,
    "0." + "0" * 19 + "1",
    "null",
    "[]",
    "[[]]",
    '[{"symbol":1}]',
    '[{"symbol":"BTCUSDT","price":1e400}]',
    "[1,2",
    "{}",
    "ß",
    "\x00",
    "%",
    "%zz",
    "&&",
    "a=b",
    "'; --",
    "x" * 3000,
    "٣",
    "\ud83d",
)


def value(chance: random.Random) -> str:
    return chance.choice(GOOD if chance.random() < 0.6 else BAD)


def params(chance: random.Random) -> list[tuple[str, str]]:
    wanted = chance.sample(NAMES, chance.randint(0, 9))
    pairs = [(name, value(chance)) for name in wanted]
    if chance.random() < 0.5:
        pairs.append(("symbol", BTC))
    if chance.random() < 0.1:
        pairs += pairs[:1]
    return pairs


def understood(status: int, body: bytes, what: Any) -> None:
    """Whatever it is, it is an answer in Binance's manner."""
    assert status in (200, 400, 401, 404, 413), (status, body, what)
    answer = json.loads(body)
    if status != 200:
        assert set(answer) == {"code", "msg"}, what
        assert isinstance(answer["code"], int), what
        assert answer["code"] < 0, what
        assert answer["code"] != -1000, what


@pytest.mark.parametrize("seed", SEEDS)
def test_every_endpoint_answers_whatever_it_is_asked(seed: int, caplog: Any) -> None:
    @wire_test("GET /fapi/v1/time")
    async def case(wire: Wire) -> None:
        chance = random.Random(seed)
        routes = list(ROUTES)
        for _ in range(REQUESTS):
            method, path = chance.choice(routes)
            pairs = params(chance)
            if chance.random() < 0.9:
                pairs.append(wire.now())
            safe = [(name, text.encode(errors="replace").decode()) for name, text in pairs]
            query = sign(safe, b"s")
            if chance.random() < 0.1:
                query = "&".join(f"{name}={quote(text, safe='%&')}" for name, text in safe)
            in_body = chance.random() < 0.3
            form = {"X-MBX-APIKEY": "k", "Content-Type": "application/x-www-form-urlencoded"}
            url = URL(wire.url + path + ("" if in_body else f"?{query}"), encoded=True)
            async with wire.session.request(
                method, url, data=query if in_body else None, headers=form
            ) as response:
                understood(response.status, await response.read(), (method, path, pairs))
        await wire.get("/fapi/v1/time")

    with caplog.at_level(logging.ERROR):
        case()
    assert caplog.records == []


@pytest.mark.parametrize("seed", SEEDS)
def test_the_websocket_api_answers_whatever_it_is_asked(seed: int, caplog: Any) -> None:
    @wire_test("GET /fapi/v1/time")
    async def case(wire: Wire) -> None:
        chance = random.Random(seed)
        strange: list[Any] = [None, True, 1, -1, 1.5, 10**30, [], {}, [[1]], {"a": {}}, "x" * 3000]
        async with wire.connect("/ws-fapi/v1") as socket:
            for number in range(REQUESTS):
                method = chance.choice([*METHODS, "", "order.dance", "session.logon"])
                given: dict[str, Any] = {
                    name: chance.choice(strange) if chance.random() < 0.1 else value(chance)
                    for name in chance.sample(NAMES, chance.randint(0, 9))
                }
                if chance.random() < 0.9 and all(
                    isinstance(text, str) and text.isascii() for text in given.values()
                ):
                    given |= {"apiKey": "k", "timestamp": wire.venue.now_ms()}
                    payload = "&".join(f"{name}={given[name]}" for name in sorted(given))
                    given["signature"] = signature(payload.encode(), b"s")
                await socket.send_str(json.dumps({"id": number, "method": method, "params": given}))
                with anyio.fail_after(PATIENCE_SECONDS):
                    answer = json.loads((await socket.receive()).data)
                if answer["id"] is None:  # not readable at all: half a character
                    assert any("\ud83d" in str(given[name]) for name in given)
                    assert answer["error"]["code"] == -1100
                    continue
                assert answer["id"] == number
                assert answer["status"] in (200, 400, 401), answer
                if answer["status"] != 200:
                    assert -10_000 < answer["error"]["code"] < -1000, (method, given)
        await wire.get("/fapi/v1/time")

    with caplog.at_level(logging.ERROR):
        case()
    assert caplog.records == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stream_connection_answers_whatever_it_is_told(seed: int, caplog: Any) -> None:
    @wire_test("GET /fapi/v1/time")
    async def case(wire: Wire) -> None:
        chance = random.Random(seed)
        names = ["btcusdt@depth", "btcusdt@kline_9x", "@", "!", "!x@arr", "BTCUSDT@trade", "btc@"]
        strange: list[Any] = [None, 1, "", "x" * 2000, [], {}, *names, "btcusdt@depth5@9ms"]
        methods = ["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "X", "", None]
        async with wire.connect("/stream") as socket:
            for number in range(REQUESTS):
                message: Any = {
                    "method": chance.choice(methods),
                    "params": chance.choices(strange, k=chance.randint(0, 4)),
                    "id": number,
                }
                if chance.random() < 0.1:
                    message = chance.choice([message["params"], 1, "x", None])
                await socket.send_str(json.dumps(message))
            await socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":"last"}')
            with anyio.fail_after(PATIENCE_SECONDS):
                while json.loads((await socket.receive()).data).get("id") != "last":
                    pass
            await wire.control("price", {"symbol": BTC, "price": "50100"})
        await wire.get("/fapi/v1/time")

    with caplog.at_level(logging.ERROR):
        case()
    assert caplog.records == []


RAW = (
    b"\x00" * 64 + b"\r\n\r\n",
    b"GET /fapi/v1/time HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /fapi/v1/order HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"POST /fapi/v1/order HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST /fapi/v1/order HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /\xff\xfe?\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET " + b"/a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /ws/btcusdt@trade HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET /fapi/v1/time HTTP/1.1\r\nX-Long: " + b"y" * 200_000 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


@pytest.mark.parametrize("sent", RAW, ids=range(len(RAW)))
def test_what_is_hardly_http_does_no_harm(sent: bytes) -> None:
    @wire_test("GET /fapi/v1/time")
    async def case(wire: Wire) -> None:
        port = int(wire.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(sent)
            with anyio.move_on_after(0.2):
                try:
                    while True:
                        await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass
        await wire.get("/fapi/v1/time")

    case()


@wire_test("GET /fapi/v1/time")
async def test_nothing_is_done_without_key_and_signature(wire: Wire) -> None:
    for (method, path), route in ROUTES.items():
        if route.security is Security.NONE:
            continue
        for headers, code in (({}, -2014), ({"X-MBX-APIKEY": "x"}, -2015)):
            query = sign([("symbol", BTC), wire.now()], b"s")
            assert await wire.code(method, path, query, headers=headers) == code, path
        if route.security is Security.SIGNED:
            query = sign([("symbol", BTC), wire.now()], b"other")
            assert await wire.code(method, path, query) == -1022, path
            assert await wire.code(method, path, f"symbol={BTC}") == -1102, path
            late = ("timestamp", str(wire.venue.now_ms() - 6000))
            assert await wire.code(method, path, sign([late], b"s")) == -1021, path
    await wire.get("/fapi/v1/time")


@wire_test()
async def test_a_message_that_is_too_long_ends_that_connection_alone(wire: Wire) -> None:
    async with wire.connect("/ws") as other, wire.connect("/ws") as socket:
        await socket.send_str("x" * 100_000)
        with anyio.fail_after(PATIENCE_SECONDS):
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        await other.send_str('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        assert json.loads((await other.receive(timeout=10)).data)["id"] == 1
