"""Binance's USDⓈ-M endpoints for orders and own trades.

"New Order", "Modify Order", "Place Multiple Orders", "Query Order", "Query Current Open Order",
"Cancel Order", "Cancel Multiple Orders", "Cancel All Open Orders", "Auto-Cancel All Open Orders",
"Current All Open Orders", "All Orders", "Account Trade List", "User's Force Orders", "Test Order".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from .api import Account
from .core import FIRST_ORDER_ID
from .liquidation import DELEVERAGED
from .parameters import (
    Params,
    decimal,
    flag,
    integer,
    malformed,
    order_name,
    page_size,
    period,
    recv_window,
    required,
    side_of,
    ticket_of,
)
from .records import VenueOrder
from .rules import VenueError
from .wire import order_json, trade_json

MAX_BATCH_ORDERS: Final = 5
MAX_BATCH_CANCELS: Final = 10
_DAY_MS: Final = 86_400_000
FORGET_UNFILLED_MS: Final = 3 * _DAY_MS
FORGET_ALL_MS: Final = 90 * _DAY_MS
_batch = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_numbers = msgspec.json.Decoder(list[int])
_names = msgspec.json.Decoder(list[str])


def new_order(account: Account, params: Params) -> Any:
    order = _place(
        account, params, timestamp_ms=integer(params, "timestamp"), window_ms=recv_window(params)
    )
    return order_json(order, acknowledged_only=params.get("newOrderRespType", "ACK") == "ACK")


def modify_order(account: Account, params: Params) -> Any:
    symbol, side = required(params, "symbol"), side_of(params)
    if params.get("priceMatch", "NONE") != "NONE":
        raise VenueError(-5037, "Invalid price match")
    client_order_id, order_id = order_name(params)
    order = account.venue.amend(
        symbol,
        side=side,
        quantity=decimal(params, "quantity"),
        price=decimal(params, "price"),
        reduce_only=flag(params, "reduceOnly"),
        client_order_id=client_order_id,
        order_id=order_id,
        timestamp_ms=integer(params, "timestamp"),
        recv_window_ms=recv_window(params),
    )
    if "modifyId" not in params:
        return order_json(order)
    return {**order_json(order), "modifyId": integer(params, "modifyId")}


def batch_orders(account: Account, params: Params) -> Any:
    """Each is placed or refused by itself; the answers are in the order of the requests."""
    try:
        orders = _batch.decode(required(params, "batchOrders"))
    except msgspec.DecodeError:
        raise malformed("batchOrders") from None
    if not 0 < len(orders) <= MAX_BATCH_ORDERS:
        raise VenueError(-4082, f"Invalid number of batch place orders: {len(orders)}")
    timestamp_ms, window_ms = integer(params, "timestamp"), recv_window(params)

    def place(fields: dict[str, msgspec.Raw]) -> Any:
        single = {name: _as_text(raw) for name, raw in fields.items()}
        order = _place(account, single, timestamp_ms=timestamp_ms, window_ms=window_ms)
        return order_json(order, acknowledged_only=single.get("newOrderRespType", "ACK") == "ACK")

    return [_or_refusal(place, fields) for fields in orders]


def test_order(account: Account, params: Params) -> Any:
    """The parameters are read and checked by the market's filters; nothing is placed."""
    ticket = ticket_of(params, default_id="test")
    market = account.venue.book(ticket.symbol).market
    market.check_quantity(ticket.quantity)
    if ticket.price is not None:
        market.check_price(ticket.price)
    return {}


def get_order(account: Account, params: Params) -> Any:
    symbol = required(params, "symbol")
    client_order_id, order_id = order_name(params)
    order = account.venue.query(symbol, client_order_id=client_order_id, order_id=order_id)
    if not remembered(order, account.venue.now_ms()):
        raise VenueError(-2013, "Order does not exist.")
    return order_json(order)


def get_open_order(account: Account, params: Params) -> Any:
    symbol = required(params, "symbol")
    client_order_id, order_id = order_name(params)
    order = account.venue.query(symbol, client_order_id=client_order_id, order_id=order_id)
    if order.status.final:
        raise VenueError(-2013, "Order does not exist.")
    return order_json(order)


def cancel_order(account: Account, params: Params) -> Any:
    symbol = required(params, "symbol")
    client_order_id, order_id = order_name(params)
    return order_json(
        account.venue.cancel(symbol, client_order_id=client_order_id, order_id=order_id)
    )


def cancel_batch(account: Account, params: Params) -> Any:
    symbol = required(params, "symbol")
    try:
        numbers = _numbers.decode(params.get("orderIdList") or "[]")
        names = _names.decode(params.get("origClientOrderIdList") or "[]")
    except msgspec.DecodeError:
        raise malformed("orderIdList") from None
    wanted: list[tuple[str, int]] = [("", number) for number in numbers]
    wanted = wanted or [(name, 0) for name in names]
    if not wanted:
        raise VenueError(
            -1102,
            "Param 'origClientOrderIdList' or 'orderIdList' must be sent, but both were"
            " empty/null!",
        )
    if len(wanted) > MAX_BATCH_CANCELS:
        raise VenueError(-4083, f"Invalid number of batch cancel orders: {len(wanted)}")

    def cancel(name: tuple[str, int]) -> Any:
        client_order_id, order_id = name
        return order_json(
            account.venue.cancel(symbol, client_order_id=client_order_id, order_id=order_id)
        )

    return [_or_refusal(cancel, name) for name in wanted]


