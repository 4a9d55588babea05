"""From the files of one symbol to its recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.errors import ConfigError
from holdfast.marketdata import DataError
from holdfast.marketdata.events import Event
from holdfast.marketdata.files import Files, first_event
from holdfast.marketdata.frames import is_feed
from holdfast.marketdata.records import FundingRate
from holdfast.marketdata.rows import Candle, TradeRow
from holdfast.transports.sim import Market

from .candle_recording import of_candles
from .funding import Fees, no_fees
from .recording import Recording
from .tick_recording import of_ticks


def read(market: Market, *paths: Path, bars: Sequence[str] = (), fees: Fees = no_fees) -> Recording:
    """Read and check what is recorded of one market: candles, or trades, quotes or both, or a raw
    feed; each in one file or in several that follow one another, given in any order.

    :param bars: names of the lengths that a bot is to hear of.
    :param fees: funding fees that come due meanwhile.
    :raises DataError: a file can not be used, or two of a kind overlap; names the line.
    :raises ConfigError: files that do not go together.
    """
    kinds: dict[str, list[tuple[int, Path]]] = {}
    for path in paths:
        first = first_event(path, name=market.name)
        if first is None:
            raise DataError(f"{path}: holds no data")
        kinds.setdefault(_kind(path, first), []).append((first.time_ms, path))
    if len(kinds) > 1 and set(kinds) != {"trades", "quotes"}:
        raise ConfigError(
            f"data: {market.name} has {' and '.join(kinds)}; give either candles, or trades and "
            "quotes, or a raw feed: each tells the whole market"
        )
    series = {
        kind: Files([path for _, path in sorted(found)], name=market.name)
        for kind, found in kinds.items()
    }
    if "candles" in series:
        source = series["candles"]
        return of_candles(market.symbol, _candles(source), source=source, bars=bars, fees=fees)
    return of_ticks(market.symbol, list(series.values()), bars=bars, fees=fees)


def _kind(path: Path, first: Event) -> str:
    """:raises DataError: it is nothing that could be traded on."""
    if isinstance(first, FundingRate):
        raise DataError(f"{path}: holds funding rates; give them by --funding")
    if isinstance(first, Candle):
        return "candles"
    if is_feed(path):
        return "a raw feed"
    return "trades" if isinstance(first, TradeRow) else "quotes"


def _candles(source: Files) -> Iterator[tuple[int, Candle]]:
    for number, event in source.events():
        if not isinstance(event, Candle):
            raise DataError(f"{source.place(number)}: this is no candle")
        yield number, event
