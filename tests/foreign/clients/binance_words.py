"""Binance's own words, for those clients that hand them on as they are."""

from __future__ import annotations

from typing import Any

from trading_day import STATUS


def read_order(order: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": order["orderId"],
        "name": order["clientOrderId"],
        "status": STATUS[order["status"]],
        "filled": order["executedQty"],
        "quantity": order["origQty"],
        "price": order["price"],
    }


def read_event(frame: dict[str, Any]) -> tuple[str, str, str, str]:
    """Of an ORDER_TRADE_UPDATE."""
    order = frame["o"]
    return order["c"], order["x"], STATUS[order["X"]], order["z"]


def terms(price: str | None, *, time_in_force: str, reduce_only: bool) -> dict[str, str]:
    """Parameters of a new order: a market order if it has no price."""
    said = {"type": "MARKET"}
    if price is not None:
        said = {"type": "LIMIT", "price": price, "timeInForce": time_in_force}
    if reduce_only:
        said["reduceOnly"] = "true"
    return said
