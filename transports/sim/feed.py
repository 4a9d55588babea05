"""Prices for a served venue: recorded data or a seeded walk, at a pace of its own.

Recorded times are moved so that the data begins now, and the gaps between them are divided
by the speed; what is traded carries the venue's own time. What lies before the beginning
(`history_ms`) is put on the tapes as the past, so a bot that asks for the last candles gets
them. The past is never compressed: a minute of it is a minute.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.marketdata import random_walk, ticks

from .market import MarketData
from .rules import Market
from .tape import MINUTE_MS

START_PRICES: Final = {"BTCUSDT": "64000", "ETHUSDT": "3200", "SOLUSDT": "150"}
"""Where prices stand before the first tick, and what a walk keeps near to."""
PAST_TICK_MS: Final = 15_000
"""Of the past of a walk: four to a minute are enough for its candles."""
_YIELD_EVERY: Final = 50
"""Ticks that are late are taken at once, but never so many without a pause."""


class FeedTick(NamedTuple):
    """A trade of others."""

    time_ms: int
    symbol: str
    price: Decimal
    quantity: Decimal


def walk(
    seed: int, markets: Mapping[str, Market], prices: Mapping[str, Decimal], interval_ms: int
) -> Iterator[FeedTick]:
    """Endless: every market takes a small step each interval, the same for the same seed."""
    return _in_time(
        _named(
            name,
            random_walk(
                seed * len(prices) + number,
                price=price,
                price_step=markets[name].price_step,
                interval_ms=interval_ms,
            ),
        )
        for number, (name, price) in enumerate(prices.items())
    )


def recorded(files: Mapping[str, Path], markets: Mapping[str, Market]) -> Iterator[FeedTick]:
    """The trades or candles of a file for each market, once.

    :raises DataError: a file can not be used; later, while it is read, a line of it.
    """
    return _in_time([_on_tick(name, path, markets[name]) for name, path in files.items()])


def _named(name: str, source: Iterable[tuple[int, Decimal, Decimal]]) -> Iterator[FeedTick]:
    return (FeedTick(time_ms, name, price, quantity) for time_ms, price, quantity in source)


def _on_tick(name: str, path: Path, market: Market) -> Iterator[FeedTick]:
    """Off the tick, as another venue's data may be, a price is moved to the nearest one."""
    step = market.price_step
    source = ticks(path)  # which looks at the file at once
    return (
        FeedTick(
            time_ms,
            name,
            price if not price % step else max(step, (price / step).quantize(Decimal(1)) * step),
            quantity,
        )
        for time_ms, price, quantity in source
    )


def _in_time(sources: Iterable[Iterator[FeedTick]]) -> Iterator[FeedTick]:
    return heapq.merge(*sources, key=lambda tick: tick.time_ms)


def remember(
    market: MarketData, feed: Iterator[FeedTick], history_ms: int, now_ms: int
) -> FeedTick | None:
    """Put the first `history_ms` of a feed on the tapes, as what was before `now_ms`.

    Minutes of the data stay minutes of the venue's clock.

    :returns: the first tick that is not of the past; None: there is none.
    """
    first = next(feed, None)
    if first is None or history_ms <= 0:
        return first
    start_ms = first.time_ms + history_ms
    start_ms += (now_ms - start_ms) % MINUTE_MS
    before: dict[str, Decimal] = {}
    tick: FeedTick | None = first
    while tick is not None and tick.time_ms < start_ms:
        fell = tick.price < before.get(tick.symbol, tick.price)
        market.past(
            tick.symbol,
            now_ms - (start_ms - tick.time_ms),
            tick.price,
            tick.quantity,
            seller_took=fell,
        )
        before[tick.symbol] = tick.price
        tick = next(feed, None)
    return tick


async def play(
    market: MarketData, feed: Iterable[FeedTick], *, speed: float = 1.0, spread: int = 1
) -> None:
    """Let the market trade what the feed says, until it ends.

    :param speed: 60: a minute of the data in a second.
    :param spread: ticks between the best bid and the best ask.
    """
    loop = asyncio.get_running_loop()
    began, first_ms, late = loop.time(), None, 0
    for tick in feed:
        if first_ms is None:
            first_ms = tick.time_ms
        wait_seconds = began + (tick.time_ms - first_ms) / 1000 / speed - loop.time()
        late = 0 if wait_seconds > 0 else late + 1
        if wait_seconds > 0 or late % _YIELD_EVERY == 0:
            await asyncio.sleep(max(0.0, wait_seconds))
        market.trade(tick.symbol, tick.price, tick.quantity, spread=spread)
