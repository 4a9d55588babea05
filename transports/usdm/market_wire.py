"""Binance's USDⓈ-M market streams and klines read into the values of the market port.

Prices become floats here, once (`holdfast.market` says why). A frame that lacks a field or
has it in another type is a `msgspec.DecodeError`; frames of other kinds are passed over.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from holdfast.market import INTERVALS, Bar, MarketEvent, Quote, Trade

from .wire import Unified


class _Kline(msgspec.Struct, frozen=True):
    """`k` of a kline frame; `x` says that the bar has ended ("Kline/Candlestick Streams")."""

    t: int
    i: str
    o: float
    h: float
    l: float  # noqa: E741
    c: float
    v: float
    x: bool


class _KlineFrame(msgspec.Struct, frozen=True, tag_field="e", tag="kline"):
    s: str
    k: _Kline


class _TradeFrame(msgspec.Struct, frozen=True, tag_field="e", tag="aggTrade"):
    s: str
    a: int
    p: float
    q: float
    T: int
    m: bool


class _QuoteFrame(msgspec.Struct, frozen=True, tag_field="e", tag="bookTicker"):
    s: str
    b: float
    B: float
    a: float
    A: float
    T: int


class _MarkFrame(msgspec.Struct, frozen=True, tag_field="e", tag="markPriceUpdate"):
    s: str


class _Wrapped(msgspec.Struct, frozen=True):
    """A frame of `/stream`, which names the stream it belongs to."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()


_wrapped = msgspec.json.Decoder(_Wrapped)
_frame: msgspec.json.Decoder[_KlineFrame | _TradeFrame | _QuoteFrame | _MarkFrame] = (
    msgspec.json.Decoder(_KlineFrame | _TradeFrame | _QuoteFrame | _MarkFrame, strict=False)
)
_rows = msgspec.json.Decoder(list[list[Any]])


class Alive(NamedTuple):
    """A frame that only shows that a symbol's stream is alive.

    :ivar interval_ms, time_ms: of the bar that goes on, if it is of one: its length, and when it
        began; else 0.
    """

    symbol: str
    interval_ms: int = 0
    time_ms: int = 0


def stream_names(venue_names: list[str], *, intervals: tuple[str, ...], trades: bool) -> list[str]:
    """Streams of bars and trades, and the mark price, which speaks every second however quiet
    the market is: a symbol that says nothing at all is a stream that has died."""
    names = [name.lower() for name in venue_names]
    return [
        *(f"{name}@kline_{interval}" for name in names for interval in intervals),
        *(f"{name}@aggTrade" for name in names if trades),
        *(f"{name}@markPrice@1s" for name in names),
    ]


def read_market_frame(frame: str | bytes, unified: Unified) -> MarketEvent | Alive | None:
    """The event in a frame; `Alive` for what is none yet, None for what is none at all.

    :raises msgspec.DecodeError: not readable.
    """
    wrapped = _wrapped.decode(frame)
    if not wrapped.stream:
        return None  # the answer to a subscription
    read = _frame.decode(wrapped.data)
    symbol = unified(read.s)
    match read:
        case _KlineFrame(k=k):
            interval_ms = INTERVALS.get(k.i)
            if interval_ms is None:
                return Alive(symbol)
            if not k.x:
                return Alive(symbol, interval_ms, k.t)
            return Bar(symbol, k.t, interval_ms, k.o, k.h, k.l, k.c, k.v)
        case _TradeFrame():
            return Trade(symbol, read.T, read.a, read.p, read.q, read.m)
        case _QuoteFrame():
            return Quote(symbol, read.T, read.b, read.B, read.a, read.A)
        case _MarkFrame():
            return Alive(symbol)


CLOCK_MARGIN_MS: Final = 5000
"""More than our clock may differ from the venue's while anybody trades
(`links.max_clock_skew_seconds`, 1 s by default)."""
_ROW_FIELDS: Final = 7
"""Open time, open, high, low, close, volume, close time; more follow ("Kline Data")."""


class Klines(NamedTuple):
    """
    :ivar ended: bars, oldest first.
    :ivar going_ms: when the one began that goes on, as far as anybody can tell; None: the answer
        has none.
    """

    ended: list[Bar]
    going_ms: int | None


def read_klines(body: bytes, *, symbol: str, interval_ms: int, now_ms: int) -> Klines:
    """The bars of a klines answer.

    The venue tells the one that goes on as well, as the last. That one has ended stands fast if
    a later one has begun, whatever our clock shows; the last one has only if it should have
    ended so long ago (`now_ms`) that no wrong clock accounts for it. A bar that is taken for
    ended before it has keeps the prices of that moment for ever.

    :raises msgspec.DecodeError: not readable.
    """
    bars = []
    for row in _rows.decode(body):
        if len(row) < _ROW_FIELDS:
            raise msgspec.ValidationError(f"a kline of {len(row)} fields")
        try:
            time_ms = int(row[0])
            numbers = [float(value) for value in row[1:6]]
        except (TypeError, ValueError) as error:
            raise msgspec.ValidationError(f"a kline that is none: {error}") from None
        bars.append(Bar(symbol, time_ms, interval_ms, *numbers))
    bars.sort(key=lambda bar: bar.time_ms)
    if bars and bars[-1].time_ms + interval_ms + CLOCK_MARGIN_MS > now_ms:
        return Klines(bars[:-1], bars[-1].time_ms)
    return Klines(bars, None)
