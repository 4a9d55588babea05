"""What is recorded, as floats: the rows that backtests read."""

from __future__ import annotations

from typing import Final, NamedTuple

LEAST, MOST = 1e-15, 1e18
"""Of a price, and of a quantity: beyond what any market has; beyond them sums are not finite."""
END_MS: Final = 2**63 // 1_000_000
"""Of a time stamp: where nanoseconds leave 64 bits, in 2262."""

NO_NUMBER: Final = -1
"""The file does not tell the number of a trade, or of a change of the best prices."""


class Candle(NamedTuple):
    """`time_ms` is the UTC moment it opened; prices in the quote, volume in the base asset."""

    time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class TradeRow(NamedTuple):
    """A trade of the market.

    :ivar time_ms: UTC.
    :ivar number: the venue counts its trades without a hole.
    :ivar seller_took: None: the file does not tell.
    """

    time_ms: int
    price: float
    quantity: float
    number: int = NO_NUMBER
    seller_took: bool | None = None


class QuoteRow(NamedTuple):
    """The best prices.

    :ivar time_ms: UTC.
    :ivar number: grows with each change of the book.
    """

    time_ms: int
    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float
    number: int = NO_NUMBER
