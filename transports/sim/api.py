"""Binance's USDⓈ-M endpoints as a table: parameters in, a JSON value out.

Nothing here knows of sockets, signatures or faults. A handler gets the parameters
as text and raises `VenueError` with Binance's code for whatever is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from .core import FIRST_TRADE_ID, SimulatedVenue
from .faults import RequestKind
from .parameters import Params, integer, malformed, order_name, recv_window, required, ticket_of
from .rules import VenueError
from .wire import (
    account_json,
    balance_json,
    market_json,
    order_json,
    positions_json,
    text,
    trade_json,
)

MAX_LEVERAGE: Final = 125
MAX_PAGE: Final = 1000


class Security(Enum):
    """What a request must prove."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


class Account:
    """What the endpoints act on: the venue, and the listen keys of its user streams."""

    def __init__(self, venue: SimulatedVenue, listen_keys: ListenKeys) -> None:
        self.venue = venue
        self.listen_keys = listen_keys


class ListenKeys:
    """The one listen key of the account, valid for an hour after it was last extended.

    :param make: a new key.
    """

    VALID_MS: Final = 3_600_000

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self.current: str | None = None
        self._extended_ms = 0

    def create(self, now_ms: int) -> str:
        """The valid key, extended, or a new one."""
        if self.current is None or self.expired(now_ms):
            self.current = self._make()
        self._extended_ms = now_ms
        return self.current

    def extend(self, now_ms: int) -> None:
        """:raises VenueError: -1125 without a valid key."""
        if self.current is None or self.expired(now_ms):
            raise VenueError(-1125, "This listenKey does not exist.")
        self._extended_ms = now_ms

    def expired(self, now_ms: int) -> bool:
        return self.current is not None and now_ms - self._extended_ms >= self.VALID_MS

    def expire(self) -> str | None:
        """Forget the key and return it."""
        key, self.current = self.current, None
        return key


Handler = Callable[[Account, Params], Any]


class Route(NamedTuple):
    handle: Handler
    security: Security
    kind: RequestKind
    weight: int


# --- endpoints ---------------------------------------------------------------------


def ping(_account: Account, _params: Params) -> Any:
    return {}


def time(account: Account, _params: Params) -> Any:
    return {"serverTime": account.venue.now_ms()}


def exchange_info(account: Account, _params: Params) -> Any:
    venue = account.venue
    return {
        "timezone": "UTC",
        "serverTime": venue.now_ms(),
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": 2400,
            },
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "0"}],
        "symbols": [market_json(book.market) for book in venue.books.values()],
    }


def ticker_price(account: Account, params: Params) -> Any:
    venue = account.venue
    now_ms = venue.now_ms()
    symbol = params.get("symbol")
    books = venue.books.values() if symbol is None else (venue.book(symbol),)
    rows = [
        {"symbol": book.market.name, "price": text(book.last), "time": now_ms}
        for book in books
        if book.last is not None
    ]
    if symbol is None:
        return rows
    if not rows:
        raise VenueError(-1121, "Invalid symbol.")
    return rows[0]


def new_order(account: Account, params: Params) -> Any:
    order = account.venue.place(
        ticket_of(params, default_id=f"venue-{len(account.venue.order_log) + 1}"),
        timestamp_ms=integer(params, "timestamp"),
        recv_window_ms=recv_window(params),
    )
    return order_json(order, acknowledged_only=params.get("newOrderRespType", "ACK") == "ACK")


def get_order(account: Account, params: Params) -> Any:
    symbol = required(params, "symbol")
    client_order_id, order_id = order_name(params)
    return order_json(
        account.venue.query(symbol, client_order_id=client_order_id, order_id=order_id)
    )


def cancel_order(account: Account, params: Params) -> Any:
    symbol = required(params, "symbol")
    client_order_id, order_id = order_name(params)
    return order_json(
        account.venue.cancel(symbol, client_order_id=client_order_id, order_id=order_id)
    )


def open_orders(account: Account, params: Params) -> Any:
    return [order_json(order) for order in account.venue.open_orders(params.get("symbol"))]


def all_orders(account: Account, params: Params) -> Any:
    """Open or not, by ascending number; from `orderId` on, else the latest."""
    venue, limit = account.venue, integer(params, "limit", 500)
    if not 0 < limit <= MAX_PAGE:
        raise malformed("limit")
    market = venue.book(required(params, "symbol")).market
    start, end = integer(params, "startTime", 0), integer(params, "endTime", 0)
    chosen = [
        order
        for order in venue.order_log
        if order.market is market
        and start <= order.accepted_ms
        and (not end or order.accepted_ms <= end)
    ]
    if first := integer(params, "orderId", 0):
        chosen = [order for order in chosen if order.order_id >= first][:limit]
    return [order_json(order) for order in chosen[-limit:]]


def cancel_all(account: Account, params: Params) -> Any:
    account.venue.cancel_all(required(params, "symbol"))
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def countdown_cancel_all(account: Account, params: Params) -> Any:
    symbol, countdown = required(params, "symbol"), integer(params, "countdownTime")
    account.venue.countdown_cancel_all(symbol, countdown)
    return {"symbol": symbol, "countdownTime": str(countdown)}