def cancel_all(account: Account, params: Params) -> Any:
    account.venue.cancel_all(required(params, "symbol"))
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def countdown_cancel_all(account: Account, params: Params) -> Any:
    symbol, countdown = required(params, "symbol"), integer(params, "countdownTime")
    account.venue.countdown_cancel_all(symbol, countdown)
    return {"symbol": symbol, "countdownTime": str(countdown)}


def open_orders(account: Account, params: Params) -> Any:
    return [order_json(order) for order in account.venue.open_orders(params.get("symbol"))]


def all_orders(account: Account, params: Params) -> Any:
    """Open or not, by ascending number: from `orderId` on; else of a time of at most seven
    days, the first ones if it says when it starts, or the latest.
    """
    venue, limit = account.venue, page_size(params)
    market, now_ms = venue.book(required(params, "symbol")).market, venue.now_ms()
    first = integer(params, "orderId", 0)
    if first:
        begin = max(0, first - FIRST_ORDER_ID)
        chosen = [
            order
            for order in venue.order_log[begin:]
            if order.market is market and remembered(order, now_ms)
        ]
        return [order_json(order) for order in chosen[:limit]]
    start, end = period(params, now_ms)
    chosen = [
        order
        for order in venue.order_log
        if order.market is market
        and start <= order.accepted_ms
        and (end is None or order.accepted_ms <= end)
        and remembered(order, now_ms)
    ]
    page = chosen[:limit] if "startTime" in params else chosen[-limit:]
    return [order_json(order) for order in page]


def force_orders(account: Account, params: Params) -> Any:
    """Liquidations (`autoCloseType` LIQUIDATION) and auto-deleveragings (ADL), newest last."""
    venue, limit = account.venue, page_size(params, default=50, most=100)
    symbol, kind = params.get("symbol"), params.get("autoCloseType")
    if kind not in (None, "LIQUIDATION", "ADL"):
        raise malformed("autoCloseType")
    name = None if symbol is None else venue.book(symbol).market.name
    start, end = period(params, venue.now_ms())
    chosen = [
        order
        for order in venue.order_log
        if order.forced
        and (name is None or order.market.name == name)
        and (kind is None or (kind == "ADL") == order.client_order_id.startswith(DELEVERAGED))
        and start <= order.accepted_ms
        and (end is None or order.accepted_ms <= end)
    ]
    return [order_json(order) for order in chosen[-limit:]]


def user_trades(account: Account, params: Params) -> Any:
    """Ascending: the page that begins at `fromId`; else of a time of at most seven days, the
    first ones if it says when it starts, or the latest.
    """
    venue, symbol = account.venue, required(params, "symbol")
    limit = page_size(params)
    trades = venue.book(symbol).trades
    if order_id := integer(params, "orderId", 0):
        return [trade_json(t) for t in trades if t.order.order_id == order_id][:limit]
    if "fromId" in params:
        if "startTime" in params or "endTime" in params:
            raise VenueError(-1128, "Combination of optional parameters invalid.")
        from_id = integer(params, "fromId")
        return [trade_json(t) for t in venue.trades(symbol, from_id=from_id, limit=limit)]
    start, end = period(params, venue.now_ms())
    chosen = [t for t in trades if start <= t.time_ms and (end is None or t.time_ms <= end)]
    page = chosen[:limit] if "startTime" in params else chosen[-limit:]
    return [trade_json(trade) for trade in page]


def remembered(order: VenueOrder, now_ms: int) -> bool:
    """Whether queries still find it: what ended without a fill for three days, all else for 90
    ("Query Order").
    """
    age_ms = now_ms - order.accepted_ms
    if not order.status.final or age_ms < FORGET_UNFILLED_MS:
        return True
    return bool(order.filled) and age_ms < FORGET_ALL_MS


def _place(account: Account, params: Params, *, timestamp_ms: int, window_ms: int) -> VenueOrder:
    account.permissions.check_order()
    venue = account.venue
    ticket = ticket_of(params, default_id=f"venue-{len(venue.order_log) + 1}")
    if ticket.price is not None:
        book = venue.book(ticket.symbol)
        if len(book.bids) + len(book.asks) >= account.limits.open_orders:
            raise VenueError(-2025, "Reach max open order limit.")
    return venue.place(ticket, timestamp_ms=timestamp_ms, recv_window_ms=window_ms)


def _or_refusal(act: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return act(argument)
    except VenueError as error:
        return {"code": error.code, "msg": error.message}


def _as_text(raw: msgspec.Raw) -> str:
    """A value of a batch as a form would carry it: numbers keep their digits."""
    try:
        text = bytes(raw).decode()
        if text.startswith('"'):
            return str(msgspec.json.decode(raw))
    except (UnicodeDecodeError, msgspec.DecodeError):
        raise malformed("batchOrders") from None
    return "" if text == "null" else text
