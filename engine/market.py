"""What a market tells: bars, trades, quotes, and that something of it is missing.

Prices are floats here: a strategy computes with them, a backtest moves millions, and no
order is made of one without being brought to the venue's tick as a `Decimal`
(`Instrument.price`, `Instrument.quantity`). The same values come from recorded files in a
backtest and from the venue's stream in live trading, so a bot can not tell which it is.
"""

from __future__ import annotations

from typing import Final

import msgspec

INTERVALS: Final[dict[str, int]] = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}
"""Lengths of bars in milliseconds, by Binance's names ("Kline/Candlestick chart intervals"),
those of a fixed length up to a day."""


class Bar(msgspec.Struct, frozen=True, gc=False):
    """A candle that has ended.

    :ivar time_ms: UTC moment at which it opened.
    :ivar interval_ms: its length; it was known to be complete at `time_ms + interval_ms`.
    :ivar volume: in units of the base asset.
    """

    symbol: str
    time_ms: int
    interval_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A trade of the market, not of ours.

    :ivar seller_took: the seller crossed the spread (Binance: `buyer is maker`).
    """

    symbol: str
    time_ms: int
    trade_id: int
    price: float
    quantity: float
    seller_took: bool = False


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The best prices at one moment, with the quantity that waits at each."""

    symbol: str
    time_ms: int
    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float


class MarketGap(msgspec.Struct, frozen=True):
    """Something of `symbol` is missing: what is computed over it is not what it seems.

    Bars that could be asked for afterwards follow it, oldest first; trades and quotes do not.
    """

    symbol: str
    time_ms: int
    """Of the last event before the gap."""
    reason: str


MarketEvent = Bar | Trade | Quote | MarketGap
