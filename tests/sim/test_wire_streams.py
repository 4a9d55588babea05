"""The streams of the served venue: three ways to connect, what is told, and listen keys."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import pytest
from wire_rig import BTC, PATIENCE_SECONDS, HandClock, Wire, next_event, wire_test

from holdfast.transports.sim import streams
from holdfast.transports.sim.api import ListenKeys
from holdfast.transports.sim.faults import VenueFaults
from holdfast.transports.sim.limits import Limits
from holdfast.transports.sim.streams import Connection
from holdfast.transports.sim.tape import MINUTE_MS

LISTEN_KEY = "/fapi/v1/listenKey"


async def say(socket: Any, method: str, *params: Any, number: int = 1) -> Any:
    """One message of a client, and the answer to it; events meanwhile are passed over."""
    await socket.send_str(json.dumps({"method": method, "params": params, "id": number}))
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            message = json.loads((await socket.receive()).data)
            if isinstance(message, dict) and message.get("id") == number:
                return message


@pytest.mark.parametrize(
    "path",
    [
        "/ws/{key}",
        "/ws?listenKey={key}",
        "/private/ws/{key}",
        "/private/ws?listenKey={key}",
        "/private/ws?listenKey={key}&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE",
        "/stream?streams={key}",
        "/private/stream?streams={key}",
    ],
)
def test_the_user_stream_is_reached_each_way(path: str) -> None:
    @wire_test(f"POST {LISTEN_KEY}")
    async def case(wire: Wire) -> None:
        key = await wire.listen_key()
        async with wire.connect(path.format(key=key)) as stream:
            await wire.trade("BUY", "0.010", newClientOrderId="mine")
            raw = [json.loads((await stream.receive(timeout=10)).data) for _ in range(3)]
        frames = [frame["data"] for frame in raw] if "stream" in path else raw
        if "stream" in path:
            assert {frame["stream"] for frame in raw} == {key}
        assert [frame["e"] for frame in frames] == [
            "ORDER_TRADE_UPDATE",
            "ORDER_TRADE_UPDATE",
            "ACCOUNT_UPDATE",
        ]
        new, trade, account = frames
        assert (new["o"]["x"], new["o"]["X"], new["o"]["c"]) == ("NEW", "NEW", "mine")
        assert (trade["o"]["X"], trade["o"]["l"], trade["o"]["L"]) == ("FILLED", "0.010", "50000")
        assert (trade["o"]["n"], trade["o"]["N"]) == ("0.25000000", "USDT")
        (position,) = account["a"]["P"]
        assert (account["a"]["m"], position["pa"], position["ps"]) == ("ORDER", "0.010", "BOTH")
        assert account["a"]["B"][0]["wb"] == "99999.75000000"

    case()


@pytest.mark.parametrize("path", ["/ws", "/stream", "/private/stream", "/ws/1"])
def test_a_listen_key_can_be_subscribed_to(path: str) -> None:
    @wire_test()
    async def case(wire: Wire) -> None:
        key = await wire.listen_key()
        async with wire.connect(path) as stream:
            assert await say(stream, "SUBSCRIBE", key) == {"result": None, "id": 1}
            await wire.trade("BUY", "0.010")
            event = await next_event(stream, "ORDER_TRADE_UPDATE")
            assert event["o"]["x"] == "NEW"

    case()


@wire_test()
async def test_only_the_events_asked_for_are_told(wire: Wire) -> None:
    key = await wire.listen_key()
    async with wire.connect(f"/private/ws?listenKey={key}&events=TRADE_LITE") as stream:
        await wire.place()
        await wire.trade("SELL", "0.010", newClientOrderId="lite")
        frame = json.loads((await stream.receive(timeout=10)).data)
    assert (frame["e"], frame["c"], frame["l"], frame["m"]) == (
        "TRADE_LITE",
        "lite",
        "0.010",
        False,
    )


@wire_test(f"POST {LISTEN_KEY}", f"PUT {LISTEN_KEY}", f"DELETE {LISTEN_KEY}")
async def test_a_listen_key_is_one_until_it_is_closed(wire: Wire) -> None:
    assert await wire.code("POST", LISTEN_KEY, headers={}) == -2014
    assert await wire.code("PUT", LISTEN_KEY) == -1125
    key = await wire.listen_key()
    assert await wire.listen_key() == key
    assert (await wire.ask("PUT", LISTEN_KEY))[1] == {"listenKey": key}
    async with wire.connect(f"/ws/{key}") as stream:
        assert (await wire.ask("DELETE", LISTEN_KEY))[0] == 200
        await wire.trade("BUY", "0.010")
        await stream.send_str('{"method":"LIST_SUBSCRIPTIONS","id":7}')
        assert json.loads((await stream.receive(timeout=10)).data)["id"] == 7  # and no event
    assert await wire.code("GET", f"/ws/{key}") == -1125
    assert await wire.listen_key() != key


@wire_test(f"PUT {LISTEN_KEY}", clock=HandClock)
async def test_a_listen_key_lives_an_hour_from_its_last_extension(wire: Wire) -> None:
    key = await wire.listen_key()
    async with wire.connect(f"/ws/{key}") as stream:
        for _ in range(3):
            wire.clock.ms += ListenKeys.VALID_MS - 1
            assert (await wire.ask("PUT", LISTEN_KEY))[0] == 200
        wire.clock.ms += ListenKeys.VALID_MS
        event = await next_event(stream, "listenKeyExpired")
        assert event["listenKey"] == key
    assert await wire.code("PUT", LISTEN_KEY) == -1125
    assert await wire.listen_key() != key


MARKET_STREAMS = {
    "btcusdt@aggTrade": ("aggTrade", {"s": BTC, "p": "50100", "q": "2", "m": False}),
    "btcusdt@trade": ("trade", {"s": BTC, "p": "50100", "q": "2", "X": "MARKET"}),
    "btcusdt@bookTicker": ("bookTicker", {"s": BTC, "b": "50100", "a": "50100"}),
    "!bookTicker": ("bookTicker", {"s": BTC, "b": "50100"}),
    "btcusdt@kline_1m": ("kline", {"s": BTC}),
    "btcusdt_perpetual@continuousKline_5m": ("continuous_kline", {"ps": BTC, "ct": "PERPETUAL"}),
    "btcusdt@markPrice@1s": ("markPriceUpdate", {"s": BTC, "p": "50100"}),
    "!markPrice@arr@1s": ("markPriceUpdate", {"s": BTC, "p": "50100"}),
    "btcusdt@miniTicker": ("24hrMiniTicker", {"s": BTC, "c": "50100", "v": "2"}),
    "!miniTicker@arr": ("24hrMiniTicker", {"s": BTC, "c": "50100"}),
    "btcusdt@ticker": ("24hrTicker", {"s": BTC, "c": "50100", "Q": "2"}),
    "!ticker@arr": ("24hrTicker", {"s": BTC, "c": "50100"}),
    "btcusdt@depth@100ms": ("depthUpdate", {"s": BTC}),
    "btcusdt@depth": ("depthUpdate", {"s": BTC}),
    "btcusdt@depth5@100ms": ("depthUpdate", {"s": BTC}),
}


@pytest.mark.parametrize("stream", MARKET_STREAMS)
@pytest.mark.parametrize("path", ["/ws/{}", "/stream?streams={}"])
def test_a_market_stream_tells(stream: str, path: str) -> None:
    kind, expected = MARKET_STREAMS[stream]

    @wire_test()
    async def case(wire: Wire) -> None:
        async with wire.connect(path.format(stream)) as socket:
            await say(socket, "LIST_SUBSCRIPTIONS")
            await wire.control("price", {"symbol": BTC, "price": "50100", "quantity": "2"})
            event = await next_event(socket, kind)
            while not expected.items() <= event.items():  # of before the trade
                event = await next_event(socket, kind)
            if kind == "kline":
                assert (event["k"]["i"], event["k"]["x"]) == ("1m", False)
            if kind == "depthUpdate":
                assert event["U"] <= event["u"]

    case()


@wire_test()
async def test_a_liquidation_is_told_in_public(wire: Wire) -> None:
    async with wire.connect("/ws/!forceOrder@arr") as socket:
        await say(socket, "LIST_SUBSCRIPTIONS")
        await wire.trade("BUY", "30")
        await wire.control("price", {"symbol": BTC, "price": "46000"})
        event = await next_event(socket, "forceOrder")
    assert (event["o"]["s"], event["o"]["S"], event["o"]["q"]) == (BTC, "SELL", "30")


@wire_test(clock=HandClock)
async def test_a_candle_that_is_over_is_told_once(wire: Wire) -> None:
    async def candle(socket: Any, *, over: bool) -> Any:
        while True:
            told = (await next_event(socket, "kline"))["k"]
            if told["x"] == over:
                return told

    opened = wire.clock.ms
    async with wire.connect("/ws/btcusdt@kline_1m") as socket:
        await wire.control("price", {"symbol": BTC, "price": "50100", "quantity": "2"})
        told = await candle(socket, over=False)
        assert (told["t"], told["c"], told["v"]) == (opened, "50100", "2")
        wire.clock.ms += MINUTE_MS
        told = await candle(socket, over=True)
        assert (told["t"], told["T"]) == (opened, opened + MINUTE_MS - 1)
        told = await candle(socket, over=False)
        assert (told["t"], told["o"], told["v"]) == (opened + MINUTE_MS, "50100", "0")


@wire_test("GET /fapi/v1/depth")
async def test_a_book_can_be_kept_from_a_snapshot_and_its_changes(wire: Wire) -> None:
    """As Binance's "How to manage a local order book correctly" says."""
    async with wire.connect("/ws/btcusdt@depth@100ms") as socket:
        await say(socket, "LIST_SUBSCRIPTIONS")
        await wire.control("quote", {"symbol": BTC, "bid": "49990", "ask": "50010"})
        first = await next_event(socket, "depthUpdate")
        snapshot = await wire.get("/fapi/v1/depth", symbol=BTC, limit=100)
        sides: dict[str, dict[str, str]] = {
            "b": dict(snapshot["bids"]),
            "a": dict(snapshot["asks"]),
        }
        last = snapshot["lastUpdateId"]
        assert first["u"] <= last
        for price in ("49000", "48000", "47000"):
            await wire.place(price=price, quantity="1")
        await wire.control("quote", {"symbol": BTC, "bid": "49980", "ask": "50020"})
        await wire.signed("DELETE", "/fapi/v1/allOpenOrders", symbol=BTC)
        wanted = await wire.get("/fapi/v1/depth", symbol=BTC, limit=100)
        while last < wanted["lastUpdateId"]:
            event = await next_event(socket, "depthUpdate")
            if event["u"] <= last:
                continue
            assert event["pu"] == last
            last = event["u"]
            for side, levels in sides.items():
                for price, quantity in event[side]:
                    if Decimal(quantity):
                        levels[price] = quantity
                    else:
                        levels.pop(price, None)
    assert sides == {"b": dict(wanted["bids"]), "a": dict(wanted["asks"])}


