"""The ports' values as Binance's request parameters."""

from __future__ import annotations

from decimal import Decimal

from holdfast.model import PlaceRequest


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
        ("quantity", _plain(order.quantity)),
    ]
    if order.price is None:
        params.append(("type", "MARKET"))
    else:
        params += [
            ("type", "LIMIT"),
            ("price", _plain(order.price)),
            ("timeInForce", order.time_in_force or "GTC"),
        ]
    if order.position_side != "BOTH":
        params.append(("positionSide", order.position_side))
    elif order.reduce_only:
        params.append(("reduceOnly", "true"))
    params += [
        ("recvWindow", str(request.recv_window_ms)),
        ("timestamp", str(request.timestamp_ms)),
    ]
    return params


def _plain(number: Decimal) -> str:
    return f"{number:f}"
