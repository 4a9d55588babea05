"""What the engine knows of an order, as Binance would have answered. Pure.

ccxt's own `parse_order` makes the unified structure of it, so a bot gets the same shape,
the same words and the same number types as without the engine.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from holdfast.model import Order, OrderReport, OrderSnapshot, OrderStatus
from holdfast.order_words import WORD_OF


def snapshot_of(order: Order, report: OrderReport) -> OrderSnapshot:
    """An accepted order as its report tells it."""
    return OrderSnapshot(
        symbol=order.symbol,
        client_order_id=report.client_order_id,
        # A number that is not known (any more) gives way to a name that cancels as well.
        venue_order_id=report.venue_order_id or report.client_order_id,
        side=order.side,
        quantity=order.quantity,
        price=report.price,
        filled=report.filled,
        status=report.order_status or OrderStatus.OPEN,
        average_price=report.average_price,
        reduce_only=order.reduce_only,
        position_side=order.position_side,
        updated_ms=report.updated_ms,
        trigger=order.trigger,
        trigger_price=order.trigger_price,
    )


def answer_of(
    order: OrderSnapshot, *, market_id: str, time_in_force: str | None = None
) -> dict[str, Any]:
    """Binance's JSON of an order (USDⓈ-M "New Order", "Cancel Order"), as ccxt decodes it."""
    number = order.venue_order_id
    answer: dict[str, Any] = {
        "orderId": int(number) if number.isdecimal() else number,
        "clientOrderId": order.client_order_id,
        "symbol": market_id,
        "status": WORD_OF[order.status],
        "side": order.side.upper(),
        "positionSide": order.position_side,
        "type": _type(order),
        "origQty": _text(order.quantity),
        "executedQty": _text(order.filled),
        "price": _text(order.price),
        "reduceOnly": order.reduce_only,
    }
    if order.price is not None and time_in_force is not None:
        answer["timeInForce"] = time_in_force
    if order.trigger_price is not None:
        answer["stopPrice"] = _text(order.trigger_price)
    if order.average_price is not None:
        answer["avgPrice"] = _text(order.average_price)
        answer["cumQuote"] = _text(order.average_price * order.filled)
    elif not order.filled:
        answer["avgPrice"] = answer["cumQuote"] = "0"
    if order.updated_ms:
        answer["updateTime"] = order.updated_ms
    return answer


def _type(order: OrderSnapshot) -> str:
    at_market = order.price is None
    if order.trigger is None:
        return "MARKET" if at_market else "LIMIT"
    return order.trigger.upper() + ("_MARKET" if at_market else "")


def _text(number: Decimal | None) -> str:
    return "0" if number is None else f"{number:f}"
