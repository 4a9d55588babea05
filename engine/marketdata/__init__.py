"""Recorded market data as plain iterators, oldest first.

`ticks("BTCUSDT-aggTrades-2025-05.zip")` yields `Tick(time_ms, price, quantity)`;
`bars("BTCUSDT-1m.csv.gz")` yields `Bar`s. Understood are Binance's public kline,
trade and aggTrade dumps (CSV or zip, with or without a header line), freqtrade's
feather files, plain OHLCV as CSV (.gz too) or Parquet; `random_walk(seed)` needs no
file. What is wrong in a file is told with its name and line. `events.events` is the fast way in of
backtests, as floats: it reads quotes, funding rates and raw feeds, too.
"""

from __future__ import annotations

from .records import Bar, DataError, Tick
from .source import bars, ticks
from .walk import random_walk

__all__ = ["Bar", "DataError", "Tick", "bars", "random_walk", "ticks"]
