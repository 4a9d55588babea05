"""From a path to records: the reader is chosen by the file's name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

from . import columnar, textfiles
from .layout import Record
from .records import Bar, BestPrices, DataError, Tick, ticks_of_bars

_R = TypeVar("_R", Bar, Tick)

TEXT = (".csv", ".csv.gz", ".zip")
COLUMNAR = (".feather", ".parquet")


def ticks(path: str | Path) -> Iterator[Tick]:
    """Prices of a file of trades or candles (see `ticks_of_bars`), oldest first.

    Reads the first record at once, so that a wrong file is told before anything starts.

    :raises DataError: naming file and line, and the remedy; later ones while iterating.
    """
    file = Path(path)
    first, records = _begin(file)
    if isinstance(first, Tick):
        return _all_of(Tick, file, records)
    if isinstance(first, BestPrices):
        raise DataError(f"{file}: holds quotes; give a file of trades or candles")
    return ticks_of_bars(_all_of(Bar, file, records))


def bars(path: str | Path) -> Iterator[Bar]:
    """Candles of a file, oldest first.

    :raises DataError: as `ticks`; also when the file holds trades.
    """
    file = Path(path)
    first, records = _begin(file)
    if not isinstance(first, Bar):
        kind = "trades" if isinstance(first, Tick) else "quotes"
        raise DataError(f"{file}: holds {kind}, not candles")
    return _all_of(Bar, file, records)


def _begin(file: Path) -> tuple[Record, Iterator[Record]]:
    if not file.exists():
        raise DataError(f"{file}: no such file")
    name = file.name.lower()
    if name.endswith(TEXT):
        records = _in_order(file, textfiles.read(file))
    elif name.endswith(COLUMNAR):
        records = _in_order(file, columnar.read(file))
    else:
        raise DataError(f"{file}: expected one of {', '.join((*TEXT, *COLUMNAR))}")
    first = next(records, None)
    if first is None:
        raise DataError(f"{file}: holds no data")
    return first, chain((first,), records)


def _in_order(file: Path, records: Iterator[Record]) -> Iterator[Record]:
    before: int | None = None
    for number, record in enumerate(records, 1):
        if before is not None and record.time_ms < before:
            raise DataError(
                f"{file}: record {number} is older than the one before it; sort the file by time"
            )
        before = record.time_ms
        yield record


def _all_of(kind: type[_R], file: Path, records: Iterator[Record]) -> Iterator[_R]:
    for record in records:
        if not isinstance(record, kind):
            raise DataError(f"{file}: mixes records of several kinds")
        yield record
