"""The WebSocket API of the served venue: every method, its checks, limits and faults."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from wire_rig import BTC, PATIENCE_SECONDS, HandClock, Wire, wire_test

from holdfast.transports.sim.limits import Limits
from holdfast.transports.usdm.signing import signature

PATH = "/ws-fapi/v1"


class Api:
    """One connection to the WebSocket API."""

    def __init__(self, wire: Wire, socket: Any) -> None:
        self.wire = wire
        self.socket = socket
        self.count = 0

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """The whole answer."""
        self.count += 1
        request = {"id": f"r{self.count}", "method": method, "params": params or {}}
        await self.socket.send_str(json.dumps(request))
        answer = await self.next()
        assert answer["id"] == request["id"]
        if answer["status"] == 200:
            self.wire.asked.add(f"ws {method}")
        return answer

    async def next(self) -> Any:
        with anyio.fail_after(PATIENCE_SECONDS):
            return json.loads((await self.socket.receive()).data)

    def sign(self, secret: bytes = b"s", **params: Any) -> dict[str, Any]:
        whole = {"apiKey": "k", "timestamp": self.wire.venue.now_ms(), **params}
        payload = "&".join(f"{name}={_text(whole[name])}" for name in sorted(whole))
        return {**whole, "signature": signature(payload.encode(), secret)}

    async def signed(self, method: str, **params: Any) -> Any:
        answer = await self.ask(method, self.sign(**params))
        assert answer["status"] == 200, answer
        return answer["result"]

    async def refused(self, method: str, params: dict[str, Any] | None = None) -> int:
        answer = await self.ask(method, params)
        assert answer["status"] >= 400, answer
        return int(answer["error"]["code"])


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@wire_test("ws order.place", "ws order.status", "ws order.cancel")
async def test_an_order_over_the_websocket(wire: Wire) -> None:
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        placed = await api.signed("order.place", **wire.order(newClientOrderId="mine"))
        assert (placed["clientOrderId"], placed["status"]) == ("mine", "NEW")
        found = await api.signed("order.status", symbol=BTC, origClientOrderId="mine")
        assert found["orderId"] == placed["orderId"]
        gone = await api.signed("order.cancel", symbol=BTC, orderId=placed["orderId"])
        assert gone["status"] == "CANCELED"
        again = api.sign(symbol=BTC, orderId=placed["orderId"])
        assert await api.refused("order.cancel", again) == -2011
        bad = api.sign(**wire.order(price="49000.05"))
        assert await api.refused("order.place", bad) == -1111
        reducing = api.sign(**wire.order(reduceOnly=True))
        assert await api.refused("order.place", reducing) == -2022


@wire_test("ws order.modify")
async def test_an_order_is_amended_over_the_websocket(wire: Wire) -> None:
    placed = await wire.place()
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        terms = {"symbol": BTC, "side": "BUY", "quantity": "0.020", "price": "48000"}
        amended = await api.signed("order.modify", orderId=placed["orderId"], **terms)
        assert (amended["origQty"], amended["price"]) == ("0.020", "48000")


@wire_test()
async def test_every_parameter_is_signed_escaped_or_not(wire: Wire) -> None:
    """`returnRateLimits` too: Binance's SDK and ccxt both sign it."""
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        name = "a/b:c"
        order = api.sign(**wire.order(newClientOrderId=name), returnRateLimits=False)
        answer = await api.ask("order.place", order)
        assert (answer["status"], answer["result"]["clientOrderId"]) == (200, name)
        assert "rateLimits" not in answer
        asked = api.sign(symbol=BTC, origClientOrderId=name)
        del asked["signature"]
        asked["signature"] = signature(urlencode(sorted(asked.items())).encode(), b"s")
        assert (await api.ask("order.status", asked))["result"]["clientOrderId"] == name
        added = {**api.sign(**wire.order()), "returnRateLimits": False}
        assert await api.refused("order.place", added) == -1022


@wire_test("ws algoOrder.place", "ws algoOrder.cancel")
async def test_a_conditional_order_over_the_websocket(wire: Wire) -> None:
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        placed = await api.signed(
            "algoOrder.place",
            algoType="CONDITIONAL",
            symbol=BTC,
            side="SELL",
            type="STOP_MARKET",
            quantity="0.010",
            triggerPrice="49000",
            clientAlgoId="stop",
        )
        assert placed["algoStatus"] == "NEW"
        gone = await api.signed("algoOrder.cancel", clientAlgoId="stop")
        assert gone["algoId"] == placed["algoId"]


@wire_test(
    "ws account.balance",
    "ws account.position",
    "ws account.status",
    "ws v2/account.balance",
    "ws v2/account.position",
    "ws v2/account.status",
)
async def test_the_account_over_the_websocket(wire: Wire) -> None:
    await wire.trade("BUY", "0.010")
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        for version in ("", "v2/"):
            (balance,) = await api.signed(f"{version}account.balance")
            assert balance["balance"] == "99999.75000000"
            position, *_ = await api.signed(f"{version}account.position", symbol=BTC)
            assert position["positionAmt"] == "0.010"
            status = await api.signed(f"{version}account.status")
            assert status["totalWalletBalance"] == "99999.75000000"


@wire_test("ws ping", "ws time", "ws depth", "ws ticker.price", "ws ticker.book")
async def test_the_market_over_the_websocket(wire: Wire) -> None:
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        assert (await api.ask("ping"))["result"] == {}
        assert "serverTime" in (await api.ask("time"))["result"]
        book = await api.ask("depth", {"symbol": BTC, "limit": 5})
        assert book["result"]["bids"][0][0] == "50000"
        assert (await api.ask("ticker.price", {"symbol": BTC}))["result"]["price"] == "50000"
        assert (await api.ask("ticker.book", {"symbol": BTC}))["result"]["bidPrice"] == "50000"


