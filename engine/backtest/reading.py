"""From a file, or from files of one symbol, to its recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from holdfast.errors import ConfigError
from holdfast.marketdata import DataError
from holdfast.marketdata.events import Recorded, events
from holdfast.marketdata.frames import is_feed
from holdfast.marketdata.records import FundingRate
from holdfast.marketdata.rows import Candle, TradeRow
from holdfast.transports.sim import Market

from .candle_recording import of_candles
from .funding import Fees, no_fees
from .recording import Recording
from .tick_recording import Source, of_ticks


def read(market: Market, *paths: Path, bars: Sequence[str] = (), fees: Fees = no_fees) -> Recording:
    """Read and check what is recorded of one market: a file of candles, or one of trades, one of
    quotes or both, or a raw feed.

    :param bars: names of the lengths that a bot is to hear of.
    :param fees: funding fees that come due meanwhile.
    :raises DataError: a file can not be used; names the line.
    :raises ConfigError: files that do not go together.
    """
    kinds: dict[str, Path] = {}
    sources: list[Source] = []
    for path in paths:
        recorded = events(path, name=market.name)
        first = next(recorded, None)
        if first is None:
            raise DataError(f"{path}: holds no data")
        kind = _kind(path, first)
        if kind in kinds:
            raise ConfigError(
                f"data: {market.name} has {kind} in {kinds[kind]} and in {path}; put them into one"
            )
        kinds[kind] = path
        sources.append(Source(path, chain((first,), recorded)))
    if len(kinds) > 1 and set(kinds) != {"trades", "quotes"}:
        raise ConfigError(
            f"data: {market.name} has {' and '.join(kinds)}; give either candles, or trades and "
            "quotes, or a raw feed: each tells the whole market"
        )
    if "candles" in kinds:
        (source,) = sources
        return of_candles(market.symbol, _candles(source), source=source.path, bars=bars, fees=fees)
    return of_ticks(market.symbol, sources, bars=bars, fees=fees)


def _kind(path: Path, first: Recorded) -> str:
    """:raises DataError: it is nothing that could be traded on."""
    if isinstance(first.event, FundingRate):
        raise DataError(f"{path}: holds funding rates; give them by --funding")
    if is_feed(path):
        return "a raw feed"
    if isinstance(first.event, Candle):
        return "candles"
    return "trades" if isinstance(first.event, TradeRow) else "quotes"


def _candles(source: Source) -> Iterator[tuple[int, Candle]]:
    for line, event in source.events:
        assert isinstance(event, Candle), "a table has one layout"
        yield line, event
