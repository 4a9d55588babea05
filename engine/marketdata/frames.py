"""Trades, best prices and candles out of the recorded frames of Binance's market streams.

One frame a line, as it came: bare or in the wrapper of a combined stream, with or without the time
of its receipt before it (a number and a space). What is read is `trade` or `aggTrade` (whichever
comes first in the file; the other tells the same again) and `bookTicker`; where there is neither,
`kline`, of the shortest interval that there is, once it is closed. Names of the fields: "Aggregate
Trade Streams", "Individual Symbol Book Ticker Streams", "Kline/Candlestick Streams" (USDⓈ-M
futures).

The order is that of the file: it is how they were received. Streams are not in step with each
other, so a trade may follow the change of the book that it made; its time is then in the past,
and that is what a bot would have heard, too.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec

from holdfast.market import INTERVALS

from .records import DataError
from .rows import END_MS, LEAST, MOST, Candle, QuoteRow, TradeRow

FRAMES: Final = (".jsonl.gz", ".jsonl", ".gz")
"""How the names of such files end."""


_NOTHING: Final = msgspec.Raw(b"")


_Moment = Annotated[int, msgspec.Meta(gt=0, lt=END_MS)]


class _Frame(msgspec.Struct):
    """The wrapper of a combined stream; a bare frame has no `data`."""

    data: msgspec.Raw = _NOTHING


class _Head(msgspec.Struct):
    e: str = ""
    s: str = ""


class _Trade(msgspec.Struct):
    p: str
    q: str
    T: _Moment
    m: bool
    t: int = -1
    a: int = -1


class _State(msgspec.Struct):
    i: str
    x: bool = True


class _OfState(msgspec.Struct):
    """What is asked of every frame of a candle; few are of one that has closed."""

    k: _State


class _Candle(msgspec.Struct):
    t: _Moment
    i: str
    o: str
    h: str
    l: str  # noqa: E741 - the venue's letters
    c: str
    v: str
    x: bool


class _Kline(msgspec.Struct):
    k: _Candle


class _BookTicker(msgspec.Struct):
    u: int
    b: str
    B: str
    a: str
    A: str
    T: _Moment


_frame = msgspec.json.Decoder(_Frame)
_head = msgspec.json.Decoder(_Head)
_trade = msgspec.json.Decoder(_Trade)
_of_state = msgspec.json.Decoder(_OfState)
_kline = msgspec.json.Decoder(_Kline)
_book_ticker = msgspec.json.Decoder(_BookTicker)


def is_feed(path: Path) -> bool:
    """By its name."""
    name = path.name.lower()
    return name.endswith(FRAMES) and not name.endswith(".csv.gz")


def events(file: Path, name: str) -> Iterator[tuple[int, TradeRow | QuoteRow | Candle]]:
    """Those of one symbol, each with the number of its line.

    :param name: of the symbol at the venue: `BTCUSDT`.
    :raises DataError: naming file and line; also when there is nothing of that symbol.
    """
    kind, others, found, candles = "", set[str](), False, _Candles(file)
    for line, text in _lines(file):
        try:
            content = _content(text)
            head = _head.decode(content)
            if head.e == "bookTicker":
                event: TradeRow | QuoteRow = _quote(content)
            elif head.e in ("trade", "aggTrade"):
                kind = kind or head.e
                if head.e != kind:
                    continue
                event = _of_trade(content)
            else:
                if head.e == "kline" and head.s == name and not found:
                    candles.take(line, content)
                continue
        except (msgspec.DecodeError, ValueError) as error:
            raise DataError(f"{file}:{line}: {error}") from None
        if head.s != name:
            others.add(head.s)
            continue
        if isinstance(event, TradeRow) and not event.quantity:
            continue  # the venue's own bookkeeping (insurance fund), at no price
        found = True
        yield line, event
    if not found and candles.interval:
        yield from candles
    elif not found:
        there = ""
        if others:
            there = f"; there is {', '.join(sorted(others))}: name it, {min(others)}={file.name}"
        raise DataError(f"{file}: holds no trades, no best prices and no candles of {name}{there}")


class _Candles:
    """Closed candles of the shortest interval that was told so far, kept until it is known that
    the file has nothing finer: 56 bytes for what it tells in many lines. That one of them is
    none is an error only then, too.

    :ivar interval: empty while none was told.
    """

    def __init__(self, file: Path) -> None:
        self.interval = ""
        self._file = file
        self._rows = array("d")
        self._wrong: DataError | None = None

    def take(self, line: int, content: bytes | msgspec.Raw) -> None:
        """:raises msgspec.DecodeError: it is no frame of a candle."""
        state = _of_state.decode(content).k
        interval = state.i
        if interval != self.interval:
            if self.interval and _length(interval) >= _length(self.interval):
                return
            self.interval, self._rows, self._wrong = interval, array("d"), None
        if not state.x or self._wrong is not None:
            return
        try:
            self._keep(line, _kline.decode(content).k)
        except (msgspec.DecodeError, ValueError) as error:
            self._wrong = DataError(f"{self._file}:{line}: {error}")

    def _keep(self, line: int, told: _Candle) -> None:
        opened, high, low, close, volume = map(float, (told.o, told.h, told.l, told.c, told.v))
        if not (
            LEAST <= low <= opened <= high <= MOST and low <= close <= high and 0 <= volume <= MOST
        ):
            raise ValueError(f"{told} is no candle")
        self._rows.extend((line, told.t, opened, high, low, close, volume))

    def __iter__(self) -> Iterator[tuple[int, Candle]]:
        """:raises DataError: after those before it."""
        fields = iter(self._rows)
        for line, time_ms, *prices in zip(*[fields] * 7, strict=True):
            yield int(line), Candle(int(time_ms), *prices)
        if self._wrong is not None:
            raise self._wrong


def _length(interval: str) -> int:
    """Of a name that is not known, the longest: a candle of a month has no length."""
    return INTERVALS.get(interval, sys.maxsize)


def _content(text: bytes) -> bytes | msgspec.Raw:
    """The frame itself, without receipt time and wrapper."""
    if text[:1].isdigit():
        text = text.partition(b" ")[2]
    frame = _frame.decode(text)
    return frame.data if bytes(frame.data) else text


def _of_trade(content: bytes | msgspec.Raw) -> TradeRow:
    trade = _trade.decode(content)
    price, quantity = float(trade.p), float(trade.q)
    if not (0 <= price <= MOST and 0 <= quantity <= MOST and (price or not quantity)):
        raise ValueError(f"price {trade.p}, quantity {trade.q} are no trade")
    return TradeRow(trade.T, price, quantity, max(trade.t, trade.a), trade.m)


def _quote(content: bytes | msgspec.Raw) -> QuoteRow:
    best = _book_ticker.decode(content)
    quote = QuoteRow(
        best.T, float(best.b), float(best.B), float(best.a), float(best.A), best.u
    )  # fmt: skip
    _, bid, bid_quantity, ask, ask_quantity, _ = quote
    if not (
        LEAST <= bid <= ask <= MOST and 0 <= bid_quantity <= MOST and 0 <= ask_quantity <= MOST
    ):
        raise ValueError(f"bid {best.b} ({best.B}), ask {best.a} ({best.A}) are no best prices")
    return quote


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    line = 0
    try:
        with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as raw:
            for text in raw:
                line += 1
                if text.strip():
                    yield line, text
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{file}:{line + 1}: can not be read on: {error}") from None
