"""Candles of a file as floats, each with its line: the fast way in for backtests.

Exact numbers cost ten times as much to read, and a candle needs none: a price becomes a
`Decimal` on the venue's tick when an order meets it. A row that is not plain is read again by
the layout's own parser, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

from . import columnar, textfiles
from .layout import Layout, LayoutError, milliseconds
from .records import Bar, DataError
from .source import COLUMNAR, TEXT


class Candle(NamedTuple):
    """`time_ms` is the UTC moment it opened; prices in the quote, volume in the base asset."""

    time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


_MILLISECONDS: Final = range(10**11, 10**14)
"""What is a number of milliseconds beyond doubt; see `layout.milliseconds`."""


def candles(path: str | Path) -> Iterator[tuple[int, Candle]]:
    """Each candle of a file with the number of its line or row (see `place`), as they stand.

    :raises DataError: naming file and line, while iterating.
    """
    file = Path(path)
    if not file.exists():
        raise DataError(f"{file}: no such file")
    name = file.name.lower()
    if name.endswith(TEXT):
        rows: Iterator[tuple[int, Layout, Sequence[object]]] = textfiles.rows(file)
    elif name.endswith(COLUMNAR):
        rows = columnar.rows(file)
    else:
        raise DataError(f"{file}: expected one of {', '.join((*TEXT, *COLUMNAR))}")
    for number, layout, row in rows:
        if layout.kind is not Bar:
            raise DataError(f"{place(file, number)}: holds trades, not candles")
        yield number, _candle(file, number, layout, row)


def place(file: Path, number: int) -> str:
    """How a line, or a row, of that file is named in messages."""
    columns = file.name.lower().endswith(COLUMNAR)
    return f"{file}: row {number}" if columns else f"{file}:{number}"


def _candle(file: Path, number: int, layout: Layout, row: Sequence[object]) -> Candle:
    t, o, h, l, c, v = layout.columns  # noqa: E741 - the field's letters
    try:
        time_ms = int(row[t])  # type: ignore[call-overload]  # what it can not take, it raises for
        if time_ms not in _MILLISECONDS:
            time_ms = milliseconds(row[t])
        candle = Candle(
            time_ms, float(row[o]), float(row[h]), float(row[l]), float(row[c]), float(row[v])  # type: ignore[arg-type]
        )  # fmt: skip
    except (ValueError, TypeError, LayoutError):
        return _carefully(file, number, layout, row)
    _, opened, high, low, close, volume = candle
    # What is no number compares as False, so only good candles pass.
    if 0 < low <= opened <= high < inf and low <= close <= high and 0 <= volume < inf:
        return candle
    return _carefully(file, number, layout, row)


def _carefully(file: Path, number: int, layout: Layout, row: Sequence[object]) -> Candle:
    try:
        bar = layout.parse(row)
    except LayoutError as error:
        raise DataError(f"{place(file, number)}: {error}") from None
    assert isinstance(bar, Bar)
    return Candle(bar.time_ms, *map(float, bar[1:]))