@wire_test()
async def test_subscriptions_are_followed_and_answered(wire: Wire) -> None:
    async with wire.connect("/ws") as socket:
        assert (await say(socket, "LIST_SUBSCRIPTIONS"))["result"] == []
        names = ["btcusdt@aggTrade", "btcusdt@depth"]
        assert (await say(socket, "SUBSCRIBE", *names))["result"] is None
        assert (await say(socket, "LIST_SUBSCRIPTIONS"))["result"] == names
        assert (await say(socket, "UNSUBSCRIBE", names[1], "never@there"))["result"] is None
        assert (await say(socket, "LIST_SUBSCRIPTIONS"))["result"] == names[:1]
        assert (await say(socket, "GET_PROPERTY", "combined"))["result"] is False
        assert (await say(socket, "SET_PROPERTY", "combined", True))["result"] is None
        await wire.control("price", {"symbol": BTC, "price": "50100"})
        frame = json.loads((await socket.receive(timeout=10)).data)
        assert frame["stream"] == names[0]
        for method, params, code in (
            ("SUBSCRIBE", [], 2),
            ("SUBSCRIBE", [1], 2),
            ("DANCE", [], 2),
            ("GET_PROPERTY", ["colour"], 0),
            ("SET_PROPERTY", ["combined", "yes"], 1),
        ):
            answer = await say(socket, method, *params, number=9)
            assert answer["error"]["code"] == code, method
        await socket.send_str("{")
        assert json.loads((await socket.receive(timeout=10)).data)["error"]["code"] == 3


