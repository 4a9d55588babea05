"""Request parameters, which come as text, read with Binance's own complaints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, cast

from holdfast.model import PositionSide, Side

from .records import OrderTicket, VenueTimeInForce
from .rules import VenueError

Params = Mapping[str, str]

MAX_PAGE: Final = 1000
WEEK_MS: Final = 7 * 86_400_000
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_INTEGER_DIGITS: Final = 19
_SIDES: Final[dict[str, Side]] = {"BUY": "buy", "SELL": "sell"}
_SELF_TRADE_PREVENTION: Final = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
"""All the same here: our orders never meet each other."""
_ALGO_TYPES: Final = frozenset(
    ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
)


def required(params: Params, name: str) -> str:
    """:raises VenueError: -1102."""
    if value := params.get(name):
        return value
    raise malformed(name)


def malformed(name: str) -> VenueError:
    return VenueError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def decimal(params: Params, name: str) -> Decimal:
    """:raises VenueError: -1102 (no number), also for exponents, NaN and infinity."""
    value = required(params, name)
    if not _NUMBER.fullmatch(value):
        raise malformed(name)
    return Decimal(value)


def integer(params: Params, name: str, default: int | None = None) -> int:
    """:raises VenueError: -1102."""
    value = params.get(name)
    if value is None and default is not None:
        return default
    if value is None or not (value.isascii() and value.isdigit()) or len(value) > _INTEGER_DIGITS:
        raise malformed(name)
    return int(value)


def flag(params: Params, name: str) -> bool:
    """False unless given. :raises VenueError: -1102."""
    value = params.get(name, "false").lower()
    if value not in ("true", "false"):
        raise malformed(name)
    return value == "true"


def page_size(params: Params, *, default: int = 500, most: int = MAX_PAGE) -> int:
    """The parameter `limit`. :raises VenueError: -1130."""
    limit = integer(params, "limit", default)
    if not 0 < limit <= most:
        raise VenueError(-1130, "Data sent for parameter 'limit' is not valid.")
    return limit


def period(params: Params, now_ms: int) -> tuple[int, int | None]:
    """First and last millisecond of what is asked for, at most seven days (Binance, "All
    Orders", "Account Trade List"): the last seven unless told otherwise. The end is None for
    "until now".

    :raises VenueError: -1023 (ends before it starts), -4165 (longer).
    """
    start, end = integer(params, "startTime", 0), integer(params, "endTime", 0)
    if start and end:
        if start > end:
            raise VenueError(-1023, "Start time is greater than end time.")
        if end - start > WEEK_MS:
            raise VenueError(-4165, "Invalid time interval. Maximum time interval is 7 days.")
        return start, end
    if start:
        return start, start + WEEK_MS
    if end:
        return end - WEEK_MS, end
    return now_ms - WEEK_MS, None


def order_name(params: Params) -> tuple[str, int]:
    """Client id and order id, one of which must be given; the order id decides."""
    order_id = integer(params, "orderId", 0)
    client_order_id = params.get("origClientOrderId", "")
    if not order_id and not client_order_id:
        raise VenueError(
            -1102,
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
        )
    return client_order_id, order_id


def side_of(params: Params) -> Side:
    """:raises VenueError: -1102, -1117."""
    side = _SIDES.get(required(params, "side"))
    if side is None:
        raise VenueError(-1117, "Invalid side.")
    return side


def ticket_of(params: Params, *, default_id: str) -> OrderTicket:
    """The order that the parameters of POST order describe.

    :param default_id: its client id if the client gave none.
    :raises VenueError: what is missing or wrong.
    """
    symbol = required(params, "symbol")
    side = side_of(params)
    kind = required(params, "type")
    if kind in _ALGO_TYPES:
        raise VenueError(
            -4120,
            "Order type not supported for this endpoint."
            " Please use the Algo Order API endpoints instead.",
        )
    if kind not in ("LIMIT", "MARKET"):
        raise VenueError(-1116, "Invalid orderType.")
    quantity = decimal(params, "quantity")
    price, time_in_force = None, "GTC"
    if kind == "LIMIT":
        time_in_force = required(params, "timeInForce")
        if time_in_force not in ("GTC", "IOC", "FOK", "GTX"):
            raise VenueError(-1115, "Invalid timeInForce.")
        price = decimal(params, "price")
    else:
        for name in ("price", "timeInForce"):
            if name in params:
                raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
    reduce_only = flag(params, "reduceOnly")
    if flag(params, "closePosition"):
        raise VenueError(-4136, f"Target strategy invalid for orderType {kind},closePosition true")
    if params.get("priceMatch", "NONE") != "NONE":
        raise VenueError(-5037, "Invalid price match")
    if params.get("selfTradePreventionMode", "NONE") not in _SELF_TRADE_PREVENTION:
        raise VenueError(-5039, "Invalid self trade prevention mode")
    if params.get("newOrderRespType", "ACK") not in ("ACK", "RESULT"):
        raise VenueError(-1136, "Invalid newOrderRespType.")
    position_side = params.get("positionSide", "BOTH")
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise VenueError(-4060, "Invalid position side.")
    return OrderTicket(
        symbol=symbol,
        client_order_id=params.get("newClientOrderId") or default_id,
        side=side,
        quantity=quantity,
        price=price,
        time_in_force=cast("VenueTimeInForce", time_in_force),
        reduce_only=reduce_only,
        position_side=cast("PositionSide", position_side),
    )


def recv_window(params: Params) -> int:
    """In milliseconds; 5000 unless given, at most 60000 (Binance, "Timing security")."""
    window = integer(params, "recvWindow", 5000)
    if window > 60_000:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    return window
