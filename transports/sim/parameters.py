"""Request parameters, which come as text, read with Binance's own complaints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, cast

from holdfast.model import PositionSide

from .records import OrderTicket, VenueTimeInForce
from .rules import VenueError

Params = Mapping[str, str]

_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_INTEGER: Final = re.compile(r"[0-9]{1,19}")
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
    if value is None or not _INTEGER.fullmatch(value):
        raise malformed(name)
    return int(value)


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


def ticket_of(params: Params, *, default_id: str) -> OrderTicket:
    """The order that the parameters of POST order describe.

    :param default_id: its client id if the client gave none.
    :raises VenueError: what is missing or wrong.
    """
    symbol = required(params, "symbol")
    side = required(params, "side")
    kind = required(params, "type")
    if side not in ("BUY", "SELL"):
        raise VenueError(-1117, "Invalid side.")
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
    reduce_only = params.get("reduceOnly", "false").lower()
    if reduce_only not in ("true", "false"):
        raise malformed("reduceOnly")
    position_side = params.get("positionSide", "BOTH")
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise VenueError(-4060, "Invalid position side.")
    return OrderTicket(
        symbol=symbol,
        client_order_id=params.get("newClientOrderId") or default_id,
        side="buy" if side == "BUY" else "sell",
        quantity=quantity,
        price=price,
        time_in_force=cast("VenueTimeInForce", time_in_force),
        reduce_only=reduce_only == "true",
        position_side=cast("PositionSide", position_side),
    )


def recv_window(params: Params) -> int:
    """In milliseconds; 5000 unless given, at most 60000 (Binance, "Timing security")."""
    window = integer(params, "recvWindow", 5000)
    if window > 60_000:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    return window