@wire_test("ws userDataStream.start", "ws userDataStream.ping", "ws userDataStream.stop")
async def test_a_listen_key_over_the_websocket(wire: Wire) -> None:
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        key = (await api.ask("userDataStream.start", {"apiKey": "k"}))["result"]["listenKey"]
        assert key == await wire.listen_key()
        assert (await api.ask("userDataStream.ping", {"apiKey": "k"}))["status"] == 200
        assert (await api.ask("userDataStream.stop", {"apiKey": "k"}))["status"] == 200
        assert await api.refused("userDataStream.ping", {"apiKey": "k"}) == -1125


@wire_test("ws session.status", "ws session.logout")
async def test_a_session_can_not_be_begun_with_this_kind_of_key(wire: Wire) -> None:
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        assert await api.refused("session.logon", api.sign()) == -4056
        assert await api.refused("session.dance") == -1099
        status = (await api.ask("session.status"))["result"]
        assert (status["apiKey"], status["authorizedSince"]) == (None, None)
        assert (await api.ask("session.logout"))["result"]["apiKey"] is None


@wire_test()
async def test_key_time_and_signature_are_checked(wire: Wire) -> None:
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        order = wire.order()
        wrong: list[tuple[dict[str, Any], int, int]] = [
            ({**api.sign(**order), "apiKey": ""}, -2014, 401),
            ({**api.sign(**order), "apiKey": "x"}, -2015, 401),
            ({**api.sign(**order), "signature": "0" * 64}, -1022, 400),
            ({**api.sign(**order), "quantity": "9"}, -1022, 400),
            (api.sign(b"other", **order), -1022, 400),
            (api.sign(**{**order, "timestamp": wire.venue.now_ms() - 5001}), -1021, 400),
            (api.sign(**{**order, "timestamp": wire.venue.now_ms() + 5000}), -1021, 400),
            (api.sign(**{**order, "recvWindow": 60_001}), -1131, 400),
            ({"apiKey": "k", **order}, -1102, 400),
            ({**api.sign(**order), "price": [1]}, -1100, 400),
        ]
        for params, code, status in wrong:
            answer = await api.ask("order.place", params)
            assert (answer["error"]["code"], answer["status"]) == (code, status)
        assert await api.refused("order.dance", api.sign()) == -1099
        assert wire.venue.order_log == []


@pytest.mark.parametrize("message", ["", "{", "[]", "1", '{"id": {}}', '{"params": 1}', "\x00"])
def test_what_is_no_request_is_answered_and_the_connection_stays(message: str) -> None:
    @wire_test("ws time")
    async def case(wire: Wire) -> None:
        async with wire.connect(PATH) as socket:
            api = Api(wire, socket)
            await socket.send_str(message)
            answer = await api.next()
            assert (answer["status"], answer["error"]["code"]) == (400, -1100)
            await api.ask("time")

    case()


@wire_test(clock=HandClock, limits=Limits(weight_per_minute=4, orders_per_ten_seconds=2))
async def test_limits_are_those_of_the_address_and_the_account(wire: Wire) -> None:
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        answer = await api.ask("order.place", api.sign(**wire.order()))
        assert [(row["limit"], row["count"]) for row in answer["rateLimits"]] == [
            (4, 0),
            (2, 1),
            (1200, 1),
        ]
        await wire.place()
        answer = await api.ask("order.place", api.sign(**wire.order()))
        assert (answer["status"], answer["error"]["code"]) == (429, -1015)
        silent = await api.ask("time", {"returnRateLimits": False})
        assert "rateLimits" not in silent
        for _ in range(3):
            await api.ask("time")
        answer = await api.ask("time")
        assert (answer["status"], answer["error"]["code"]) == (429, -1003)
        assert answer["error"]["data"]["retryAfter"] == wire.clock.ms + 60_000
        while answer["status"] == 429:
            answer = await api.ask("time")
        assert (answer["status"], answer["error"]["code"]) == (418, -1003)
        assert (await wire.ask("GET", "/fapi/v1/time"))[0] == 418


@wire_test()
async def test_faults_reach_its_requests(wire: Wire) -> None:
    async with wire.connect(PATH) as socket:
        api = Api(wire, socket)
        for point, status, taken in (
            ("unknown_503", 503, True),
            ("overloaded_1008", 503, False),
            ("throttled_429", 429, False),
        ):
            await wire.control("faults", {"kind": "place", "point": point})
            name = f"f-{point}"
            answer = await api.ask("order.place", api.sign(**wire.order(newClientOrderId=name)))
            assert answer["status"] == status
            assert wire.venue.executions(name) == taken
        await wire.control("faults", {"kind": "place", "point": "reply_hangs"})
        lost = {"id": 1, "method": "order.place", "params": api.sign(**wire.order())}
        await socket.send_str(json.dumps(lost))
        assert (await api.ask("time"))["status"] == 200  # the lost one has no answer
        await wire.control("faults", {"kind": "place", "point": "reply_reset"})
        await socket.send_str(json.dumps({**lost, "params": api.sign(**wire.order())}))
        with anyio.fail_after(PATIENCE_SECONDS):
            assert (await socket.receive()).type.name in ("CLOSED", "ERROR")
    assert len(wire.venue.order_log) == 3
