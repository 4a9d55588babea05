"""Recorded candles of one symbol: checked as a whole before a run, then read again and again.

What is wrong with a file is told before anything trades on it. To read text three times would
take longer than the three runs, so a recording is kept in binary, in memory as long as it
is small and in a temporary file from then on: ten million candles take no more memory than one.
"""

from __future__ import annotations

import heapq
import struct
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.market import INTERVALS
from holdfast.marketdata import DataError
from holdfast.marketdata.candles import Candle, candles, place

MEMORY_BYTES: Final = 16 << 20
"""Of one recording; 350,000 candles."""
_ROW: Final = struct.Struct("=qdddddq")
_ROWS_AT_ONCE: Final = 4096
_LENGTHS: Final = {length: name for name, length in INTERVALS.items()}
MAX_DISTANCES: Final = 10_000
"""Different distances between candles that are counted; a file with more is no series."""

Row = tuple[int, float, float, float, float, float, int]
"""When it opened (UTC ms), open, high, low, close, volume, and the number of its recording."""


class DataSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one recording holds.

    :ivar first_ms, last_ms: UTC, from the opening of the first candle to the end of the last.
    :ivar gaps: holes between candles; `missing` so many candles would fill them.
    :ivar first_gap: where the first one is; "" without any.
    """

    symbol: str
    source: str
    candles: int
    interval: str
    first_ms: int
    last_ms: int
    gaps: int = 0
    missing: int = 0
    first_gap: str = ""


class Recording:
    """Candles of one symbol, oldest first, as often as they are wanted.

    :param rows: each with the number of its line.
    :param source: the file, named in errors.
    :raises DataError: naming the line: not sorted, twice, overlapping, or no candles at all.
    """

    def __init__(self, symbol: str, rows: Iterable[tuple[int, Candle]], *, source: Path) -> None:
        self.symbol = symbol
        # Open for as long as the recording is used; the file has no name, so nothing is left.
        self._spool: Any = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115
        self.close = weakref.finalize(self, self._spool.close)
        """Give its memory back; whoever does not is spared a warning for it."""
        distances: Counter[int] = Counter()
        seen_at: dict[int, int] = {}
        count, before, first_open = 0, None, 0.0
        first_ms = last_ms = 0
        packed = bytearray()
        for number, candle in rows:
            time_ms = candle.time_ms
            if before is None:
                first_ms, first_open = time_ms, candle.open
            else:
                distance = time_ms - before
                if distance <= 0:
                    raise DataError(
                        f"{place(source, number)}: this candle is "
                        + (
                            "as old as the one before; leave one of them out"
                            if distance == 0
                            else "older than the one before; sort the file by time"
                        )
                    )
                distances[distance] += 1
                if distance not in seen_at:
                    seen_at[distance] = number
                    if len(seen_at) > MAX_DISTANCES:
                        raise DataError(
                            f"{place(source, number)}: these are no candles of one length"
                        )
            before = last_ms = time_ms
            packed += _ROW.pack(*candle, 0)
            count += 1
            if len(packed) >= _ROW.size * _ROWS_AT_ONCE:
                self._spool.write(packed)
                packed.clear()
        if before is None:
            raise DataError(f"{source}: holds no data")
        self._spool.write(packed)
        self.first_open = first_open
        self.interval_ms = _length(distances, seen_at, source)
        gaps = {d: n for d, n in distances.items() if d > self.interval_ms}
        self.summary = DataSummary(
            symbol=symbol,
            source=str(source),
            candles=count,
            interval=_LENGTHS[self.interval_ms],
            first_ms=first_ms,
            last_ms=last_ms + self.interval_ms,
            gaps=sum(gaps.values()),
            missing=sum((d // self.interval_ms - 1) * n for d, n in gaps.items()),
            first_gap=place(source, min(seen_at[d] for d in gaps)) if gaps else "",
        )

    @classmethod
    def read(cls, symbol: str, path: str | Path) -> Recording:
        """:raises DataError: the file can not be used; names the line."""
        file = Path(path)
        return cls(symbol, candles(file), source=file)

    def rows(self) -> Iterator[Row]:
        """All candles, oldest first."""
        return chain.from_iterable(map(_ROW.iter_unpack, self._pages()))  # no step of Python's own

    def _pages(self) -> Iterator[bytes]:
        offset = 0
        while True:
            self._spool.seek(offset)  # somebody else may have read meanwhile
            page = self._spool.read(_ROW.size * _ROWS_AT_ONCE)
            if not page:
                return
            offset += len(page)
            yield page


class Span(NamedTuple):
    """What all recordings have in common: from when to when."""

    first_ms: int
    last_ms: int


def in_time(recordings: Sequence[Recording]) -> Iterator[Row]:
    """The candles of all, in the order in which they end."""
    if len(recordings) == 1:
        return recordings[0].rows()
    lengths = [recording.interval_ms for recording in recordings]
    return heapq.merge(
        *(_numbered(recording, number) for number, recording in enumerate(recordings)),
        key=lambda row: (row[0] + lengths[row[6]], row[6]),
    )


def _numbered(recording: Recording, number: int) -> Iterator[Row]:
    return ((t, o, h, l, c, v, number) for t, o, h, l, c, v, _ in recording.rows())  # noqa: E741


def span(recordings: Sequence[Recording]) -> Span:
    """From the first opening to the last end."""
    return Span(
        min(recording.summary.first_ms for recording in recordings),
        max(recording.summary.last_ms for recording in recordings),
    )


def _length(distances: Counter[int], seen_at: dict[int, int], source: Path) -> int:
    """How long the candles are: the distance that is seen most. :raises DataError:"""
    if not distances:
        return INTERVALS["1m"]
    most = max(distances.values())
    length = min(distance for distance, times in distances.items() if times == most)
    if length not in _LENGTHS:
        raise DataError(
            f"{source}: its candles are {length / 1000:g} s apart; holdfast knows "
            f"{', '.join(INTERVALS)}"
        )
    overlapping = [number for distance, number in seen_at.items() if distance < length]
    if overlapping:
        raise DataError(
            f"{place(source, min(overlapping))}: this candle begins before the one before has "
            f"ended; the others are {_LENGTHS[length]} long"
        )
    return length
