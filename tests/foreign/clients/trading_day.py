"""What every foreign client does at the exchange, whatever its own words for it.

Runs in the client's own environment, so it needs nothing but the standard library. `run` drives
a `Client` through the day and prints, as one JSON object, what the client saw.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

SYMBOL = "BTCUSDT"
PATIENCE_SECONDS = 60.0
STATUS = {
    "NEW": "open",
    "PARTIALLY_FILLED": "partially_filled",
    "FILLED": "filled",
    "CANCELED": "canceled",
    "EXPIRED": "expired",
}
"""Binance's words in those of the exchange's log."""


class Refused(Exception):
    """The exchange's refusal, as the client told it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Client:
    """A foreign client behind one set of names. Refusals are raised as `Refused`.

    An order is `{"id", "name", "status", "filled", "quantity", "price"}`, a trade `{"id",
    "order", "quantity", "price", "fee", "maker"}`; numbers are text, or what the client makes of
    them.

    :ivar events: of orders on the user stream: `(name, execution, status, filled)`.
    :ivar prices: of trades on the market stream.
    :ivar has_streams, has_websocket_api: what the client can do.
    """

    has_streams = True
    has_websocket_api = False

    def __init__(self, url: str, key: str, secret: str) -> None:
        self.url = url
        self.streams = "ws" + url.removeprefix("http")
        self.key = key
        self.secret = secret
        self.events: list[tuple[str, str, str, str]] = []
        self.prices: list[str] = []

    async def open(self) -> None:
        """Connect; the user stream listens when this returns."""

    async def close(self) -> None:
        """Leave nothing behind."""

    async def place(
        self,
        name: str,
        side: str,
        quantity: str,
        price: str | None = None,
        *,
        time_in_force: str = "GTC",
        reduce_only: bool = False,
    ) -> dict[str, Any]:
        raise NotImplementedError

    async def amend(self, name: str, order: dict[str, Any], quantity: str, price: str) -> Any:
        raise NotImplementedError

    async def query(self, name: str) -> dict[str, Any]:
        raise NotImplementedError

    async def cancel(self, name: str) -> dict[str, Any]:
        raise NotImplementedError

    async def open_orders(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def place_stop(self, name: str, kind: str, trigger_price: str, quantity: str) -> None:
        """A conditional order that sells, at the market, and only reduces."""
        raise NotImplementedError

    async def cancel_stop(self, name: str) -> None:
        raise NotImplementedError

    async def open_stops(self) -> list[str]:
        """Names of the conditional orders that wait."""
        raise NotImplementedError

    async def set_leverage(self, leverage: int) -> int:
        raise NotImplementedError

    async def trades(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def position(self) -> dict[str, Any]:
        """`{"quantity", "entry"}`, of the one position."""
        raise NotImplementedError

    async def wallet(self) -> str:
        raise NotImplementedError

    async def last_price(self) -> str:
        raise NotImplementedError

    # Over the WebSocket API.

    async def ws_place(self, name: str, side: str, quantity: str, price: str) -> dict[str, Any]:
        raise NotImplementedError

    async def ws_amend(self, name: str, order: dict[str, Any], quantity: str, price: str) -> Any:
        raise NotImplementedError

    async def ws_query(self, name: str) -> dict[str, Any]:
        raise NotImplementedError

    async def ws_cancel(self, name: str) -> dict[str, Any]:
        raise NotImplementedError


def move_price(url: str, price: str) -> None:
    """The market trades at that price."""
    body = json.dumps({"symbol": SYMBOL, "price": price}).encode()
    request = urllib.request.Request(f"{url}/control/price", body, method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        answer.read()


async def until(holds: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """:raises TimeoutError: it never did; with what `otherwise` says then."""
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(otherwise())


async def refused(action: Any) -> int | None:
    """The code with which it was refused; None if it was not."""
    try:
        await action
    except Refused as refusal:
        return refusal.code
    return None


async def trade(client: Client) -> dict[str, Any]:
    """The day. Returns what the client saw of it."""
    seen: dict[str, Any] = {"refusals": {}, "answers": {}, "names": []}
    answers, refusals = seen["answers"], seen["refusals"]

    async def place(name: str, *terms: Any, **more: Any) -> None:
        answers[name] = await client.place(name, *terms, **more)
        seen["names"].append(name)

    seen["first price"] = await client.last_price()
    move_price(client.url, "50000")
    if client.has_streams:
        while not client.prices:  # the subscription may take a moment to be known over there
            move_price(client.url, "50000")
            await asyncio.sleep(0.02)
    seen["leverage"] = await client.set_leverage(10)

    await place("market", "BUY", "0.020")
    await place("limit", "BUY", "0.010", "49000")
    refusals["duplicate"] = await refused(client.place("limit", "BUY", "0.010", "49000"))
    seen["amended"] = await client.amend("limit", answers["limit"], "0.012", "49500")
    await place("maker", "BUY", "0.010", "48000", time_in_force="GTX")
    refusals["taker"] = await refused(
        client.place("taker", "BUY", "0.010", "51000", time_in_force="GTX")
    )
    await place("exit", "SELL", "0.005", "50500", reduce_only=True)
    refusals["wrong way"] = await refused(client.place("wrong", "BUY", "0.010", reduce_only=True))
    seen["open"] = sorted(order["name"] for order in await client.open_orders())
    seen["cancelled"] = await client.cancel("maker")
    refusals["cancelled twice"] = await refused(client.cancel("maker"))

    await client.place_stop("stop", "STOP_MARKET", "48500", "0.010")
    await client.place_stop("spare", "TAKE_PROFIT_MARKET", "60000", "0.010")
    seen["stops"] = sorted(await client.open_stops())
    await client.cancel_stop("spare")
    seen["stops left"] = await client.open_stops()

    if client.has_websocket_api:
        placed = await client.ws_place("a/b:c", "BUY", "0.010", "47000")
        answers["a/b:c"] = placed
        seen["names"].append("a/b:c")
        seen["ws amended"] = await client.ws_amend("a/b:c", placed, "0.011", "47100")
        seen["ws found"] = await client.ws_query("a/b:c")
        seen["ws cancelled"] = await client.ws_cancel("a/b:c")

    for price in ("50600", "49400", "48400"):  # fills the exit, then the limit; then the stop
        move_price(client.url, price)
    seen["names"].append("stop")
    if client.has_streams:
        await until(
            lambda: (
                ("stop", "filled") in {(e[0], e[2]) for e in client.events}
                and any(float(price) == 48400 for price in client.prices)
            ),
            lambda: f"the streams told only {client.events} and {client.prices}",
        )
    seen["orders"] = {name: await client.query(name) for name in seen["names"]}
    seen["trades"] = await client.trades()
    seen["position"] = await client.position()
    seen["wallet"] = await client.wallet()
    seen["events"], seen["prices"] = client.events, client.prices
    return seen


async def day(client: Client) -> dict[str, Any]:
    await client.open()
    try:
        return await trade(client)
    finally:
        await client.close()


def run(kind: type[Client]) -> None:
    """Spend the day at the exchange that the arguments name: its address, the key, the secret."""
    seen = asyncio.run(day(kind(*sys.argv[1:4])))
    sys.stdout.write(json.dumps(seen, default=str))
