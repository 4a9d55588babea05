"""What a file holds, as floats, each with its line: the fast way in for backtests.

Exact numbers cost ten times as much to read, and most of what is recorded needs none: a price
becomes a `Decimal` on the venue's tick when an order meets it. A row that is not plain is read
again by the layout's own parser, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import columnar, frames, textfiles
from .layout import Layout, LayoutError, milliseconds, seller_took, whole_number
from .records import Bar, BestPrices, DataError, FundingRate, Tick
from .rows import LEAST, MOST, NO_NUMBER, Candle, QuoteRow, TradeRow
from .source import COLUMNAR, TEXT

Event = Candle | TradeRow | QuoteRow | FundingRate

_MILLISECONDS: Final = range(10**11, 10**14)
"""What is a number of milliseconds beyond doubt; see `layout.milliseconds`."""


class Recorded(NamedTuple):
    """
    :ivar line: of the file, or the row of a table; see `place`.
    """

    line: int
    event: Event


def events(path: str | Path, *, name: str = "") -> Iterator[Recorded]:
    """What a file holds, as it stands: all candles, or all trades, quotes or funding rates; of a
    raw feed trades and quotes, or else candles.

    :param name: the venue's name of the symbol, by which its frames of a raw feed are known.
    :raises DataError: naming file and line, while iterating.
    """
    file = Path(path)
    if not file.exists():
        raise DataError(f"{file}: no such file")
    lower = file.name.lower()
    if lower.endswith(TEXT):
        return _of_rows(file, textfiles.rows(file))
    if lower.endswith(COLUMNAR):
        return _of_rows(file, columnar.rows(file))
    if frames.is_feed(file):
        return (Recorded(line, event) for line, event in frames.events(file, name))
    known = ", ".join((*TEXT, *COLUMNAR, *frames.FRAMES))
    raise DataError(f"{file}: expected one of {known}")


def place(file: Path, line: int) -> str:
    """How a line, or a row, of that file is named in messages."""
    columns = file.name.lower().endswith(COLUMNAR)
    return f"{file}: row {line}" if columns else f"{file}:{line}"


def _of_rows(
    file: Path, rows: Iterator[tuple[int, Layout, Sequence[object]]]
) -> Iterator[Recorded]:
    for line, layout, row in rows:
        try:
            event: Event
            if layout.kind is Bar:
                event = _candle(layout, row)
            elif layout.kind is Tick:
                event = _trade(layout, row)
            elif layout.kind is BestPrices:
                event = _quote(layout, row)
            else:
                rate = layout.parse(row)
                assert isinstance(rate, FundingRate)
                event = rate
        except LayoutError as error:
            raise DataError(f"{place(file, line)}: {error}") from None
        yield Recorded(line, event)


def _time_ms(value: object) -> int:
    time_ms = int(value)  # type: ignore[call-overload]  # what it can not take, it raises for
    return time_ms if time_ms in _MILLISECONDS else milliseconds(value)


def _candle(layout: Layout, row: Sequence[object]) -> Candle:
    t, o, h, l, c, v = layout.columns  # noqa: E741 - the field's letters
    try:
        candle = Candle(
            _time_ms(row[t]),
            float(row[o]), float(row[h]), float(row[l]), float(row[c]), float(row[v]),  # type: ignore[arg-type]
        )  # fmt: skip
    except (ValueError, TypeError, LayoutError):
        return Candle(*_careful(layout, row))
    _, opened, high, low, close, volume = candle
    # What is no number compares as False, so only good candles pass.
    if LEAST <= low <= opened <= high <= MOST and low <= close <= high and 0 <= volume <= MOST:
        return candle
    return Candle(*_careful(layout, row))


def _trade(layout: Layout, row: Sequence[object]) -> TradeRow:
    t, p, q = layout.columns
    number = NO_NUMBER if layout.number is None else whole_number(row[layout.number], "trade id")
    taker = None if layout.taker is None else seller_took(row[layout.taker])
    try:
        time_ms, price, quantity = _time_ms(row[t]), float(row[p]), float(row[q])  # type: ignore[arg-type]
    except (ValueError, TypeError, LayoutError):
        return TradeRow(*_careful(layout, row))._replace(number=number, seller_took=taker)
    if LEAST <= price <= MOST and 0 <= quantity <= MOST:
        return TradeRow(time_ms, price, quantity, number, taker)
    return TradeRow(*_careful(layout, row))._replace(number=number, seller_took=taker)


def _quote(layout: Layout, row: Sequence[object]) -> QuoteRow:
    t, *values = layout.columns
    number = NO_NUMBER if layout.number is None else whole_number(row[layout.number], "update id")
    try:
        time_ms = _time_ms(row[t])
        bid, bid_quantity, ask, ask_quantity = (float(row[i]) for i in values)  # type: ignore[arg-type]
    except (ValueError, TypeError, LayoutError):
        return QuoteRow(*_careful(layout, row))._replace(number=number)
    if LEAST <= bid <= ask <= MOST and 0 <= bid_quantity <= MOST and 0 <= ask_quantity <= MOST:
        return QuoteRow(time_ms, bid, bid_quantity, ask, ask_quantity, number)
    return QuoteRow(*_careful(layout, row))._replace(number=number)


def _careful(layout: Layout, row: Sequence[object]) -> Iterator[Any]:
    """The row by the layout's own parser: its time, and its values as floats.

    :raises LayoutError: what is wrong with it.
    """
    time_ms, *values = layout.parse(row)
    return iter((time_ms, *(float(value) for value in values if value is not None)))
