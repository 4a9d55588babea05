"""Which column means what, in tables that many programs have written.

Pure: a header or a first row goes in, a parser of rows comes out. Layouts without
a header are Binance's own (github.com/binance/binance-public-data, "Klines",
"AggTrades", "Trades", and for futures "bookTicker") and the plain six of OHLCV.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from .records import Bar, BestPrices, FundingRate, Tick
from .rows import END_MS, LEAST, MOST

Record = Bar | Tick | BestPrices | FundingRate
Row = Sequence[object]

_TIME: Final = (
    "timestamp", "time", "date", "datetime", "open_time", "opentime", "transact_time",
    "transaction_time", "calc_time", "fundingtime", "funding_time", "t", "ts",
)  # fmt: skip
_PRICE: Final = ("price", "p")
_QUANTITY: Final = ("quantity", "qty", "amount", "size", "q")
_NUMBER: Final = ("agg_trade_id", "aggregate_trade_id", "trade_id", "tradeid", "id", "a")
_TAKER: Final = ("is_buyer_maker", "isbuyermaker", "buyer_maker", "side", "taker_side", "m")
"""A flag that the seller took, or the side of the taker in words."""
_BEST: Final = (
    ("best_bid_price", "bid_price", "bid", "b"),
    ("best_bid_qty", "bid_quantity", "bid_qty", "bid_amount", "bid_size"),
    ("best_ask_price", "ask_price", "ask", "a"),
    ("best_ask_qty", "ask_quantity", "ask_qty", "ask_amount", "ask_size"),
)
_RATE: Final = ("last_funding_rate", "fundingrate", "funding_rate", "rate")
_MARK: Final = ("markprice", "mark_price")
_UPDATE: Final = ("update_id", "updateid", "u")
_OHLCV: Final = (("open", "o"), ("high", "h"), ("low", "l"), ("close", "c"), ("volume", "vol", "v"))

_KLINE_COLUMNS: Final = 12
_AGG_TRADE_COLUMNS: Final = (7, 8)  # futures; spot adds "best price match"
_TRADE_COLUMNS: Final = (6, 7)  # futures; spot likewise
_OHLCV_COLUMNS: Final = 6
_BOOK_TICKER_COLUMNS: Final = 7


class LayoutError(Exception):
    """The columns are not understood, or a value is no number; said in words."""


class Layout(NamedTuple):
    """`parse(row)` makes a record. `has_header` says whether the first row is names; `columns`
    where time, open, high, low, close, volume stand, or time, price, quantity, or time, bid, its
    quantity, ask, its quantity. `number` and `taker` say where the number of a trade (of a change
    of the best prices) and its taker stand; None: the file does not tell.
    """

    kind: type[Record]
    has_header: bool
    parse: Callable[[Row], Record]
    columns: Sequence[int]
    number: int | None = None
    taker: int | None = None

    @property
    def used(self) -> frozenset[int]:
        """All columns that mean something here."""
        return frozenset(c for c in (*self.columns, self.number, self.taker) if c is not None)


def detect(first_row: Row) -> Layout:
    """The layout of a table from its first row.

    :raises LayoutError: naming what was found and what is understood.
    """
    names = [str(cell).strip().lower().replace(" ", "_") for cell in first_row]
    if any(name and name[0].isalpha() and name not in ("true", "false", "nan") for name in names):
        return _named(names)
    count = len(first_row)
    flagged = names[-1] in ("true", "false")
    if count == _KLINE_COLUMNS:
        return _bars((0, 1, 2, 3, 4, 5), has_header=False)
    if flagged and count in _AGG_TRADE_COLUMNS and not _is_trade_dump(first_row):
        return _ticks((5, 1, 2), has_header=False, number=0, taker=6)
    if flagged and count in _TRADE_COLUMNS:
        return _ticks((4, 1, 2), has_header=False, number=0, taker=5)
    if count == _BOOK_TICKER_COLUMNS and not flagged:
        return _best((5, 1, 2, 3, 4), has_header=False, number=0)
    if count == _OHLCV_COLUMNS:
        return _bars((0, 1, 2, 3, 4, 5), has_header=False)
    raise LayoutError(
        f"{count} columns without names are none of Binance's klines (12), aggTrades (7 or 8), "
        "trades (6 or 7), bookTicker (7) or OHLCV (6); add a header line that names the columns"
    )


def _is_trade_dump(row: Row) -> bool:
    """Spot trades and futures aggTrades both have seven columns.

    Trades: id, price, qty, quote, *time*, flag, flag. AggTrades: id, price, qty, first
    id, last id, *time*, flag: the sixth is a flag in the one and a number in the other.
    """
    return str(row[5]).strip().lower() in ("true", "false")


def _named(names: list[str]) -> Layout:
    def find(choices: tuple[str, ...]) -> int | None:
        return next((names.index(choice) for choice in choices if choice in names), None)

    time = find(_TIME)
    ohlcv = [find(choices) for choices in _OHLCV]
    if time is not None and None not in ohlcv:
        return _bars((time, *(i for i in ohlcv if i is not None)), has_header=True)
    best = [find(choices) for choices in _BEST]
    if time is not None and None not in best:
        places = (time, *(i for i in best if i is not None))
        return _best(places, has_header=True, number=find(_UPDATE))
    rate, mark = find(_RATE), find(_MARK)
    if time is not None and rate is not None:
        return _funding((time, rate) if mark is None else (time, rate, mark))
    price, quantity = find(_PRICE), find(_QUANTITY)
    if time is not None and price is not None and quantity is not None:
        return _ticks(
            (time, price, quantity), has_header=True, number=find(_NUMBER), taker=find(_TAKER)
        )
    raise LayoutError(
        f"columns {', '.join(names)} hold neither candles (a time, open, high, low, close, volume) "
        "nor trades (a time, price, quantity) nor quotes (a time, bid_price, bid_quantity, "
        "ask_price, ask_quantity) nor funding rates (a time, funding_rate)"
    )


def _bars(columns: Sequence[int], *, has_header: bool) -> Layout:
    t, o, h, l, c, v = columns  # noqa: E741 - the field's letters

    def parse(row: Row) -> Bar:
        bar = Bar(
            milliseconds(row[t]),
            _price(row[o], "open"),
            _price(row[h], "high"),
            _price(row[l], "low"),
            _price(row[c], "close"),
            _size(row[v], "volume"),
        )
        if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
            raise LayoutError(
                f"open {bar.open}, close {bar.close} not between low {bar.low}, high {bar.high}"
            )
        return bar

    return Layout(Bar, has_header, parse, columns)


def _ticks(
    columns: Sequence[int],
    *,
    has_header: bool,
    number: int | None = None,
    taker: int | None = None,
) -> Layout:
    t, p, q = columns

    def parse(row: Row) -> Tick:
        return Tick(milliseconds(row[t]), _price(row[p], "price"), _size(row[q], "quantity"))

    return Layout(Tick, has_header, parse, columns, number, taker)


def _best(columns: Sequence[int], *, has_header: bool, number: int | None = None) -> Layout:
    t, b, bq, a, aq = columns

    def parse(row: Row) -> BestPrices:
        best = BestPrices(
            milliseconds(row[t]),
            _price(row[b], "bid"),
            _size(row[bq], "bid quantity"),
            _price(row[a], "ask"),
            _size(row[aq], "ask quantity"),
        )
        if best.bid > best.ask:
            raise LayoutError(f"the bid {best.bid} is above the ask {best.ask}")
        return best

    return Layout(BestPrices, has_header, parse, columns, number)


def _funding(columns: Sequence[int]) -> Layout:
    t, r, *marks = columns

    def parse(row: Row) -> FundingRate:
        rate = _number(row[r], "funding rate")
        if abs(rate) >= 1:
            raise LayoutError(f"funding rate: {row[r]!r} is no fraction of the position's worth")
        price = _price(row[marks[0]], "mark price") if marks and row[marks[0]] != "" else None
        return FundingRate(milliseconds(row[t]), rate, price)

    return Layout(FundingRate, True, parse, columns)


def whole_number(value: object, name: str) -> int:
    """:raises LayoutError: it is none."""
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        found = int(value)
        if found >= 0:
            return found
    number = _number(value, name)
    if number != int(number) or number < 0:
        raise LayoutError(f"{name}: {value!r} is no whole number")
    return int(number)


_SELLER_TOOK: Final = {
    "true": True, "1": True, "sell": True, "s": True,
    "false": False, "0": False, "buy": False, "b": False,
}  # fmt: skip


def seller_took(value: object) -> bool:
    """Who took, from a flag ("the buyer was the maker") or the taker's side in words.

    :raises LayoutError: it says neither.
    """
    if isinstance(value, bool):
        return value
    found = _SELLER_TOOK.get(str(value))
    if found is None:
        found = _SELLER_TOOK.get(str(value).strip().lower())
    if found is None:
        raise LayoutError(f"taker: {value!r} is neither true, false, buy nor sell")
    return found


def _number(value: object, name: str) -> Decimal:
    try:
        # repr of a float is the shortest text that means it: 95505.4, not 95505.39999….
        number = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation:
        raise LayoutError(f"{name}: {value!r} is no number") from None
    if not number.is_finite():
        raise LayoutError(f"{name}: {value!r} is no finite number")
    return number


def _price(value: object, name: str) -> Decimal:
    number = _number(value, name)
    if number <= 0:
        raise LayoutError(f"{name}: {value!r} is not above zero")
    if not LEAST <= number <= MOST:
        raise LayoutError(f"{name}: {value!r} is no price: {LEAST} to {MOST}")
    return number


def _size(value: object, name: str) -> Decimal:
    number = _number(value, name)
    if number < 0:
        raise LayoutError(f"{name}: {value!r} is below zero")
    if number > MOST:
        raise LayoutError(f"{name}: {value!r} is no quantity: at most {MOST}")
    return number


# Upper ends of what a number of seconds, milliseconds, microseconds can be; above: nanoseconds.
# Binance's spot dumps count microseconds since 2025, everything before milliseconds.
_SECONDS_END: Final = 10**11
_MILLISECONDS_END: Final = 10**14
_MICROSECONDS_END: Final = 10**17


def milliseconds(value: object) -> int:
    """A time stamp in any common form as UTC milliseconds.

    :raises LayoutError: when it is none.
    """
    found = _milliseconds(value)
    if not 0 < found < END_MS:
        raise LayoutError(f"time: {value!r} is no time after 1970 and before 2262")
    return found


def _milliseconds(value: object) -> int:
    if isinstance(value, datetime):
        return _of_datetime(value)
    text = str(value).strip()
    try:
        number = Decimal(text)
    except InvalidOperation:
        try:
            return _of_datetime(datetime.fromisoformat(text))
        except ValueError:
            raise LayoutError(f"time: {text!r} is neither a number nor ISO 8601") from None
    if not number.is_finite() or number <= 0:
        return 0
    if number < _SECONDS_END:
        return int(number * 1000)
    if number < _MILLISECONDS_END:
        return int(number)
    return int(number) // (1000 if number < _MICROSECONDS_END else 1_000_000)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _of_datetime(value: datetime) -> int:
    moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    span = moment - _EPOCH
    return span.days * 86_400_000 + span.seconds * 1000 + span.microseconds // 1000
