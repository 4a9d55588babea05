"""Binance's USDⓈ-M market streams, made of the tapes and shown books.

`<symbol>@aggTrade`, `@trade`, `@bookTicker`, `@depth`, `@depth5|10|20` (`@100ms`, `@250ms`,
`@500ms`), `@kline_<interval>`, `<pair>_perpetual@continuousKline_<interval>`, `@markPrice`
(`@1s`), `@miniTicker`, `@ticker`, `@forceOrder`, and of all markets `!bookTicker`,
`!markPrice@arr`, `!miniTicker@arr`, `!ticker@arr`, `!forceOrder@arr`. Trades, best prices and
liquidations are told as they happen, the rest at the rates that Binance gives for it, and
only while somebody listens. A name that says nothing is subscribed to and stays silent, as
there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from copy import copy
from typing import Any, Final

import msgspec

from .api import Account
from .book import Book
from .depth import Change
from .market_api import best_json, day_json, levels_json, mark_json
from .streams import Hub
from .tape import INTERVALS, Candle, PublicTrade, closing, opening
from .wire import text

TICK_MS: Final = 50
_encode: Final = msgspec.json.Encoder().encode
_KLINE: Final = re.compile(r"(?:kline|continuousKline)_(\w+)")
_DEPTH: Final = re.compile(r"depth(5|10|20)?(?:@(100ms|250ms|500ms))?")
_EVERY_MS: Final = {"100ms": 100, None: 250, "250ms": 250, "500ms": 500}

Frame = Callable[[int], list[dict[str, Any]]]
"""`now_ms -> events`: what a timed stream says now, perhaps nothing."""


class _Timed:
    """A stream that says something every so often."""

    __slots__ = ("due_ms", "every_ms", "frame", "together")

    def __init__(self, every_ms: int, frame: Frame, *, together: bool = False) -> None:
        self.every_ms = every_ms
        self.frame = frame
        self.due_ms = 0
        self.together = together
        """All events in one array."""


class MarketStreams:
    """
    :param account: whose market data is told.
    """

    def __init__(self, account: Account, hub: Hub) -> None:
        self._account = account
        self._venue = account.venue
        self._market = account.market
        self._hub = hub
        self._timed: dict[str, _Timed] = {}
        self._best: dict[str, int] = {}
        """Markets whose best prices somebody wants, with how many streams want them."""
        self._told: dict[str, tuple[str, ...]] = {}
        self._market.on_trade = self.on_trade
        self._market.on_book = self.on_book
        hub.on_first = self._begin
        hub.on_last = self._end

    async def run(self) -> None:
        """Tell the timed streams until cancelled."""
        while True:
            await asyncio.sleep(TICK_MS / 1000)
            self.tick()

    def tick(self) -> None:
        """Tell what is due."""
        now_ms = self._venue.machine_ns() // 1_000_000
        for name, timed in tuple(self._timed.items()):
            if now_ms < timed.due_ms:
                continue
            timed.due_ms = (now_ms // timed.every_ms + 1) * timed.every_ms
            events = timed.frame(self._venue.now_ms())
            if timed.together and events:
                self._hub.publish(name, _encode(events))
            else:
                for event in events:
                    self._hub.publish(name, _encode(event))
        for symbol in tuple(self._best):
            self._market.book(symbol)

    # --- as it happens -------------------------------------------------------------

    def on_trade(self, symbol: str, trade: PublicTrade) -> None:
        lower = symbol.lower()
        common = {"E": self._venue.now_ms(), "s": symbol}
        if (name := f"{lower}@aggTrade") in self._hub:
            number = trade.trade_id
            event = {
                "e": "aggTrade",
                **common,
                "a": number,
                "p": text(trade.price),
                "q": text(trade.quantity),
                "f": number,
                "l": number,
                "T": trade.time_ms,
                "m": trade.seller_took,
            }
            self._hub.publish(name, _encode(event))
        if (name := f"{lower}@trade") in self._hub:
            event = {
                "e": "trade",
                **common,
                "t": trade.trade_id,
                "p": text(trade.price),
                "q": text(trade.quantity),
                "T": trade.time_ms,
                "X": "MARKET",
                "m": trade.seller_took,
            }
            self._hub.publish(name, _encode(event))
        if symbol in self._best:
            self._market.book(symbol)

    def on_book(self, symbol: str, change: Change) -> None:
        """A shown book was looked at and is different: tell the diffs, and new best prices."""
        lower = symbol.lower()
        now_ms, shown = self._venue.now_ms(), self._market.book(symbol)
        frame: bytes | None = None
        for speed in ("", "@100ms", "@250ms", "@500ms"):
            if (name := f"{lower}@depth{speed}") in self._hub:
                frame = frame or _encode(
                    {
                        "e": "depthUpdate",
                        "E": now_ms,
                        "T": shown.changed_ms,
                        "s": symbol,
                        "U": change.before_id + 1,
                        "u": change.update_id,
                        "pu": change.before_id,
                        "b": levels_json(change.bids),
                        "a": levels_json(change.asks),
                    }
                )
                self._hub.publish(name, frame)
        if symbol not in self._best:
            return
        row = best_json(self._account, self._venue.books[symbol])
        best = (row["bidPrice"], row["bidQty"], row["askPrice"], row["askQty"])
        if self._told.get(symbol) == best:
            return
        self._told[symbol] = best
        ticker = _encode(
            {
                "e": "bookTicker",
                "u": shown.update_id,
                "s": symbol,
                "b": best[0],
                "B": best[1],
                "a": best[2],
                "A": best[3],
                "T": shown.changed_ms,
                "E": now_ms,
            }
        )
        for name in (f"{lower}@bookTicker", "!bookTicker"):
            self._hub.publish(name, ticker)

    def force_order(self, symbol: str, event: dict[str, Any]) -> None:
        """A liquidation."""
        frame = _encode(event)
        for name in (f"{symbol.lower()}@forceOrder", "!forceOrder@arr"):
            self._hub.publish(name, frame)

    # --- by the clock --------------------------------------------------------------

    def _begin(self, name: str) -> None:
        for symbol in self._wants_best(name):
            self._best[symbol] = self._best.get(symbol, 0) + 1
            self._told.pop(symbol, None)
        if (timed := self._understood(name)) is not None:
            self._timed[name] = timed

    def _end(self, name: str) -> None:
        self._timed.pop(name, None)
        for symbol in self._wants_best(name):
            self._best[symbol] -= 1
            if not self._best[symbol]:
                del self._best[symbol]

    def _wants_best(self, name: str) -> list[str]:
        if name == "!bookTicker":
            return list(self._venue.books)
        symbol, _, kind = name.partition("@")
        return (
            [symbol.upper()] if kind == "bookTicker" and symbol.upper() in self._venue.books else []
        )

    def _understood(self, name: str) -> _Timed | None:
        """How often that stream speaks, and what it says; None if it does not by the clock."""
        account = self._account
        match name:
            case "!markPrice@arr" | "!markPrice@arr@1s":
                every_ms = 1000 if name.endswith("@1s") else 3000
                return _Timed(every_ms, self._of_all(_mark_event), together=True)
            case "!miniTicker@arr":
                return _Timed(1000, self._of_all(_mini_event), together=True)
            case "!ticker@arr":
                return _Timed(1000, self._of_all(_ticker_event), together=True)
        symbol, _, kind = name.partition("@")
        if kind.startswith("continuousKline_"):
            symbol = symbol.removesuffix("_perpetual")
        book = self._venue.books.get(symbol.upper())
        if book is None or symbol != symbol.lower():
            return None
        if kind in ("markPrice", "markPrice@1s"):
            every_ms = 1000 if kind.endswith("@1s") else 3000
            return _Timed(every_ms, lambda now_ms: _if_priced(_mark_event, account, book, now_ms))
        if kind == "miniTicker":
            return _Timed(500, lambda now_ms: _if_priced(_mini_event, account, book, now_ms))
        if kind == "ticker":
            return _Timed(500, lambda now_ms: _if_priced(_ticker_event, account, book, now_ms))
        if (found := _KLINE.fullmatch(kind)) is not None and found[1] in INTERVALS:
            return _Timed(250, _Klines(account, book, found[1], continuous=kind[0] == "c"))
        if (found := _DEPTH.fullmatch(kind)) is not None:
            every_ms = _EVERY_MS[found[2]]
            if found[1] is None:
                return _Timed(every_ms, lambda _now_ms: self._look(book))
            return _Timed(every_ms, self._partial(book, int(found[1])))
        return None

    def _of_all(self, event: _Event) -> Frame:
        def frame(now_ms: int) -> list[dict[str, Any]]:
            rows = []
            for book in self._venue.books.values():
                rows += _if_priced(event, self._account, book, now_ms)
            return rows

        return frame

    def _look(self, book: Book) -> list[dict[str, Any]]:
        self._market.book(book.market.name)  # which tells what is different
        return []

    def _partial(self, book: Book, levels: int) -> Frame:
        told = 0

        def frame(now_ms: int) -> list[dict[str, Any]]:
            nonlocal told
            shown = self._market.book(book.market.name)
            if shown.update_id == told:
                return []
            before, told = told or shown.update_id - 1, shown.update_id
            return [
                {
                    "e": "depthUpdate",
                    "E": now_ms,
                    "T": shown.changed_ms,
                    "s": book.market.name,
                    "U": before + 1,
                    "u": shown.update_id,
                    "pu": before,
                    "b": levels_json(shown.bids(levels)),
                    "a": levels_json(shown.asks(levels)),
                }
            ]

        return frame


_Event = Callable[[Account, Book, int], dict[str, Any]]


def _if_priced(event: _Event, account: Account, book: Book, now_ms: int) -> list[dict[str, Any]]:
    return [] if book.last is None else [event(account, book, now_ms)]


def _mark_event(account: Account, book: Book, now_ms: int) -> dict[str, Any]:
    row = mark_json(account, book)
    return {
        "e": "markPriceUpdate",
        "E": now_ms,
        "s": row["symbol"],
        "p": row["markPrice"],
        "i": row["indexPrice"],
        "P": row["estimatedSettlePrice"],
        "r": row["lastFundingRate"],
        "T": row["nextFundingTime"],
    }


def _mini_event(account: Account, book: Book, now_ms: int) -> dict[str, Any]:
    row = day_json(account, book)
    return {
        "e": "24hrMiniTicker",
        "E": now_ms,
        "s": row["symbol"],
        "c": row["lastPrice"],
        "o": row["openPrice"],
        "h": row["highPrice"],
        "l": row["lowPrice"],
        "v": row["volume"],
        "q": row["quoteVolume"],
    }


def _ticker_event(account: Account, book: Book, now_ms: int) -> dict[str, Any]:
    row = day_json(account, book)
    return {
        **_mini_event(account, book, now_ms),
        "e": "24hrTicker",
        "p": row["priceChange"],
        "P": row["priceChangePercent"],
        "w": row["weightedAvgPrice"],
        "Q": row["lastQty"],
        "O": row["openTime"],
        "C": row["closeTime"],
        "F": row["firstId"],
        "L": row["lastId"],
        "n": row["count"],
    }


class _Klines:
    """Tells the candle that is being made whenever it is different, and once that it is over."""

    def __init__(self, account: Account, book: Book, interval: str, *, continuous: bool) -> None:
        self._account = account
        self._name = book.market.name
        self._interval = interval
        self._continuous = continuous
        self._told: Candle | None = None

    def __call__(self, now_ms: int) -> list[dict[str, Any]]:
        tape, interval = self._account.market.tapes[self._name], self._interval
        candle = tape.candle(interval, opening(interval, now_ms), now_ms)
        if candle is None or candle == self._told:
            return []
        events = []
        told = self._told
        if told is not None and told.open_ms != candle.open_ms:
            over = tape.candle(interval, told.open_ms, now_ms)
            if over is not None:
                events.append(self._event(over, now_ms, over=True))
        self._told = copy(candle)  # the tape goes on writing in it
        events.append(self._event(candle, now_ms, over=False))
        return events

    def _event(self, candle: Candle, now_ms: int, *, over: bool) -> dict[str, Any]:
        head = (
            {"e": "continuous_kline", "E": now_ms, "ps": self._name, "ct": "PERPETUAL"}
            if self._continuous
            else {"e": "kline", "E": now_ms, "s": self._name}
        )
        body = {
            "t": candle.open_ms,
            "T": closing(self._interval, candle.open_ms),
            "s": self._name,
            "i": self._interval,
            "f": candle.first_id,
            "L": candle.last_id,
            "o": text(candle.open),
            "c": text(candle.close),
            "h": text(candle.high),
            "l": text(candle.low),
            "v": text(candle.volume),
            "n": candle.trades,
            "x": over,
            "q": text(candle.quote_volume),
            "V": text(candle.taken),
            "Q": text(candle.taken_quote),
            "B": "0",
        }
        if self._continuous:
            del body["s"]
        return {**head, "k": body}
