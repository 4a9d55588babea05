"""The observer's hand on the simulated exchange, and its two logs as plain values."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, Self

import aiohttp
import anyio
import msgspec

from holdfast.errors import HoldfastError
from holdfast.model import Side

from .observation import Answer, VenueOrder, VenueRequest

NO_SUCH_ORDER: Final = -2013
TIMEOUT: Final = aiohttp.ClientTimeout(total=10)


class ExchangeControlError(HoldfastError):
    """The exchange did not do what the observer asked."""


class _LoggedOrder(msgspec.Struct, rename="camel"):
    client_order_id: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    reduce_only: bool
    filled: Decimal
    foreign: bool
    accepted_us: int


class _LoggedRequest(msgspec.Struct, rename="camel"):
    arrived_us: int
    kind: str
    path: str
    client_order_id: str | None
    timestamp: str | None
    recv_window: str | None
    status: int
    code: int | None
    taken: bool


class ExchangeControl:
    """Talks to `/control/...` of one exchange.

    :param utc_minus_monotonic_ns: turns its UTC stamps into CLOCK_MONOTONIC.
    """

    def __init__(self, url: str, *, market: str, utc_minus_monotonic_ns: int) -> None:
        self._url = url
        self._market = market
        self._shift_ns = utc_minus_monotonic_ns
        self._session = aiohttp.ClientSession(timeout=TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._session.close()

    async def set_price(self, price: Decimal) -> None:
        await self._post("price", {"symbol": self._market, "price": f"{price:f}"})

    async def arm(self, kind: str, fault: dict[str, Any], *, count: int = 1) -> None:
        """Show `fault` to the next `count` requests of `kind`."""
        await self._post("faults", {"kind": kind, "fault": fault, "count": count})

    async def armed(self) -> int:
        """Faults that no request has met yet."""
        state = msgspec.json.decode(await self._get("state"))
        return sum(state["faults"]["armed"].values())

    async def position(self) -> Decimal:
        state = msgspec.json.decode(await self._get("state"))
        return sum(
            (
                Decimal(held["positionAmt"])
                for held in state["positions"]
                if held["symbol"] == self._market
            ),
            Decimal(0),
        )

    async def orders(self, *, after: int = 0) -> list[VenueOrder]:
        """Every order that was accepted, from number `after` on."""
        logged = msgspec.json.decode(
            await self._get(f"orders?after={after}"), type=list[_LoggedOrder], strict=False
        )
        return [
            VenueOrder(
                o.side,
                o.quantity,
                not o.reduce_only,
                o.accepted_us * 1000 - self._shift_ns,
                o.client_order_id,
                o.price or Decimal(0),
                o.filled,
            )
            for o in logged
            if not o.foreign
        ]

    async def requests(self) -> list[VenueRequest]:
        logged = msgspec.json.decode(await self._get("requests"), type=list[_LoggedRequest])
        return [self._request(seen) for seen in logged]

    def _request(self, seen: _LoggedRequest) -> VenueRequest:
        valid_until_ns = None
        if seen.timestamp is not None and seen.recv_window is not None:
            until_ms = int(seen.timestamp) + int(seen.recv_window)
            valid_until_ns = until_ms * 1_000_000 - self._shift_ns
        return VenueRequest(
            seen.kind,
            seen.path,
            seen.arrived_us * 1000 - self._shift_ns,
            _answer(seen),
            seen.client_order_id,
            valid_until_ns,
        )

    async def _get(self, what: str) -> bytes:
        return await self._send("GET", what, None)

    async def _post(self, what: str, body: dict[str, Any]) -> None:
        await self._send("POST", what, msgspec.json.encode(body))

    async def _send(self, method: str, what: str, body: bytes | None) -> bytes:
        try:
            async with self._session.request(
                method, f"{self._url}/control/{what}", data=body
            ) as reply:
                text = await reply.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ExchangeControlError(f"exchange, {what}: {error!r}") from error
        if reply.status != 200:
            raise ExchangeControlError(f"exchange, {what}: {text.decode(errors='replace')}")
        return text


def _answer(seen: _LoggedRequest) -> Answer:
    if seen.status == 0:
        return "lost after" if seen.taken else "lost before"
    if seen.taken:
        return "done"
    return "absent" if seen.code == NO_SUCH_ORDER else "refused"
