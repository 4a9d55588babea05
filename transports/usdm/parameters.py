"""The ports' values as Binance's request parameters."""

from __future__ import annotations

from decimal import Decimal

from holdfast.model import Order, PlaceRequest


def venue_name(symbol: str) -> str:
    """`BTC/USDT:USDT` to `BTCUSDT`."""
    return symbol.partition(":")[0].replace("/", "")


def order_params(request: PlaceRequest) -> list[tuple[str, str]]:
    """The parameters of POST order, in the order in which they are signed."""
    order = request.order
    params = [
        ("symbol", venue_name(order.symbol)),
        ("side", order.side.upper()),
        ("newClientOrderId", request.client_order_id),
        ("newOrderRespType", "RESULT"),
        ("quantity", plain(order.quantity)),
    ]
    if order.price is None:
        params.append(("type", "MARKET"))
    else:
        params += [
            ("type", "LIMIT"),
            ("price", plain(order.price)),
            ("timeInForce", order.time_in_force or "GTC"),
        ]
    return [
        *params,
        *position_params(order),
        ("recvWindow", str(request.recv_window_ms)),
        ("timestamp", str(request.timestamp_ms)),
    ]


def position_params(order: Order) -> list[tuple[str, str]]:
    """Which position, and whether it may only shrink: in hedge mode the side says it."""
    if order.position_side != "BOTH":
        return [("positionSide", order.position_side)]
    return [("reduceOnly", "true")] if order.reduce_only else []


def plain(number: Decimal) -> str:
    """Without an exponent."""
    return f"{number:f}"
