"""ccxt, synchronous: REST alone."""

from __future__ import annotations

from typing import Any

import ccxt
from ccxt_unified import Unified, options
from trading_day import run


class CcxtRest(Unified):
    has_streams = False

    async def open(self) -> None:
        self.exchange = ccxt.binanceusdm(options(self.url, self.key, self.secret))
        self.exchange.load_markets()

    async def call(self, name: str, *arguments: Any, **terms: Any) -> Any:
        return getattr(self.exchange, name)(*arguments, **terms)


if __name__ == "__main__":
    run(CcxtRest)
