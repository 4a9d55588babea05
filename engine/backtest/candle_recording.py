"""A recording of candles: checked as a whole before a run.

What is wrong with a file is told before anything trades on it. A raw feed tells a candle again when
its stream has connected again: that is dropped and counted, as of trades.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from holdfast.errors import ConfigError
from holdfast.market import INTERVALS
from holdfast.marketdata import DataError
from holdfast.marketdata.files import Files
from holdfast.marketdata.rows import Candle

from . import weaving
from .funding import Fees, no_fees
from .recording import DataSummary, Recording
from .spool import Row, Spool
from .weaving import by_length

NAMES: Final = {length: name for name, length in INTERVALS.items()}
MAX_DISTANCES: Final = 10_000
"""Different distances between candles that are counted; a file with more is no series."""


class _Series:
    """Checks candles as they pass, and remembers what is needed to know their length."""

    def __init__(self, rows: Iterable[tuple[int, Candle]], source: Files) -> None:
        self.first: Candle | None = None
        self.last_ms = self.dropped = 0
        self.first_dropped = ""
        self.distances: Counter[int] = Counter()
        self.seen_at: dict[int, int] = {}
        self._rows = rows
        self._source = source

    def pass_on(self) -> Iterator[Row]:
        """:raises DataError: not sorted, or twice."""
        before: int | None = None
        last_number = 0
        for number, candle in self._rows:
            time_ms = candle.time_ms
            if before is None:
                self.first = candle
            else:
                distance = time_ms - before
                if distance <= 0 and self._source.received:
                    self.dropped += 1
                    self.first_dropped = self.first_dropped or self._source.place(number)
                    continue
                if distance <= 0:
                    what = "as old as" if distance == 0 else "older than"
                    raise DataError(
                        f"{self._source.place(number)}: this candle is {what} the one before; "
                        f"{self._source.remedy(number, last_number)}"
                    )
                self.distances[distance] += 1
                if distance not in self.seen_at:
                    self.seen_at[distance] = number
                    if len(self.seen_at) > MAX_DISTANCES:
                        raise DataError(
                            f"{self._source.place(number)}: these are no candles of one length"
                        )
            before = self.last_ms = time_ms
            last_number = number
            yield (*candle, 0)

    def length_ms(self) -> int:
        """How long the candles are: the distance that is seen most. :raises DataError:"""
        distances, source = self.distances, self._source
        if not distances:
            return INTERVALS["1m"]
        most = max(distances.values())
        length = min(distance for distance, times in distances.items() if times == most)
        if length not in NAMES:
            raise DataError(
                f"{source}: its candles are {length / 1000:g} s apart; holdfast knows "
                f"{', '.join(INTERVALS)}"
            )
        overlapping = [at for distance, at in self.seen_at.items() if distance < length]
        if overlapping:
            raise DataError(
                f"{source.place(min(overlapping))}: this candle begins before the one before has "
                f"ended; the others are {NAMES[length]} long"
            )
        return length


def of_candles(
    symbol: str,
    rows: Iterable[tuple[int, Candle]],
    *,
    source: Files,
    bars: Sequence[str] = (),
    fees: Fees = no_fees,
) -> Recording:
    """
    :param rows: candles, oldest first, each with its number in the files.
    :param source: the files, named in errors.
    :param bars: names of the lengths that a bot is to hear of; none: that of the candles.
    :param fees: funding fees that come due meanwhile.
    :raises DataError: naming the line: not sorted, twice, overlapping, or no candles at all.
    :raises ConfigError: a bar that can not be made of these candles.
    """
    series = _Series(rows, source)
    spool = Spool(series.pass_on())
    first = series.first
    if first is None:
        raise DataError(f"{source}: holds no data")
    length_ms = series.length_ms()
    first_ms, last_ms = first.time_ms, series.last_ms + length_ms
    told = by_length(bars) or (NAMES[length_ms],)
    _check_bars(told, length_ms, first_ms, source)
    due = list(fees(first_ms, last_ms))
    gaps = {d: n for d, n in series.distances.items() if d > length_ms}
    lanes, woven = weaving.candles(
        spool.rows(), first_ms=first_ms, length_ms=length_ms, bars=told, fees=due
    )
    count = spool.count
    if gaps or due or told != (NAMES[length_ms],):
        plain, spool = spool, Spool(woven)
        plain.close()
    return Recording(
        lanes,
        spool,
        summary=DataSummary(
            symbol=symbol,
            source=str(source),
            candles=count,
            interval=NAMES[length_ms],
            bars=told,
            first_ms=first_ms,
            last_ms=last_ms,
            gaps=sum(gaps.values()),
            missing=sum((d // length_ms - 1) * n for d, n in gaps.items()),
            first_gap=source.place(min(series.seen_at[d] for d in gaps)) if gaps else "",
            dropped=series.dropped,
            first_dropped=series.first_dropped,
            fundings=len(due),
        ),
        first_price=first.open,
    )


def _check_bars(bars: Iterable[str], length_ms: int, first_ms: int, source: Files) -> None:
    for name in bars:
        if INTERVALS[name] % length_ms:
            raise ConfigError(
                f"bars: {name} can not be made of the candles of {source}, which are "
                f"{NAMES[length_ms]} long"
            )
        if INTERVALS[name] != length_ms and first_ms % length_ms:
            raise ConfigError(
                f"bars: {name} can not be made of the candles of {source}: they do not open at the "
                f"full {NAMES[length_ms]}"
            )
