"""Rows of a market, and between them what follows from them: longer bars, holes, funding fees.

Pure: rows in, rows out. The order within one moment is the world's: the prices until then, the
fee on what is held then, the bars that ended then, and only then what comes after. So nobody
who hears of a candle that ends at the hour can get out of the fee of that hour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from holdfast.market import INTERVALS

from .aggregation import BarBuilder
from .funding import Fee
from .recording import Lane
from .spool import Row


class Woven(NamedTuple):
    lanes: tuple[Lane, ...]
    rows: Iterator[Row]


class _Bars:
    """Builders of all lengths, each with its lane."""

    def __init__(self, lengths_ms: Sequence[int], first_ms: int, first_lane: int) -> None:
        self.lanes = tuple(Lane("bar", length) for length in lengths_ms)
        self._builders = [
            (BarBuilder(length, first_ms), lane)
            for lane, length in enumerate(lengths_ms, first_lane)
        ]

    def add(self, opened: float, high: float, low: float, close: float, volume: float) -> None:
        for builder, _ in self._builders:
            builder.add(opened, high, low, close, volume)

    def hole(self, until_ms: int) -> None:
        for builder, _ in self._builders:
            builder.hole(until_ms)

    def next_end_ms(self, after_ms: int) -> int:
        """When the next one ends."""
        return min(
            (after_ms // builder.length_ms + 1) * builder.length_ms for builder, _ in self._builders
        )

    def end(self, time_ms: int) -> Iterator[Row]:
        """Those that end then and are whole, the short ones first."""
        for builder, lane in self._builders:
            if time_ms % builder.length_ms == 0 and (bar := builder.end(time_ms)) is not None:
                yield *bar, lane


def by_length(bars: Iterable[str]) -> tuple[str, ...]:
    """Names of lengths, each once, the shortest first."""
    return tuple(sorted(set(bars), key=INTERVALS.__getitem__))


def candles(
    rows: Iterable[Row],
    *,
    first_ms: int,
    length_ms: int,
    bars: Sequence[str],
    fees: Iterable[Fee],
) -> Woven:
    """Candles of one length, with the bars that a bot asked for.

    :param bars: names of lengths, by length; the candles themselves are told if theirs is one.
    :param fees: oldest first, all after the first candle has opened.
    """
    told = [INTERVALS[name] for name in bars]
    made = _Bars([length for length in told if length != length_ms], first_ms, 5)
    lanes = (
        Lane("candle", length_ms, told=length_ms in told),
        Lane("candle", length_ms, told=False),
        Lane("bar", length_ms, told=length_ms in told),
        Lane("fee", told=False),
        Lane("gap", unit="candles"),
        *made.lanes,
    )
    return Woven(lanes, _candles(rows, length_ms, made, deque(fees)))


def _candles(rows: Iterable[Row], length_ms: int, bars: _Bars, fees: deque[Fee]) -> Iterator[Row]:
    expected: int | None = None
    for row in rows:
        time_ms, opened, high, low, close, volume, _ = row
        end_ms = time_ms + length_ms
        while fees and fees[0].time_ms < end_ms:
            yield _fee(fees.popleft(), 3)
        if expected is not None and time_ms != expected:
            yield end_ms, expected, (time_ms - expected) // length_ms, 0.0, 0.0, 0.0, 4
            bars.hole(time_ms)
        if fees and fees[0].time_ms == end_ms:
            yield time_ms, opened, high, low, close, volume, 1
            yield _fee(fees.popleft(), 3)
            yield time_ms, opened, high, low, close, volume, 2
        else:
            yield row
        bars.add(opened, high, low, close, volume)
        yield from bars.end(end_ms)
        expected = end_ms


GAP, TRADE, QUOTE = range(3)
"""Lanes of the rows that `ticks` takes."""


def ticks(rows: Iterable[Row], *, first_ms: int, bars: Sequence[str], fees: Iterable[Fee]) -> Woven:
    """Trades and quotes, with bars that are made of the trades.

    :param rows: in the lanes `GAP`, `TRADE`, `QUOTE`, oldest first.
    :param first_ms: of the first trade.
    :param bars: names of lengths, by length.
    """
    made = _Bars([INTERVALS[name] for name in bars], first_ms, 4)
    lanes = (Lane("gap", unit="trades"), Lane("trade"), Lane("quote"), Lane("fee", told=False))
    woven = _ticks(rows, made, deque(fees)) if made.lanes or fees else iter(rows)
    return Woven((*lanes, *made.lanes), woven)


def _ticks(rows: Iterable[Row], bars: _Bars, fees: deque[Fee]) -> Iterator[Row]:
    never = 1 << 62
    next_end_ms: int | None = None if bars.lanes else never
    for row in rows:
        time_ms, price, quantity, _, _, _, lane = row
        if next_end_ms is None:
            next_end_ms = bars.next_end_ms(time_ms - 1)
        if lane == GAP:
            bars.hole(time_ms)
        while True:
            fee_ms = fees[0].time_ms if fees else never
            if min(fee_ms, next_end_ms) > time_ms:
                break
            if fee_ms <= next_end_ms:
                yield _fee(fees.popleft(), 3)
            else:
                yield from bars.end(next_end_ms)
                next_end_ms = bars.next_end_ms(next_end_ms)
        yield row
        if lane == TRADE:
            bars.add(price, price, price, price, quantity)


def _fee(fee: Fee, lane: int) -> Row:
    return fee.time_ms, fee.rate, fee.price, 0.0, 0.0, 0.0, lane