@wire_test()
async def test_a_path_that_is_none_is_refused(wire: Wire) -> None:
    assert await wire.code("GET", "/ws/nonsense") == -1125
    assert await wire.code("GET", "/ws/btcusdt@trade") == -1100  # no WebSocket
    assert await wire.code("GET", "/sockets") == -5000
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await wire.session.ws_connect(wire.url + "/ws/nonsense")


@wire_test()
async def test_messages_of_every_length_arrive_whole_and_in_order(wire: Wire) -> None:
    """The length has three forms (RFC 6455, 5.2)."""
    sizes = [1, 125, 126, 65_535, 65_536, 2, 300_000, 3]
    async with wire.connect("/ws/any@stream") as socket:
        for size in sizes:
            wire.server._hub.publish("any@stream", b"x" * size)
        assert [len(await socket.receive_str(timeout=10)) for _ in sizes] == sizes


@pytest.mark.anyio
async def test_what_is_told_in_one_turn_leaves_in_one_write() -> None:
    class Socket:
        """Takes the place of socket, request, transport and writer."""

        closed = False

        def __init__(self) -> None:
            self.transport = self.writer = self
            self.writes: list[bytes] = []

        def is_closing(self) -> bool:
            return False

        def abort(self) -> None:
            pass

        def write(self, data: bytes) -> None:
            self.writes.append(data)

        async def drain(self) -> None:
            pass

    socket: Any = Socket()
    connection = Connection(VenueFaults(), socket, socket)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.write)
        for turn in range(2):
            for letter in "abc":
                connection.send("stream", letter.encode())
            await anyio.wait_all_tasks_blocked()
            assert socket.writes == [b"\x81\x01a\x81\x01b\x81\x01c"] * (turn + 1)
        connection.cut()


def test_who_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_QUEUED_FRAMES", 20)

    @wire_test()
    async def case(wire: Wire) -> None:
        hub, frame = wire.server._hub, b"x" * 65_536
        async with wire.connect("/ws/any@stream"):
            for _ in range(2000):  # more than the kernel keeps for a socket
                hub.publish("any@stream", frame)
                await anyio.lowlevel.checkpoint()
                if not hub.connections:
                    break
            else:
                raise AssertionError("it never was")

    case()


@wire_test(limits=Limits(messages_per_second=3))
async def test_who_says_too_much_is_disconnected(wire: Wire) -> None:
    async with wire.connect("/ws") as socket:
        for _ in range(8):  # in at most two seconds of the clock
            await socket.send_str('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        with anyio.fail_after(PATIENCE_SECONDS):
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION


@wire_test(ping_seconds=0.02, pong_seconds=0.2)
async def test_who_answers_no_ping_is_disconnected(wire: Wire) -> None:
    async with wire.session.ws_connect(wire.url + "/ws", autoping=False) as mute:
        kinds = set()
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                message = await mute.receive()
                kinds.add(message.type)
                if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                    break
        assert aiohttp.WSMsgType.PING in kinds
