"""The recorded market of a backtest: every row, at its time, to the venue and to the bots.

Nothing waits here. The loop asks when the next row happens (`simulation.Source`), the venue
meets its prices first, so that fills come before the candle that made them, and then whoever
listens is told. A bot with nothing else to do takes the event at once (`ports.Replay`).

A venue that can not be reached tells nothing of its market either. When it is back, its
clients are told that something is missing, and then the bars that they missed; trades and quotes
can not be asked for afterwards.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import anyio

from holdfast.errors import LinkDown
from holdfast.market import INTERVALS, Bar, MarketEvent, MarketGap, Quote, Trade
from holdfast.ports import MarketWatch, Subscription
from holdfast.simulation import NEVER_NS, SimLoop
from holdfast.transports.sim import LocalLine, SimulatedVenue

from .aggregation import BarBuilder
from .recording import Kind, Lane, Recording, in_time, span
from .spool import Row

KEPT: Final = 1_500
"""Bars of each length that can be asked for; as many as Binance gives at once."""
NS_PER_MS: Final = 1_000_000


class Feed:
    """Satisfies `simulation.Source`.

    :param line: to the venue, whose outages are the market's, too.
    :param on_sample: called after the first row at or behind each of `samples` moments,
        evenly over the recording, with its time (UTC ms).
    :ivar ended: set when the last row has happened.
    :ivar done: how many rows have happened.
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
        self.done = 0
        self._loop = SimLoop.current()
        self._line = line
        lanes = [(recording.symbol, lane) for recording in recordings for lane in recording.lanes]
        self._symbols = [symbol for symbol, _ in lanes]
        self._lengths = [lane.length_ms for _, lane in lanes]
        self._told = [lane.told for _, lane in lanes]
        self._units = [lane.unit for _, lane in lanes]
        self._kinds = [lane.kind for _, lane in lanes]
        moves = _Moves(line.core)
        self._moves = [moves.of(lane.kind) for _, lane in lanes]
        self._bars: dict[tuple[str, int], deque[Row]] = {}
        """Of each symbol and length."""
        self._kept = [self._keep(symbol, lane) for symbol, lane in lanes]
        self._candles = [
            (symbol, lane.length_ms, line.core.candles_of(symbol), kept.append)
            if lane.kind == "candle" and lane.told
            else None
            for (symbol, lane), kept in zip(lanes, self._kept, strict=True)
        ]
        self._first_ms, last_ms = span(recordings)
        self._missed: deque[Row] = deque(maxlen=KEPT)
        self._since_ms: int | None = None
        self._queue: deque[MarketEvent] = deque()
        self._watches: dict[RecordedMarket, MarketWatch] = {}
        self._only: RecordedMarket | None = None
        self._on_sample = on_sample
        self._samples = 0
        self._sample_ms = self._first_ms
        self._sample_every_ms = (last_ms - self._first_ms) / samples
        self._rows: Iterator[Row] = in_time(recordings)
        self._row: Row = next(self._rows)  # a recording is never empty
        self.due_ns = self._happens_ns(self._row)

    def _keep(self, symbol: str, lane: Lane) -> deque[Row]:
        """Where the rows of a lane are kept; a bar that is a candle told anew is kept as that."""
        key = symbol, lane.length_ms
        if not lane.length_ms or (lane.kind == "bar" and key in self._bars):
            return deque(maxlen=0)
        return self._bars.setdefault(key, deque(maxlen=KEPT))

    def happen(self) -> None:
        """The row that is due happens: tell everybody."""
        queue, only = self._queue, self._only
        if only is not None:
            watch = self._watches[only]
            for told in self._events(only, self._is_due):
                watch.event(told)
                if not queue:
                    break
            return
        event = self._happen()
        events = [*queue] if event is None else [*queue, event]
        queue.clear()
        for watch in tuple(self._watches.values()):
            for event in events:
                watch.event(event)

    def stop(self) -> None:
        """Nothing comes any more."""
        self.due_ns = NEVER_NS
        self.ended.set()

    def _is_due(self, due_ns: int) -> bool:
        return due_ns <= self._loop.elapsed_ns

    def events(self, market: RecordedMarket) -> Iterator[MarketEvent]:
        """As `ports.Replay.events`."""
        return self._events(market, self._loop.reach)

    def _events(
        self, market: RecordedMarket, reach: Callable[[int], bool]
    ) -> Iterator[MarketEvent]:
        """
        :param reach: whether what happens then may happen now.
        """
        queue, happen = self._queue, self._happen
        lengths, rows, line, first_ms = self._lengths, self._rows, self._line, self._first_ms
        candles = self._candles
        while market is self._only:
            if queue:
                yield queue.popleft()
                continue
            if not reach(self.due_ns):
                return
            row = self._row
            time_ms, opened, high, low, close, volume, lane = row
            candle = candles[lane]
            if candle is None or line.stream_down is not None or self._since_ms is not None:
                event = happen()
                if event is not None:
                    if queue:
                        queue.append(event)
                    else:
                        yield event
                continue
            # As `_happen`, without its calls: most of a backtest is this.
            symbol, length, move, keep = candle
            end_ms = time_ms + length
            move(opened, high, low, close, volume)
            if end_ms >= self._sample_ms:
                self._sample(end_ms)
            keep(row)
            self.done += 1
            for following in rows:
                self._row = following
                self.due_ns = (following[0] + lengths[following[6]] - first_ms) * NS_PER_MS
                break
            else:
                self.stop()
            yield Bar(symbol, time_ms, length, opened, high, low, close, volume)

    def _happen(self) -> MarketEvent | None:
        """The row that is due happens. Events that come before its own are put into the queue;
        None: nobody hears of it.
        """
        row = self._row
        time_ms, a, b, c, d, e, lane = row
        symbol, length = self._symbols[lane], self._lengths[lane]
        end_ms = time_ms + length
        move = self._moves[lane]
        if move is not None:
            move(symbol, a, b, c, d, e)
        if end_ms >= self._sample_ms:
            self._sample(end_ms)
        self._kept[lane].append(row)
        self.done += 1
        following = next(self._rows, None)
        if following is None:
            self.stop()
        else:
            self._row = following
            self.due_ns = self._happens_ns(following)
        if not self._told[lane]:
            return None
        if self._line.stream_down is not None or self._since_ms is not None:
            if not self._tell_what_was_missed(row):
                return None
        elif not self._watches:
            return None
        if length:
            return Bar(symbol, time_ms, length, a, b, c, d, e)
        return self._event(row)

    def _sample(self, end_ms: int) -> None:
        self._on_sample(end_ms)
        self._samples += 1
        self._sample_ms = math.ceil(self._first_ms + self._samples * self._sample_every_ms)

    def _event(self, row: Row) -> MarketEvent:
        """What is told of a row that is no bar; see `Lane` for its values."""
        _, a, b, c, d, e, lane = row
        symbol, kind = self._symbols[lane], self._kinds[lane]
        if kind == "trade":
            return Trade(symbol, int(e), int(c), a, b, d > 0)
        if kind == "quote":
            return Quote(symbol, int(e), a, b, c, d)
        return MarketGap(symbol, int(a), f"{int(b)} {self._units[lane]} are not recorded")

    def _tell_what_was_missed(self, row: Row) -> bool:
        """Put what an outage has kept from the clients into the queue; False: it lasts, and this
        row is kept from them, too.
        """
        if not self._watches:
            return False
        if self._line.stream_down is not None:
            if self._since_ms is None:
                self._since_ms = row[0]
            if self._lengths[row[6]]:
                self._missed.append(row)
            return False
        assert self._since_ms is not None
        for symbol in dict.fromkeys(self._symbols):
            self._queue.append(MarketGap(symbol, self._since_ms, "the venue could not be reached"))
        self._queue.extend(map(self._bar, self._missed))
        self._since_ms = None
        self._missed.clear()
        return True

    def _happens_ns(self, row: Row) -> int:
        return (row[0] + self._lengths[row[6]] - self._first_ms) * NS_PER_MS

    def _bar(self, row: Row) -> Bar:
        time_ms, opened, high, low, close, volume, lane = row
        return Bar(
            self._symbols[lane], time_ms, self._lengths[lane], opened, high, low, close, volume
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
        """:raises LinkDown: nothing is recorded that such bars could be made of, or the market is
        cut off.
        """
        if self._line.stream_down is not None:
            raise LinkDown(f"market: {self._line.stream_down}")
        length = INTERVALS[interval]
        shorter = [
            known
            for of, known in self._bars
            if of == symbol and known and length % known == 0
        ]  # fmt: skip
        if not shorter:
            raise LinkDown(
                f"market: nothing of {symbol} is recorded that bars of {interval} are made of"
            )
        nearest = max(shorter)
        rows = list(self._bars[symbol, nearest])
        if nearest != length:
            rows = _longer(rows, nearest, length)
        return [Bar(symbol, row[0], length, *row[1:6]) for row in rows[-limit:]]


def _longer(rows: list[Row], length_ms: int, longer_ms: int) -> list[Row]:
    """Longer bars out of those that follow each other."""
    made: list[Row] = []
    if not rows:
        return made
    expected = rows[0][0]
    builder = BarBuilder(longer_ms, expected)
    for time_ms, *values, lane in rows:
        if time_ms != expected:
            builder.hole(time_ms)
        builder.add(*values)
        expected = time_ms + length_ms
        if expected % longer_ms == 0 and (bar := builder.end(expected)) is not None:
            made.append((*bar, lane))
    return made


class _Moves:
    """What each kind of row does to the venue, all with the row's values as arguments."""

    def __init__(self, venue: SimulatedVenue) -> None:
        self._venue = venue

    def of(self, kind: Kind) -> Callable[[str, float, float, float, float, float], None] | None:
        """None: nothing."""
        if kind == "candle":
            return self._venue.on_candle
        if kind == "trade":
            return self._trade
        if kind == "quote":
            return self._quote
        return self._fee if kind == "fee" else None

    def _trade(
        self, symbol: str, price: float, quantity: float, _id: float, took: float, _at: float
    ) -> None:
        self._venue.on_trade(symbol, price, quantity, seller_took=None if took < 0 else took > 0)

    def _quote(
        self, symbol: str, bid: float, bid_size: float, ask: float, ask_size: float, _at: float
    ) -> None:
        self._venue.on_quote(symbol, bid, ask, bid_size, ask_size)

    def _fee(self, symbol: str, rate: float, price: float, _c: float, _d: float, _e: float) -> None:
        self._venue.on_funding(symbol, rate, price or None)


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

    def events(self) -> Iterator[MarketEvent]:
        return self._feed.events(self)
