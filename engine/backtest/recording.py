"""What one symbol did: rows in the order in which they happen, ready to be played.

Everything that can be known beforehand is in the rows: longer bars stand where they end, holes
where they are noticed, funding fees where they are due. So a run does nothing but play them,
and each of the three runs plays the same.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from .spool import Row, Spool

Kind = Literal["candle", "trade", "quote", "bar", "fee", "gap"]
"""`candle`, `trade`, `quote`: the market moves. `bar`: only told. `fee`: funding is due. `gap`:
something is missing."""


class Lane(NamedTuple):
    """What the rows of one number are. Their values, by kind:

    candle, bar: open, high, low, close, volume; their time is when they opened. trade: price,
    quantity, number, 1 if the seller took (0 the buyer, -1 nobody knows), time of the trade.
    quote: bid, its quantity, ask, its quantity, time. fee: rate, price (0: the mark price then).
    gap: time of the last before it, how many are missing.

    :ivar length_ms: from a row's time to when it happens.
    :ivar told: whether a bot hears of it.
    :ivar unit: what is missing, of a gap.
    """

    kind: Kind
    length_ms: int = 0
    told: bool = True
    unit: str = ""


class DataSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one recording holds.

    :ivar interval: length of the candles; "" if there are none.
    :ivar bars: lengths of the bars that are handed to the bot.
    :ivar first_ms, last_ms: UTC, from the opening of the first candle to the end of the last.
    :ivar gaps: holes between candles, or in the numbers of the trades; `missing` so many would
        fill them.
    :ivar first_gap: where the first one is; "" without any.
    :ivar dropped: rows of a raw feed that were told twice or out of order; they are not traded on.
    :ivar first_dropped: where the first one is.
    :ivar fundings: funding fees that come due.
    """

    symbol: str
    source: str
    candles: int = 0
    interval: str = ""
    bars: tuple[str, ...] = ()
    trades: int = 0
    quotes: int = 0
    first_ms: int
    last_ms: int
    gaps: int = 0
    missing: int = 0
    first_gap: str = ""
    dropped: int = 0
    first_dropped: str = ""
    fundings: int = 0


class Recording:
    """Rows of one symbol, as often as they are wanted.

    :param lanes: by the number in a row.
    :param first_price: what the market stood at before its first row.
    """

    def __init__(
        self, lanes: Sequence[Lane], spool: Spool, *, summary: DataSummary, first_price: float
    ) -> None:
        self.symbol = summary.symbol
        self.lanes = tuple(lanes)
        self.summary = summary
        self.first_price = first_price
        self._spool = spool
        self.count = spool.count

    def rows(self) -> Iterator[Row]:
        """All rows, in the order in which they happen."""
        return self._spool.rows()


class Span(NamedTuple):
    """What all recordings have in common: from when to when."""

    first_ms: int
    last_ms: int

    @property
    def seconds(self) -> float:
        return (self.last_ms - self.first_ms) / 1000


def in_time(recordings: Sequence[Recording]) -> Iterator[Row]:
    """The rows of all, in the order in which they happen; their lanes are counted on from
    recording to recording.
    """
    if len(recordings) == 1:
        return recordings[0].rows()
    parts: list[Iterable[Row]] = []
    before = 0
    for recording in recordings:
        parts.append(_numbered(recording, before))
        before += len(recording.lanes)
    return heapq.merge(*parts, key=happens([lane for r in recordings for lane in r.lanes]))


def happens(lanes: Sequence[Lane]) -> Callable[[Row], int]:
    """When a row happens, UTC ms."""
    lengths = [lane.length_ms for lane in lanes]
    return lambda row: row[0] + lengths[row[6]]


def _numbered(recording: Recording, before: int) -> Iterator[Row]:
    return ((t, a, b, c, d, e, lane + before) for t, a, b, c, d, e, lane in recording.rows())


def span(recordings: Sequence[Recording]) -> Span:
    """From the first opening to the last end."""
    return Span(
        min(recording.summary.first_ms for recording in recordings),
        max(recording.summary.last_ms for recording in recordings),
    )
