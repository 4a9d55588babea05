"""Conditional orders as Binance's USDⓈ-M JSON: REST bodies and the ALGO_UPDATE frame.

The fields are those of the documentation ("New Algo Order", "Query Algo Order", "Event: Algo
Order Update"); `actualType` and `actualQty` are in its newer edition only. A frame seen in
production (2025-12) agrees, and has no `rm` where nothing failed. What the documentation
leaves open is as in such reports: `quantity` is "0" with `closePosition`, `ai` is text.
"""

from __future__ import annotations

from typing import Any, Final

from .records import ConditionalEvent, ConditionalOrder
from .wire import SIDE, rounded, text

WORKING_TYPE: Final = {"last": "CONTRACT_PRICE", "mark": "MARK_PRICE"}


def new_algo_json(order: ConditionalOrder) -> dict[str, Any]:
    """The answer to POST algoOrder."""
    return {
        "algoId": order.algo_id,
        "clientAlgoId": order.client_id,
        "algoType": "CONDITIONAL",
        "orderType": order.type,
        "symbol": order.market.name,
        "side": SIDE[order.side],
        "positionSide": order.position_side,
        "timeInForce": order.time_in_force,
        "quantity": text(order.quantity),
        "algoStatus": order.status,
        "triggerPrice": text(order.trigger_price),
        "price": text(order.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": "NONE",
        "workingType": WORKING_TYPE[order.trigger_by],
        "priceMatch": "NONE",
        "closePosition": order.close_position,
        "priceProtect": order.price_protect,
        "reduceOnly": order.reduce_only,
        "activatePrice": "" if order.activate_price is None else text(order.activate_price),
        "callbackRate": "" if order.callback_rate is None else text(order.callback_rate),
        "createTime": order.created_ms,
        "updateTime": order.updated_ms,
        "triggerTime": order.triggered_ms,
        "goodTillDate": 0,
    }


def algo_json(order: ConditionalOrder) -> dict[str, Any]:
    """One conditional order in the answers to queries: what became of it besides."""
    made = order.actual
    return {
        **new_algo_json(order),
        "actualOrderId": "" if made is None else str(made.order_id),
        "actualPrice": rounded(None if made is None else made.average_price),
        "actualQty": text(None if made is None else made.filled),
        "actualType": "" if made is None else made.type,
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
    }


def canceled_json(order: ConditionalOrder) -> dict[str, Any]:
    """The answer to DELETE algoOrder; here, and only here, the code is text."""
    return {
        "algoId": order.algo_id,
        "clientAlgoId": order.client_id,
        "code": "200",
        "msg": "success",
    }


def algo_update(event: ConditionalEvent) -> dict[str, Any]:
    """ALGO_UPDATE."""
    order, made = event.order, event.actual
    fields = {
        "caid": order.client_id,
        "aid": order.algo_id,
        "at": "CONDITIONAL",
        "o": order.type,
        "s": order.market.name,
        "S": SIDE[order.side],
        "ps": order.position_side,
        "f": order.time_in_force,
        "q": text(order.quantity),
        "X": event.status,
        "ai": "" if made is None else str(made.order_id),
        "ap": rounded(event.average_price),
        "aq": text(event.filled),
        "act": "0" if made is None else made.type,
        "tp": text(order.trigger_price),
        "p": text(order.price),
        "V": "NONE",
        "wt": WORKING_TYPE[order.trigger_by],
        "pm": "NONE",
        "cp": order.close_position,
        "pP": order.price_protect,
        "R": order.reduce_only,
        "tt": order.triggered_ms,
        "gtd": 0,
    }
    if event.status == "REJECTED":
        fields["rm"] = order.reason
    return {"e": "ALGO_UPDATE", "T": event.time_ms, "E": event.time_ms, "o": fields}