def user_trades(account: Account, params: Params) -> Any:
    """Without `fromId` the latest, with it the page that begins there; always ascending."""
    venue, symbol = account.venue, required(params, "symbol")
    limit = integer(params, "limit", 500)
    if not 0 < limit <= MAX_PAGE:
        raise malformed("limit")
    trades = venue.book(symbol).trades
    if order_id := integer(params, "orderId", 0):
        return [trade_json(t) for t in trades if t.order.order_id == order_id][:limit]
    if "fromId" in params:
        from_id = integer(params, "fromId")
        return [trade_json(t) for t in venue.trades(symbol, from_id=from_id, limit=limit)]
    start, end = integer(params, "startTime", 0), integer(params, "endTime", 0)
    if start or end:
        chosen = [t for t in trades if start <= t.time_ms and (not end or t.time_ms <= end)]
        return [trade_json(t) for t in chosen[:limit]]
    first = max(FIRST_TRADE_ID, FIRST_TRADE_ID + len(trades) - limit)
    return [trade_json(t) for t in venue.trades(symbol, from_id=first, limit=limit)]


def position_risk_v2(account: Account, params: Params) -> Any:
    return positions_json(account.venue, params.get("symbol"), flat=True)


def position_risk_v3(account: Account, params: Params) -> Any:
    """Only symbols with a position or open orders, says the documentation; we: a position."""
    return positions_json(account.venue, params.get("symbol"))


def account_info(account: Account, _params: Params) -> Any:
    return account_json(account.venue)


def balance(account: Account, _params: Params) -> Any:
    return [balance_json(account.venue)]


def leverage(account: Account, params: Params) -> Any:
    book = account.venue.book(required(params, "symbol"))
    wanted = integer(params, "leverage")
    if not 1 <= wanted <= MAX_LEVERAGE:
        raise VenueError(-4028, f"Leverage {wanted} is not valid")
    book.leverage = wanted
    return {"leverage": wanted, "maxNotionalValue": "1000000000", "symbol": book.market.name}


def leverage_bracket(account: Account, params: Params) -> Any:
    """One bracket per symbol: the venue has no margin tiers."""
    symbol = params.get("symbol")
    books = account.venue.books.values() if symbol is None else (account.venue.book(symbol),)
    bracket = {
        "bracket": 1,
        "initialLeverage": MAX_LEVERAGE,
        "notionalCap": 1_000_000_000,
        "notionalFloor": 0,
        "maintMarginRatio": 0.004,
        "cum": 0.0,
    }
    return [{"symbol": book.market.name, "brackets": [bracket]} for book in books]


def symbol_config(account: Account, params: Params) -> Any:
    symbol = params.get("symbol")
    books = account.venue.books.values() if symbol is None else (account.venue.book(symbol),)
    return [
        {
            "symbol": book.market.name,
            "marginType": "CROSSED",
            "isAutoAddMargin": False,
            "leverage": book.leverage,
            "maxNotionalValue": "1000000000",
        }
        for book in books
    ]


def position_mode(account: Account, _params: Params) -> Any:
    return {"dualSidePosition": account.venue.hedge_mode}


def listen_key_create(account: Account, _params: Params) -> Any:
    return {"listenKey": account.listen_keys.create(account.venue.now_ms())}


def listen_key_extend(account: Account, _params: Params) -> Any:
    account.listen_keys.extend(account.venue.now_ms())
    return {"listenKey": account.listen_keys.current}


def listen_key_delete(account: Account, _params: Params) -> Any:
    account.listen_keys.expire()
    return {}


_NONE, _KEY, _SIGNED = Security.NONE, Security.KEY, Security.SIGNED

ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("GET", "/fapi/v1/ping"): Route(ping, _NONE, "probe", 1),
    ("GET", "/fapi/v1/time"): Route(time, _NONE, "probe", 1),
    ("GET", "/fapi/v1/exchangeInfo"): Route(exchange_info, _NONE, "snapshot", 1),
    ("GET", "/fapi/v1/ticker/price"): Route(ticker_price, _NONE, "snapshot", 1),
    ("GET", "/fapi/v2/ticker/price"): Route(ticker_price, _NONE, "snapshot", 1),
    ("POST", "/fapi/v1/order"): Route(new_order, _SIGNED, "place", 0),
    ("GET", "/fapi/v1/order"): Route(get_order, _SIGNED, "query", 1),
    ("DELETE", "/fapi/v1/order"): Route(cancel_order, _SIGNED, "cancel", 1),
    ("GET", "/fapi/v1/openOrders"): Route(open_orders, _SIGNED, "snapshot", 40),
    ("GET", "/fapi/v1/allOrders"): Route(all_orders, _SIGNED, "snapshot", 5),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route(cancel_all, _SIGNED, "cancel", 1),
    ("POST", "/fapi/v1/countdownCancelAll"): Route(countdown_cancel_all, _SIGNED, "cancel", 10),
    ("GET", "/fapi/v1/userTrades"): Route(user_trades, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v2/positionRisk"): Route(position_risk_v2, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v3/positionRisk"): Route(position_risk_v3, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v2/account"): Route(account_info, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v3/account"): Route(account_info, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v2/balance"): Route(balance, _SIGNED, "probe", 5),
    ("GET", "/fapi/v3/balance"): Route(balance, _SIGNED, "probe", 5),
    ("GET", "/fapi/v1/leverageBracket"): Route(leverage_bracket, _SIGNED, "snapshot", 1),
    ("GET", "/fapi/v1/symbolConfig"): Route(symbol_config, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v1/positionSide/dual"): Route(position_mode, _SIGNED, "snapshot", 30),
    ("POST", "/fapi/v1/leverage"): Route(leverage, _SIGNED, "snapshot", 1),
    ("POST", "/fapi/v1/listenKey"): Route(listen_key_create, _KEY, "stream", 1),
    ("PUT", "/fapi/v1/listenKey"): Route(listen_key_extend, _KEY, "stream", 1),
    ("DELETE", "/fapi/v1/listenKey"): Route(listen_key_delete, _KEY, "stream", 1),
}
