"""A bare client of a served venue, and what a test says it covers.

`wire_test` names the endpoints (or the methods of the WebSocket API) that a test asks for. It
fails where one of them did not answer, and `test_wire_coverage` fails where one is named by
no test: so every endpoint is asked for over a real socket.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import anyio
from yarl import URL

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.transports.sim import SimulatedVenue
from holdfast.transports.sim.server import VenueServer
from holdfast.transports.usdm.signing import sign

KEY = {"X-MBX-APIKEY": "k"}
BTC = "BTCUSDT"
PATIENCE_SECONDS = 30.0
COVERED: set[str] = set()
"""`GET /fapi/v1/time`, `ws order.place`: all that some test names."""


class HandClock:
    """A clock that a test turns; it begins with a minute."""

    def __init__(self) -> None:
        self.ms = 30_000_000 * 60_000

    def time_ns(self) -> int:
        return self.ms * 1_000_000


class Wire:
    """One HTTP session to one served venue.

    :ivar asked: endpoints and methods that answered with success.
    :ivar headers: of the latest answer.
    :ivar clock: the venue's.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, server: VenueServer, clock: Any
    ) -> None:
        self.clock = clock
        self.session = session
        self.url = url
        self.server = server
        self.venue: SimulatedVenue = server.venue
        self.asked: set[str] = set()
        self.headers: Any = {}
        self._numbers = itertools.count(1)

    # --- requests ------------------------------------------------------------------

    def now(self) -> tuple[str, str]:
        return ("timestamp", str(self.venue.now_ms()))

    async def ask(
        self, method: str, path: str, query: str = "", *, body: Any = None, **more: Any
    ) -> tuple[int, Any]:
        more.setdefault("headers", KEY)
        url = URL(f"{self.url}{path}?{query}" if query else self.url + path, encoded=True)
        async with self.session.request(method, url, data=body, **more) as response:
            self.headers = response.headers
            answer = json.loads(await response.text() or "null")
            if response.status == 200:
                self.asked.add(f"{method} {path}")
            return response.status, answer

    async def get(self, path: str, **params: Any) -> Any:
        """A public answer."""
        query = "&".join(f"{name}={value}" for name, value in params.items())
        status, answer = await self.ask("GET", path, query, headers={})
        assert status == 200, answer
        return answer

    async def signed(self, method: str, path: str, *pairs: tuple[str, str], **params: Any) -> Any:
        status, answer = await self._signed(method, path, pairs, params)
        assert status == 200, answer
        return answer

    async def refused(self, method: str, path: str, **params: Any) -> int:
        """The code of a refusal of a signed request."""
        status, answer = await self._signed(method, path, (), params)
        assert status >= 400, answer
        assert set(answer) == {"code", "msg"}
        return int(answer["code"])

    async def code(self, method: str, path: str, query: str = "", **more: Any) -> int:
        """The code of a refusal of a request that is sent as it stands."""
        status, answer = await self.ask(method, path, query, **more)
        assert status >= 400
        assert set(answer) == {"code", "msg"}
        return int(answer["code"])

    async def control(self, path: str, command: dict[str, Any]) -> Any:
        status, answer = await self.ask("POST", f"/control/{path}", body=json.dumps(command))
        assert status == 200, answer
        return answer

    async def _signed(
        self, method: str, path: str, pairs: tuple[tuple[str, str], ...], params: dict[str, Any]
    ) -> tuple[int, Any]:
        given = [*pairs, *((name, _text(value)) for name, value in params.items())]
        return await self.ask(method, path, sign([*given, self.now()], b"s"))

    # --- orders --------------------------------------------------------------------

    def order(self, **changed: Any) -> dict[str, Any]:
        """Parameters of a limit order that rests; None takes one away."""
        params: dict[str, Any] = {
            "symbol": BTC,
            "side": "BUY",
            "type": "LIMIT",
            "quantity": "0.010",
            "price": "49000",
            "timeInForce": "GTC",
            "newClientOrderId": f"w{next(self._numbers)}",
            **changed,
        }
        return {name: value for name, value in params.items() if value is not None}

    def market_order(self, side: str, quantity: str, **changed: Any) -> dict[str, Any]:
        at_market = {"type": "MARKET", "price": None, "timeInForce": None}
        answered = {"newOrderRespType": "RESULT"}
        return self.order(side=side, quantity=quantity, **{**at_market, **answered, **changed})

    async def place(self, **changed: Any) -> Any:
        return await self.signed("POST", "/fapi/v1/order", **self.order(**changed))

    async def trade(self, side: str, quantity: str, **changed: Any) -> Any:
        """At the market."""
        params = self.market_order(side, quantity, **changed)
        return await self.signed("POST", "/fapi/v1/order", **params)

    async def not_placed(self, **changed: Any) -> int:
        return await self.refused("POST", "/fapi/v1/order", **self.order(**changed))

    # --- WebSockets ----------------------------------------------------------------

    def connect(self, path: str) -> Any:
        return self.session.ws_connect(self.url + path)

    async def listen_key(self) -> str:
        status, answer = await self.ask("POST", "/fapi/v1/listenKey")
        assert status == 200, answer
        return str(answer["listenKey"])


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@asynccontextmanager
async def served(
    *,
    hedge_mode: bool = False,
    deposit: str = "100000",
    clock: Callable[[], Any] = SystemClock,
    **server: Any,
) -> AsyncIterator[Wire]:
    """
    :param clock: makes one.
    :param server: see `VenueServer`.
    """
    time = clock()
    venue = SimulatedVenue(time_ns=time.time_ns, hedge_mode=hedge_mode, deposit=Decimal(deposit))
    venue.on_price(BTC, Decimal(50_000))
    made = VenueServer(venue, key="k", secret="s", entropy=SystemEntropy(), **server)
    async with made.serve() as port, aiohttp.ClientSession() as session:
        yield Wire(session, f"http://127.0.0.1:{port}", made, time)


def wire_test(
    *covers: str, **options: Any
) -> Callable[[Callable[[Wire], Awaitable[None]]], Callable[[], None]]:
    """:param covers: what is asked for with success in the test.
    :param options: of `served`.
    """
    COVERED.update(covers)

    def decorate(test: Callable[[Wire], Awaitable[None]]) -> Callable[[], None]:
        async def main() -> None:
            async with served(**options) as wire:
                with anyio.fail_after(PATIENCE_SECONDS):
                    await test(wire)
                assert not set(covers) - wire.asked

        @functools.wraps(test, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        def run() -> None:
            anyio.run(main)

        del run.__wrapped__  # type: ignore[attr-defined]  # pytest reads its parameters
        return run

    return decorate


async def next_event(socket: Any, *kinds: str) -> Any:
    """The next message whose `e` is one of these, unwrapped; others are passed over."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            message = json.loads((await socket.receive()).data)
            for event in _events(message):
                if event.get("e") in kinds:
                    return event


def _events(message: Any) -> list[Any]:
    data = message.get("data", message) if isinstance(message, dict) else message
    return data if isinstance(data, list) else [data]
