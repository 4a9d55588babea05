"""Binance's words for how an order stands (USDⓈ-M, "Public Endpoints Info": order status).

Read from its answers, written by the simulated exchange, and written again for a ccxt bot,
which is to hear from the engine what it would have heard from the venue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .model import OrderStatus

WORD_OF: Final[Mapping[OrderStatus, str]] = {
    OrderStatus.OPEN: "NEW",
    OrderStatus.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.CANCELED: "CANCELED",
    OrderStatus.EXPIRED: "EXPIRED",
    OrderStatus.REJECTED: "REJECTED",
}
STATUS_OF: Final[Mapping[str, OrderStatus]] = {
    **{word: status for status, word in WORD_OF.items()},
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,  # by self-trade prevention
}
