"""Ticks and bars, and how the one is made of the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from holdfast.errors import HoldfastError


class DataError(HoldfastError):
    """A data file can not be used; the message names file, line and the remedy."""


class Tick(NamedTuple):
    """A price that was traded. `time_ms` is UTC."""

    time_ms: int
    price: Decimal
    quantity: Decimal


class BestPrices(NamedTuple):
    """The best bid and ask, with what waits at each. `time_ms` is UTC."""

    time_ms: int
    bid: Decimal
    bid_quantity: Decimal
    ask: Decimal
    ask_quantity: Decimal


class FundingRate(NamedTuple):
    """A funding fee: who is long pays a positive rate.

    :ivar time_ms: UTC, when positions were counted.
    :ivar price: the mark price then; None: the file does not tell.
    """

    time_ms: int
    rate: Decimal
    price: Decimal | None = None


class Bar(NamedTuple):
    """A candle. `time_ms` is the UTC moment it opened; `volume` counts the base asset."""

    time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


_PARTS = 4
_LONGEST_MS = 86_400_000
_FIRST_GUESS_MS = 60_000


def ticks_of_bars(bars: Iterable[Bar]) -> Iterator[Tick]:
    """Four ticks for each bar: open, the extreme nearer to it, the other one, close.

    A candle does not tell which extreme came first; the nearer one is the shorter
    way. Times are spread evenly to the next bar (to the length of the one before, for
    the last), so they never reach into it; the volume is split evenly.
    """
    length_ms = _FIRST_GUESS_MS
    held: Bar | None = None
    for bar in bars:
        if held is not None:
            length_ms = min(max(bar.time_ms - held.time_ms, 0), _LONGEST_MS)
            yield from _split(held, length_ms)
        held = bar
    if held is not None:
        yield from _split(held, length_ms)


def _split(bar: Bar, length_ms: int) -> Iterator[Tick]:
    low_first = bar.open - bar.low <= bar.high - bar.open
    path = (
        bar.open,
        bar.low if low_first else bar.high,
        bar.high if low_first else bar.low,
        bar.close,
    )
    for part, price in enumerate(path):
        yield Tick(bar.time_ms + length_ms * part // _PARTS, price, bar.volume / _PARTS)
