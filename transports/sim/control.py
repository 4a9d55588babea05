"""The hand of an observer on a served venue: prices, faults, foreign trades, the order log.

It is no part of what Binance offers. JSON in, JSON out, loopback only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiohttp import web

from holdfast.model import Side

from .core import SimulatedVenue
from .faults import Action, Fault, RequestKind
from .ledger import ZERO
from .records import OrderTicket, VenueOrder
from .requests import RequestLog
from .rules import VenueError
from .wire import order_json, positions_json, rounded, text

_T = TypeVar("_T")


class Streams(Protocol):
    """The part of the server that the control API reaches into."""

    def cut_streams(self) -> int: ...

    def expire_listen_key(self) -> None: ...

    def describe(self) -> dict[str, Any]: ...


class SetPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trade of the market. `quantity` bounds what resting orders get of it."""

    symbol: str
    price: Decimal
    quantity: Decimal | None = None


class SetFaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults to add; `clear` disarms what was armed before."""

    clear: bool = False
    kind: RequestKind | None = None
    fault: Fault | None = None
    count: int | None = None
    for_seconds: float | None = None
    stream: Action | None = None
    clock_skew_ms: int | None = None
    query_lag_ms: int | None = None
    cut_streams: bool = False
    expire_listen_key: bool = False


class ForeignOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order placed by another hand on the same account."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None = None
    reduce_only: bool = False
    client_order_id: str | None = None


class ForeignPosition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trade at the market, by another hand, until the position is `quantity`."""

    symbol: str
    quantity: Decimal


class ControlApi:
    """Answers `/control/...`."""

    def __init__(self, venue: SimulatedVenue, streams: Streams, requests: RequestLog) -> None:
        self._venue = venue
        self._requests = requests
        self._streams = streams
        self._posts: Final[Mapping[str, Callable[[bytes], Any]]] = {
            "/control/price": self._on(SetPrice, self._price),
            "/control/faults": self._on(SetFaults, self._faults),
            "/control/order": self._on(ForeignOrder, self._order),
            "/control/position": self._on(ForeignPosition, self._position),
        }

    async def handle(
        self, request: web.BaseRequest, path: str, params: Mapping[str, str]
    ) -> web.Response:
        try:
            if request.method == "GET" and path == "/control/orders":
                return _json(self.orders(after=int(params.get("after", "0"))))
            if request.method == "GET" and path == "/control/requests":
                return _json(self._requests.after(int(params.get("after", "0"))))
            if request.method == "GET" and path == "/control/state":
                return _json(self.state())
            post = self._posts.get(path)
            if request.method == "POST" and post is not None:
                return _json(post(await request.read()))
        except VenueError as error:
            return _json({"code": error.code, "msg": error.message}, 400)
        except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
            return _json({"error": f"{type(error).__name__}: {error}"}, 400)
        return _json({"error": f"no {request.method} {path}"}, 404)

    def orders(self, *, after: int = 0) -> list[dict[str, Any]]:
        """The order log from entry number `after` on."""
        return [log_json(order) for order in self._venue.order_log[max(0, after) :]]

    def state(self) -> dict[str, Any]:
        venue = self._venue
        return {
            "now_ms": venue.now_ms(),
            "wallet_balance": rounded(venue.wallet_balance),
            "prices": {name: text(book.last) for name, book in venue.books.items()},
            "positions": positions_json(venue),
            "open_orders": [
                order_json(order) for book in venue.books.values() for order in book.resting()
            ],
            "orders": len(venue.order_log),
            "faults": venue.faults.describe(),
            **self._streams.describe(),
        }

    @staticmethod
    def _on(kind: type[_T], act: Callable[[_T], Any]) -> Callable[[bytes], Any]:
        decoder = msgspec.json.Decoder(kind, strict=False)
        return lambda body: act(decoder.decode(body))

    def _price(self, command: SetPrice) -> Any:
        book = self._venue.book(command.symbol)
        book.market.check_price(command.price)
        self._venue.on_price(command.symbol, command.price, command.quantity)
        return {"price": text(book.last)}

    def _faults(self, command: SetFaults) -> Any:
        venue, faults = self._venue, self._venue.faults
        if command.clear:
            faults.clear()
        if (command.fault is None) != (command.kind is None):
            raise ValueError("give kind and fault together")
        if command.fault is not None and command.kind is not None:
            until = None
            if command.for_seconds is not None:
                until = venue.now_ms() + round(command.for_seconds * 1000)
            faults.arm(command.kind, command.fault, count=command.count, until_ms=until)
        if command.stream is not None:
            faults.arm_stream(command.stream, count=1 if command.count is None else command.count)
        if command.clock_skew_ms is not None:
            faults.clock_skew_ms = command.clock_skew_ms
        if command.query_lag_ms is not None:
            faults.query_lag_ms = command.query_lag_ms
        if command.cut_streams:
            self._streams.cut_streams()
        if command.expire_listen_key:
            self._streams.expire_listen_key()
        return faults.describe()

    def _order(self, command: ForeignOrder) -> Any:
        return log_json(
            self._venue.place(
                OrderTicket(
                    symbol=command.symbol,
                    client_order_id=command.client_order_id or self._foreign_id(),
                    side=command.side,
                    quantity=command.quantity,
                    price=command.price,
                    reduce_only=command.reduce_only,
                    foreign=True,
                )
            )
        )

    def _position(self, command: ForeignPosition) -> Any:
        book = self._venue.book(command.symbol)
        missing = command.quantity - book.holdings["BOTH"].quantity
        if missing:
            closing = command.quantity == ZERO
            self._venue.place(
                OrderTicket(
                    symbol=command.symbol,
                    client_order_id=self._foreign_id(),
                    side="buy" if missing > 0 else "sell",
                    quantity=abs(missing),
                    reduce_only=closing,
                    foreign=True,
                )
            )
        return positions_json(self._venue, command.symbol, flat=True)

    def _foreign_id(self) -> str:
        """In the manner of orders from Binance's own web page."""
        return f"web_{len(self._venue.order_log) + 1}"


def log_json(order: VenueOrder) -> dict[str, Any]:
    """One entry of the order log; `acceptedUs` is the machine's UTC clock, never skewed."""
    return {
        "orderId": order.order_id,
        "clientOrderId": order.client_order_id,
        "symbol": order.market.name,
        "side": order.side,
        "type": order.type,
        "quantity": text(order.quantity),
        "price": None if order.price is None else text(order.price),
        "reduceOnly": order.reduce_only,
        "positionSide": order.position_side,
        "status": order.status.value,
        "filled": text(order.filled),
        "fills": order.fill_count,
        "foreign": order.foreign,
        "acceptedUs": order.accepted_ns // 1000,
        "updatedMs": order.updated_ms,
    }


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )
