"""The hand of an observer on a served venue: prices, faults, foreign trades, the order log.

It is no part of what Binance offers. JSON in, JSON out, loopback only. `GET /control` says
what there is, with the fields of each command:

| request | does |
|---|---|
| `GET /control` | what the control API offers |
| `GET /control/state` | prices, positions, open orders, armed faults, connections |
| `GET /control/orders?after=N` | the order log from entry N on |
| `GET /control/conditional?after=N` | the log of conditional orders, in the same way |
| `GET /control/requests?after=N` | what was asked, answered or not |
| `POST /control/price` | a trade of the market |
| `POST /control/quote` | the best prices of the rest of the market |
| `POST /control/mark` | the mark price, from then on one of its own |
| `POST /control/funding` | a funding fee, now, or by the clock |
| `POST /control/transfer` | the owner moves money in, or out |
| `POST /control/faults` | faults of requests and streams, clock skew, lagging queries |
| `POST /control/order` | an order by another hand on the same account |
| `POST /control/position` | trade by another hand until the position is so |
| `POST /control/deleverage` | auto-deleverage a position |
| `POST /control/permissions` | what account and API key may do |

What may be commanded, with its fields, is in `commands`; this carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiohttp import web

from .answers import answer, printable
from .api import Permissions
from .commands import (
    Deleverage,
    ForeignOrder,
    ForeignPosition,
    SetFaults,
    SetFunding,
    SetMark,
    SetPermissions,
    SetPrice,
    SetQuote,
    Transfer,
    catalogue,
)
from .fault_points import fault_at
from .ledger import ZERO
from .market import MarketData
from .records import ConditionalOrder, OrderTicket, VenueOrder
from .requests import RequestLog
from .rules import VenueError
from .wire import order_json, positions_json, rounded, text

_T = TypeVar("_T")


class Streams(Protocol):
    """The part of the server that the control API reaches into."""

    def cut_streams(self) -> int: ...

    def expire_listen_key(self) -> None: ...

    def describe(self) -> dict[str, Any]: ...


class ControlApi:
    """Answers `/control/...`."""

    def __init__(
        self,
        market: MarketData,
        streams: Streams,
        requests: RequestLog,
        permissions: Permissions,
    ) -> None:
        self._market = market
        self._permissions = permissions
        self._venue = market.venue
        self._requests = requests
        self._streams = streams
        self._posts: Final[Mapping[str, Callable[[bytes], Any]]] = {
            "/control/price": self._on(SetPrice, self._price),
            "/control/quote": self._on(SetQuote, self._quote),
            "/control/mark": self._on(SetMark, self._mark),
            "/control/funding": self._on(SetFunding, self._funding),
            "/control/faults": self._on(SetFaults, self._faults),
            "/control/order": self._on(ForeignOrder, self._order),
            "/control/position": self._on(ForeignPosition, self._position),
            "/control/transfer": self._on(Transfer, self._transfer),
            "/control/deleverage": self._on(Deleverage, self._deleverage),
            "/control/permissions": self._on(SetPermissions, self._set_permissions),
        }

    async def handle(
        self, request: web.BaseRequest, path: str, params: Mapping[str, str]
    ) -> web.Response:
        try:
            if request.method == "GET":
                match path:
                    case "/control" | "/control/":
                        return _json(catalogue())
                    case "/control/orders":
                        return _json(self.orders(after=int(params.get("after", "0"))))
                    case "/control/conditional":
                        return _json(self.conditional(after=int(params.get("after", "0"))))
                    case "/control/requests":
                        return _json(self._requests.after(int(params.get("after", "0"))))
                    case "/control/state":
                        return _json(self.state())
            post = self._posts.get(path)
            if request.method == "POST" and post is not None:
                return _json(post(await request.read()))
        except VenueError as error:
            return _json({"code": error.code, "msg": error.message}, 400)
        except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
            return _json({"error": f"{type(error).__name__}: {error}"}, 400)
        return _json({"error": printable(f"no {request.method} {path}; see GET /control")}, 404)

    def orders(self, *, after: int = 0) -> list[dict[str, Any]]:
        """The order log from entry number `after` on."""
        return [log_json(order) for order in self._venue.order_log[max(0, after) :]]

    def conditional(self, *, after: int = 0) -> list[dict[str, Any]]:
        """The log of conditional orders, those that do not wait any more among them."""
        return [conditional_json(order) for order in self._venue.conditional_log[max(0, after) :]]

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
        if command.quantity is not None and command.quantity < 0:
            raise ValueError(f"quantity: {command.quantity} is below zero")
        self._market.trade(
            command.symbol, command.price, command.quantity, seller_took=command.seller_took
        )
        return {"price": text(self._venue.book(command.symbol).last)}

    def _quote(self, command: SetQuote) -> Any:
        book = self._venue.book(command.symbol)
        book.market.check_price(command.bid)
        book.market.check_price(command.ask)
        self._venue.on_quote(
            command.symbol, command.bid, command.ask, command.bid_quantity, command.ask_quantity
        )
        return {"bid": text(book.bid), "ask": text(book.ask), "price": text(book.last)}

    def _mark(self, command: SetMark) -> Any:
        book = self._venue.book(command.symbol)
        if not command.price > 0:
            raise ValueError(f"price: {command.price} is not above zero")
        self._venue.on_mark(command.symbol, command.price)
        return {"mark": text(book.mark)}

    def _funding(self, command: SetFunding) -> Any:
        if not command.rate.is_finite() or abs(command.rate) > 1:
            raise ValueError(f"rate: {command.rate} is no fraction of the notional")
        if command.interval_ms is None:
            self._venue.on_funding(command.symbol, command.rate)
        else:
            self._venue.set_funding(command.symbol, command.rate, command.interval_ms)
        return {"wallet_balance": rounded(self._venue.wallet_balance)}

    def _transfer(self, command: Transfer) -> Any:
        if not command.amount.is_finite() or not command.amount:
            raise ValueError(f"amount: {command.amount} is no amount of money")
        self._venue.transfer(command.amount)
        return {"wallet_balance": rounded(self._venue.wallet_balance)}

    def _deleverage(self, command: Deleverage) -> Any:
        return log_json(
            self._venue.deleverage(
                command.symbol,
                quantity=command.quantity,
                price=command.price,
                position_side=command.position_side,
            )
        )

    def _faults(self, command: SetFaults) -> Any:
        venue, faults = self._venue, self._venue.faults
        if command.clear:
            faults.clear()
        fault = command.fault
        if command.point is not None:
            if fault is not None:
                raise ValueError("give either point or fault")
            fault = fault_at(command.point, seconds=command.seconds)
        if (fault is None) != (command.kind is None):
            raise ValueError("give kind together with point or fault")
        if fault is not None and command.kind is not None:
            until = None
            if command.for_seconds is not None:
                until = venue.now_ms() + round(command.for_seconds * 1000)
            faults.arm(command.kind, fault, count=command.count, until_ms=until)
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

    def _set_permissions(self, command: SetPermissions) -> Any:
        for name in command.__struct_fields__:
            if (value := getattr(command, name)) is not None:
                setattr(self._permissions, name, value)
        return asdict(self._permissions)

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


def conditional_json(order: ConditionalOrder) -> dict[str, Any]:
    """One entry of the log of conditional orders; `orderId` is that of the order made of it."""
    return {
        "algoId": order.algo_id,
        "clientAlgoId": order.client_id,
        "symbol": order.market.name,
        "side": order.side,
        "type": order.type,
        "quantity": None if order.quantity is None else text(order.quantity),
        "triggerPrice": None if order.trigger_price is None else text(order.trigger_price),
        "reduceOnly": order.reduce_only,
        "positionSide": order.position_side,
        "status": order.snapshot().status.value,
        "orderId": None if order.actual is None else order.actual.order_id,
        "foreign": order.foreign,
        "updatedMs": order.updated_ms,
    }


def _json(value: Any, status: int = 200) -> web.Response:
    return answer(value, status=status)
