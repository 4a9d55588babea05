"""The recorded market of a backtest: every candle, at its time, to the venue and to the bots.

Nothing waits here. The loop asks when the next candle ends (`simulation.Source`), the venue
meets its prices first, so that fills come before the candle that made them, and then whoever
listens is told. A bot with nothing else to do takes the candle at once (`ports.Replay`).

A venue that can not be reached tells nothing of its market either. When it is back, its
clients are told that something is missing, and then the candles that they missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import anyio

from holdfast.errors import LinkDown
from holdfast.market import INTERVALS, Bar, MarketEvent, MarketGap
from holdfast.ports import MarketWatch, Subscription
from holdfast.simulation import NEVER_NS, SimLoop
from holdfast.transports.sim import LocalLine

from .recording import Recording, Row, in_time, span

KEPT: Final = 1_500
"""Candles of each symbol that can be asked for; as many as Binance gives at once."""
NS_PER_MS: Final = 1_000_000


class Feed:
    """Satisfies `simulation.Source`.

    :param line: to the venue, whose outages are the market's, too.
    :param on_sample: called after the first candle at or behind each of `samples` moments,
        evenly over the recording, with its time (UTC ms).
    :ivar ended: set when the last candle has ended.
    :ivar now_ms: UTC end of the latest candle.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        line: LocalLine,
        *,
        samples: int,
        on_sample: Callable[[int], object],
    ) -> None:
        self.ended = anyio.Event()
        self.due_ns = NEVER_NS
        self.candles = 0
        self._loop = SimLoop.current()
        self._line = line
        self._on_candle = line.core.on_candle
        self._symbols = [recording.symbol for recording in recordings]
        self._lengths = [recording.interval_ms for recording in recordings]
        self._first_ms, last_ms = span(recordings)
        self.now_ms = self._first_ms
        self._kept: list[deque[Row]] = [deque(maxlen=KEPT) for _ in recordings]
        self._expected = [recording.summary.first_ms for recording in recordings]
        self._missed: deque[Row] = deque(maxlen=KEPT)
        self._since_ms: int | None = None
        self._queue: deque[MarketEvent] = deque()
        self._watches: dict[RecordedMarket, MarketWatch] = {}
        self._only: RecordedMarket | None = None
        self._on_sample = on_sample
        self._sample_ms = float(self._first_ms)
        self._sample_every_ms = (last_ms - self._first_ms) / samples
        self._rows: Iterator[Row] = in_time(recordings)
        self._row: Row = next(self._rows)  # a recording is never empty
        self.due_ns = self._end_ns(self._row)

    def happen(self) -> None:
        """The candle that is due ends: tell everybody."""
        events = [*self._queue, event] if (event := self._end()) is not None else [*self._queue]
        self._queue.clear()
        for watch in tuple(self._watches.values()):
            for event in events:
                watch.event(event)

    def stop(self) -> None:
        """No candle comes any more."""
        self.due_ns = NEVER_NS
        self.ended.set()

    def take(self, market: RecordedMarket) -> MarketEvent | None:
        """As `ports.Replay.take`."""
        if market is not self._only:
            return None
        queue, reach = self._queue, self._loop.reach
        while True:
            if queue:
                return queue.popleft()
            if not reach(self.due_ns):
                return None
            event = self._end()
            if event is not None:
                if not queue:
                    return event
                queue.append(event)

    def _end(self) -> MarketEvent | None:
        """The candle that is due ends. Events that come before its own are put into the queue;
        None: nobody hears of it.
        """
        row = self._row
        time_ms, opened, high, low, close, volume, number = row
        symbol, length = self._symbols[number], self._lengths[number]
        self.now_ms = end_ms = time_ms + length
        self._on_candle(symbol, opened, high, low, close, volume)
        if end_ms >= self._sample_ms:
            self._on_sample(end_ms)
            self._sample_ms += self._sample_every_ms
        self._kept[number].append(row)
        self.candles += 1
        following = next(self._rows, None)
        if following is None:
            self.stop()
        else:
            self._row = following
            self.due_ns = self._end_ns(following)
        expected = self._expected[number]
        self._expected[number] = end_ms
        if self._line.stream_down is not None or self._since_ms is not None or time_ms != expected:
            if not self._tell_what_is_missing(row, expected):
                return None
        elif not self._watches:
            return None
        return Bar(symbol, time_ms, length, opened, high, low, close, volume)

    def _tell_what_is_missing(self, row: Row, expected_ms: int) -> bool:
        """Put what was not told, or can not be, into the queue; False: nor can this candle be."""
        time_ms, number = row[0], row[6]
        if not self._watches:
            return False
        if self._line.stream_down is not None:
            if self._since_ms is None:
                self._since_ms = time_ms
            self._missed.append(row)
            return False
        if self._since_ms is not None:
            self._tell_what_was_missed()
        elif time_ms != expected_ms:
            missing = (time_ms - expected_ms) // self._lengths[number]
            self._queue.append(
                MarketGap(self._symbols[number], expected_ms, f"{missing} candles are not recorded")
            )
        return True

    def _end_ns(self, row: Row) -> int:
        return (row[0] + self._lengths[row[6]] - self._first_ms) * NS_PER_MS

    def _tell_what_was_missed(self) -> None:
        assert self._since_ms is not None
        for symbol in self._symbols:
            self._queue.append(MarketGap(symbol, self._since_ms, "the venue could not be reached"))
        for row in self._missed:
            self._queue.append(self._bar(row))
        self._since_ms = None
        self._missed.clear()

    def _bar(self, row: Row) -> Bar:
        time_ms, opened, high, low, close, volume, number = row
        return Bar(
            self._symbols[number], time_ms, self._lengths[number], opened, high, low, close, volume
        )

    # --- clients -------------------------------------------------------------------------

    def attach(self, market: RecordedMarket, watch: MarketWatch) -> None:
        self._watches[market] = watch
        self._find_only()

    def detach(self, market: RecordedMarket) -> None:
        self._watches.pop(market, None)
        self._find_only()

    def _find_only(self) -> None:
        self._only = next(iter(self._watches)) if len(self._watches) == 1 else None
        if not self._watches:  # who starts again has missed nothing: he begins anew
            self._since_ms = None
            self._missed.clear()
            self._queue.clear()

    def latest(self, symbol: str, interval: str, limit: int) -> list[Bar]:
        """:raises LinkDown: nothing is recorded of that symbol and length, or it is cut off."""
        if self._line.stream_down is not None:
            raise LinkDown(f"market: {self._line.stream_down}")
        if symbol not in self._symbols:
            raise LinkDown(f"market: nothing of {symbol} is recorded")
        number = self._symbols.index(symbol)
        if INTERVALS.get(interval) != self._lengths[number]:
            raise LinkDown(
                f"market: the candles of {symbol} are {self._lengths[number] / 60_000:g} minutes "
                f"long, {interval} is not recorded"
            )
        return [self._bar(row) for row in list(self._kept[number])[-limit:]]


class RecordedMarket:
    """`ports.MarketData` of one process; what it is told is what is recorded."""

    name = "market"

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def run(self, watch: MarketWatch, subscription: Subscription) -> None:
        self._feed.attach(self, watch)
        try:
            watch.up()
            await anyio.sleep_forever()
        finally:
            self._feed.detach(self)

    async def probe(self) -> None:
        """Its outages are those of the venue, which is asked by itself."""

    async def bars(
        self, symbol: str, *, interval: str, limit: int, timeout_seconds: float
    ) -> list[Bar]:
        return self._feed.latest(symbol, interval, limit)

    def take(self) -> MarketEvent | None:
        return self._feed.take(self)
