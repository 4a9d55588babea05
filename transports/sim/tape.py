"""What the market of one symbol did, as anybody could see it: trades and candles.

The tape is written by whatever moves the price (a feed, the control API) and read by the
market endpoints and streams. Executions of our own orders are not on it: they do not move
the simulated market, so they are no news of it.

Candles are kept by the minute and put together when a longer interval is asked for. A minute
without a trade is a flat candle at the last price, as at Binance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from holdfast.market import INTERVALS as BAR_LENGTHS

from .ledger import ZERO

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS
_MONDAY_MS: Final = 4 * DAY_MS
"""1970-01-05, from which Binance's weeks count."""
MAX_TRADES: Final = 10_000
MAX_MINUTES: Final = 50_000

INTERVALS: Final = {
    **BAR_LENGTHS,
    "3d": 3 * DAY_MS,
    "1w": WEEK_MS,
    "1M": 31 * DAY_MS,
}
"""Binance's intervals ("Kline/Candlestick chart intervals"); a month by the calendar."""


class PublicTrade(NamedTuple):
    """A trade of others.

    :ivar seller_took: the buyer was the maker (Binance's `m`).
    """

    trade_id: int
    time_ms: int
    price: Decimal
    quantity: Decimal
    seller_took: bool


class Candle(msgspec.Struct, gc=False):
    """`taken` and `taken_quote` are the part that buyers took."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = ZERO
    quote_volume: Decimal = ZERO
    trades: int = 0
    taken: Decimal = ZERO
    taken_quote: Decimal = ZERO
    first_id: int = -1
    last_id: int = -1

    def add(self, trade: PublicTrade) -> None:
        price, quantity = trade.price, trade.quantity
        quote = price * quantity
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        self.volume += quantity
        self.quote_volume += quote
        self.trades += 1
        if not trade.seller_took:
            self.taken += quantity
            self.taken_quote += quote
        if self.first_id < 0:
            self.first_id = trade.trade_id
        self.last_id = trade.trade_id


class Tape:
    """The trades and candles of one market, the newest of each."""

    def __init__(self) -> None:
        self.trades: deque[PublicTrade] = deque(maxlen=MAX_TRADES)
        self._minutes: deque[Candle] = deque(maxlen=MAX_MINUTES)
        self._count = 0

    @property
    def last(self) -> PublicTrade | None:
        return self.trades[-1] if self.trades else None

    def trade(
        self, time_ms: int, price: Decimal, quantity: Decimal, *, seller_took: bool
    ) -> PublicTrade:
        """Write one down. A time before the last one's counts as that (a clock set back)."""
        self._count += 1
        trade = PublicTrade(self._count, time_ms, price, quantity, seller_took)
        self.trades.append(trade)
        self._roll(time_ms)
        if self._minutes:
            candle = self._minutes[-1]
            if not candle.trades and candle.open_ms == minute_of(time_ms):
                candle.open = candle.high = candle.low = price
        else:
            candle = Candle(minute_of(time_ms), price, price, price, price)
            self._minutes.append(candle)
        candle.add(trade)
        return trade

    def since(self, trade_id: int) -> Iterator[PublicTrade]:
        """Trades with at least that number, as far as they are kept."""
        first = self._count - len(self.trades) + 1
        return islice(self.trades, max(0, trade_id - first), None)

    def candles(
        self, interval: str, now_ms: int, *, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Candle]:
        """Candles that opened from `start_ms` to `end_ms`, ascending: the first `limit` of
        them, or without a start the last.

        :param interval: one of `INTERVALS`.
        """
        last_ms = now_ms if end_ms is None else min(end_ms, now_ms)
        if start_ms is None:
            first_ms = opening(interval, last_ms) - limit * INTERVALS[interval]
        else:
            first_ms = opening(interval, start_ms)
        through_ms = closing(interval, opening(interval, last_ms))
        merged = [
            candle
            for candle in _merged(interval, self._between(first_ms, through_ms, now_ms))
            if (start_ms is None or candle.open_ms >= start_ms) and candle.open_ms <= last_ms
        ]
        return merged[-limit:] if start_ms is None else merged[:limit]

    def candle(self, interval: str, open_ms: int, now_ms: int) -> Candle | None:
        """The one that opened then, as far as it has come."""
        found = self.candles(interval, now_ms, start_ms=open_ms, end_ms=open_ms, limit=1)
        return found[0] if found and found[0].open_ms == open_ms else None

    def day(self, now_ms: int) -> Candle | None:
        """The last 24 hours as one candle, to the minute; None before the first trade."""
        first_ms = minute_of(now_ms) - DAY_MS + MINUTE_MS
        return _merge(first_ms, self._between(first_ms, now_ms, now_ms))

    def _between(self, first_ms: int, through_ms: int, now_ms: int) -> Iterator[Candle]:
        """The minutes that opened in that time; they follow each other without a hole."""
        self._roll(now_ms)
        if not self._minutes:
            return iter(())
        base_ms = self._minutes[0].open_ms
        return islice(
            self._minutes,
            max(0, -((base_ms - first_ms) // MINUTE_MS)),
            max(0, (through_ms - base_ms) // MINUTE_MS + 1),
        )

    def _roll(self, now_ms: int) -> None:
        """Begin the minute of `now_ms`, with flat candles for those in which nothing was."""
        if not self._minutes:
            return
        last = self._minutes[-1]
        now_open = minute_of(now_ms)
        first = max(last.open_ms + MINUTE_MS, now_open - MAX_MINUTES * MINUTE_MS)
        price = last.close
        for open_ms in range(first, now_open + 1, MINUTE_MS):
            self._minutes.append(Candle(open_ms, price, price, price, price))


def minute_of(time_ms: int) -> int:
    return time_ms - time_ms % MINUTE_MS


def opening(interval: str, time_ms: int) -> int:
    """When the candle of that moment opened."""
    if interval == "1M":
        month = datetime.fromtimestamp(time_ms / 1000, UTC).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        return round(month.timestamp() * 1000)
    length = INTERVALS[interval]
    offset = _MONDAY_MS if interval == "1w" else 0
    return (time_ms - offset) // length * length + offset


def closing(interval: str, open_ms: int) -> int:
    """The last millisecond of the candle that opened then."""
    if interval == "1M":
        return opening(interval, open_ms + 31 * DAY_MS) - 1
    return open_ms + INTERVALS[interval] - 1


def _merged(interval: str, minutes: Iterable[Candle]) -> Iterator[Candle]:
    if interval == "1m":
        yield from minutes
        return
    open_ms, group = -1, list[Candle]()
    close_ms = -1
    for minute in minutes:
        if minute.open_ms > close_ms:
            if (whole := _merge(open_ms, group)) is not None:
                yield whole
            open_ms = opening(interval, minute.open_ms)
            close_ms, group = closing(interval, open_ms), []
        group.append(minute)
    if (whole := _merge(open_ms, group)) is not None:
        yield whole


def _merge(open_ms: int, minutes: Iterable[Candle]) -> Candle | None:
    whole: Candle | None = None
    for minute in minutes:
        if whole is None:
            whole = Candle(open_ms, minute.open, minute.high, minute.low, minute.close)
        whole.high = max(whole.high, minute.high)
        whole.low = min(whole.low, minute.low)
        whole.close = minute.close
        whole.volume += minute.volume
        whole.quote_volume += minute.quote_volume
        whole.trades += minute.trades
        whole.taken += minute.taken
        whole.taken_quote += minute.taken_quote
        if whole.first_id < 0:
            whole.first_id = minute.first_id
        whole.last_id = max(whole.last_id, minute.last_id)
    return whole
